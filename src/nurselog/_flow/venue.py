"""Where a step's function runs."""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .._errors import RegistrationError, UsageError
from .names import is_async


class Venue(enum.Enum):
    """Where a step's function runs."""

    TASK = enum.auto()
    """In a Trio task: an async function."""
    THREAD = enum.auto()
    """In a worker thread: a sync function."""
    ASYNCIO = enum.auto()
    """In the engine's asyncio loop: an async function that is written for asyncio."""
    PROCESS = enum.auto()
    """In a worker process: a sync function that computes."""

    # Asked at each step; to look into a set, Python would hash a member's name.

    @property
    def is_async(self) -> bool:
        """Whether the functions that run there are async ones."""
        return self is Venue.TASK or self is Venue.ASYNCIO

    @property
    def is_elsewhere(self) -> bool:
        """Whether an engine has it only once somebody needs it, and by a library that not everybody has."""
        return self is Venue.ASYNCIO or self is Venue.PROCESS


def venue_of(fn: Callable[..., Any], name: str, *, asyncio: bool, process: bool, abandon_on_cancel: bool) -> Venue:
    """Return where a function runs that was decorated so.

    Raises:
        RegistrationError: if it cannot run there.
    """
    plain = unwrapped(fn)
    awaits = is_async(plain)
    for applies, why in (
        (asyncio and process, "asyncio= and process= exclude each other"),
        (asyncio and not awaits, "asyncio=True is for async functions, and this is a sync one, which has a thread"),
        (process and awaits, "process=True is for sync functions, which compute, and this is an async one"),
        (process and abandon_on_cancel, "a cancelled process is killed: abandon_on_cancel= is for threads"),
        (process and "<" in getattr(plain, "__qualname__", ""), _NESTED),
    ):
        if applies:
            raise RegistrationError(f"step {name!r}: {why}")
    if awaits:
        return Venue.ASYNCIO if asyncio else Venue.TASK
    return Venue.PROCESS if process else Venue.THREAD


_NESTED = (
    "a worker process imports its function by module and name, and finds no lambda and nothing that is defined inside "
    "of a function: define it at the top of a module"
)


def unwrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside of partials."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn


_LIBRARIES = {
    Venue.ASYNCIO: ("trio_asyncio", "an asyncio step needs trio-asyncio: pip install 'nurselog[asyncio]'"),
    Venue.PROCESS: ("trio_parallel", "a step in a process needs trio-parallel: pip install 'nurselog[processes]'"),
}
"""What is not everybody's: the module, and what to do where it is not."""


def library(venue: Venue) -> Any:
    """Return the module by which an engine has a venue that is elsewhere; it is imported when it is needed.

    Raises:
        UsageError: if it is not installed, or does not work with this Python.
    """
    module, remedy = _LIBRARIES[venue]
    known = module in sys.modules
    try:
        found = importlib.import_module(module)
    except (ImportError, AttributeError) as exc:  # the latter from one that uses what this Python has no more
        raise UsageError(f"{remedy} ({exc})") from exc
    if venue is Venue.ASYNCIO and not known:
        _confine(found)
    return found


def _confine(trio_asyncio: Any) -> None:
    """Have asyncio be as ever where Trio does not run.

    Once it is imported, trio-asyncio has `asyncio.run` run on Trio, too, in all threads that have not set a policy. Who
    imports it may want that; who has a step in asyncio has not asked for it, least of all the other threads of the
    process. So each thread begins as if it had set the policy that was there before. That a thread's policy is looked
    up in this class is not promised; a test says when it is not so any more.
    """
    loops = trio_asyncio._loop
    type(loops._faked_policy).policy = loops._original_policy

"""The call of a step where no workflow records it: by itself, or inside of another step, of which it is a part then."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._errors import UsageError
from .body import Body
from .jobs import answer
from .strand import place
from .venue import Venue, library

if TYPE_CHECKING:
    from .step import Step


async def unrecorded(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a step's function where it belongs. A checkpoint, if the function is one.

    Raises:
        UsageError: if there is no asyncio loop for it, or a library that it needs is not installed.
    """
    here, venue = place.get(), step.venue
    if venue is Venue.TASK or (venue is Venue.ASYNCIO and _in_asyncio()):
        return await step.fn(*args, **kwargs)
    if venue is Venue.THREAD:
        return await trio.to_thread.run_sync(
            partial(step.fn, *args, **kwargs), abandon_on_cancel=step.abandon_on_cancel
        )
    if isinstance(here, Body):
        elsewhere = await here.call.sequencer.host.elsewhere(venue)
        return await elsewhere.run(here, step, args, kwargs)
    if venue is Venue.PROCESS:
        return (await answer(library(venue).run_sync, step, args, kwargs)).unwrap()
    trio_asyncio = library(venue)
    if trio_asyncio.current_loop.get() is None:
        raise UsageError(
            f"step {step.name!r} needs an asyncio loop. A workflow's steps have one; by itself call it in asyncio, or "
            "under Trio in the block of trio_asyncio.open_loop()"
        )
    return await trio_asyncio.aio_as_trio(step.fn)(*args, **kwargs)


def _in_asyncio() -> bool:
    """Whether a task of asyncio's is running, on a loop of its own or on one that runs on Trio."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        return asyncio is not None and asyncio.current_task() is not None
    except RuntimeError:  # no loop runs
        return False

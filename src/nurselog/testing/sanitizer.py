"""The sanitizer: what workflow code asks for that no log has, with file and line.

A workflow that reads a clock, draws a number or opens a file may replay well for years, and then not once. Tests find
that it does not follow its log; where it comes from they can only guess. So while a strand holds the turn, somebody
looks on. Nothing is forbidden, and nothing that is returned is changed: there is no sandbox.

What does not work: patches. `from time import time` keeps the function as it was before; the methods of
`datetime.datetime` cannot be replaced, and a class in its place is another class to every `isinstance`; and whatever
is patched is patched for the steps, the engine and the other threads as well, who may all ask what they like.

The choice: Python tells a profiler of every call, of functions written in C too, and by the very object that is
called, under whatever name it came. So a profile function is set just before Trio steps a strand's task, and taken
away after it: bodies of steps are tasks of their own, and the rest of the process runs at its full speed. It looks the
called object up in a table. Files, sockets and processes have too many doors for a table, but an audit event behind
each of them; audit hooks cannot be removed, so there is one, which looks at a variable and goes unless a strand runs.
What neither sees is a function in C that another one calls: `map(time.time, ...)`.

Most of what is seen is nobody's fault. Trio and nurselog read clocks, an import opens files, a logger stamps its
records, a traceback reads sources, and a debugger does all of that. Who asked tells them apart: the frames from the
call outwards, up to the first that is machinery. There must be one of the application among them, or of a library that
it calls, and none of those whose looking at the world says nothing about the workflow (`EXCUSED`).

Python has room for one profile function a thread: where somebody has set his already, nothing is watched.
"""

from __future__ import annotations

import gc
import inspect
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from random import Random
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, NamedTuple
from weakref import ref

import trio
from trio.lowlevel import Task

from .._flow.run import run_workflow
from .._flow.strand import Strand, place
from .._flow.where import Origin, origin
from .touchable import CODES, EVENTS, EXCUSED, FUNCTIONS, METHODS, SEED, SHARED, TABLES, Kind, Touchable

_REMEDIES = {
    Kind.CLOCK: "nurselog.now() is in the log",
    Kind.RANDOM: "nurselog.rng() and nurselog.uuid4() say the same on every replay",
    Kind.ENVIRONMENT: "give it to the workflow as an argument, or read it in a step",
    Kind.FILE: "do it in a step",
    Kind.NETWORK: "do it in a step",
    Kind.PROCESS: "do it in a step",
}


@dataclass(frozen=True)
class Touch:
    """Something of the world outside that workflow code has asked for, and that no log has."""

    kind: Kind
    name: str
    """What was called."""
    file: str
    line: int
    """Where the application called it, or a library by way of which it was called."""

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.name}) at {self.file}:{self.line}"


class TouchWarning(UserWarning):
    """Workflow code has touched what no log has: a replay may go another way."""


def warn_of(touches: Iterable[Touch]) -> None:
    """Warn of touches, of each at its own file and line."""
    for touch in touches:
        text = f"workflow code touches {touch.kind.value} ({touch.name}), which no log has: {_REMEDIES[touch.kind]}"
        warnings.warn_explicit(text, TouchWarning, touch.file, touch.line)


@contextmanager
def watching() -> Generator[Sequence[Touch]]:
    """Watch what workflow code touches that no log has, in all engines of this `trio.run`, inside the block.

    Returns:
        The touches, one for each place of the code; the list grows while the block runs.

    Raises:
        RuntimeError: if Trio does not run.
    """
    watcher = Watcher()
    trio.lowlevel.add_instrument(watcher)
    try:
        yield watcher.touches
    finally:
        trio.lowlevel.remove_instrument(watcher)
        watcher.close()


# -- who asked -----------------------------------------------------------------------------------


class Asking(NamedTuple):
    """A function that runs, one of several that have called each other."""

    name: str
    """With its module."""
    file: str
    line: int
    waits: bool = True
    """Whether it can wait, as workflow code does: it is no plain function."""
    unasked: bool = False
    """Whether Python itself called it, wherever the code under it happened to be."""


def asked_by(stack: Iterable[Asking]) -> tuple[str | None, Asking] | None:
    """Return who in the application asks for something, and what it has called to that end.

    Args:
        stack: the running functions, innermost first.

    Returns:
        The name of the function that it has called (None: what is touched itself), and the application's own function,
        or, if there is none, a library's; None if nobody asks who has to be told. A plain function that the machinery
        calls is no workflow code: it is a clock, or a codec.
    """
    asking: dict[Origin, tuple[str | None, Asking]] = {}
    called: Asking | None = None
    for one in stack:
        whose = origin(one.file)
        if one.unasked or one.name.partition(".")[0] in EXCUSED or one.name.endswith(".__del__"):
            return None
        if whose is Origin.MACHINERY:
            break
        asking.setdefault(whose, (called and called.name, one))
        called = one
    if called is None or not called.waits:
        return None
    return asking.get(Origin.APPLICATION) or asking.get(Origin.LIBRARY)


def _stack(frame: FrameType | None) -> Iterator[Asking]:
    unasked = set(_called_by_python())
    while frame is not None:
        code = frame.f_code
        name = f"{frame.f_globals.get('__name__')}.{code.co_qualname}"
        yield Asking(name, code.co_filename, frame.f_lineno, bool(code.co_flags & _WAITS), code in unasked)
        frame = frame.f_back


def _called_by_python() -> Iterator[CodeType]:
    """Yield what runs in the midst of whatever code runs: when garbage is collected, and when a signal comes."""
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    for callback in (*gc.callbacks, *handlers):
        if isinstance(code := getattr(callback, "__code__", None), CodeType):
            yield code


_WAITS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR


# -- who looks on --------------------------------------------------------------------------------


class Watcher(trio.abc.Instrument):
    """Looks on while Trio steps a strand's task.

    Attributes:
        touches: what it has seen.
    """

    def __init__(self) -> None:
        self.touches: list[Touch] = []
        self._known: set[tuple[str, str, int]] = set()
        self._seeded: dict[int, ref[Random]] = {}
        """Generators that workflow code itself has seeded, by id: they draw the same numbers on every replay."""
        self._profile: Callable[[FrameType, str, Any], None] = self.called  # one object, to be known again

    def before_task_step(self, task: Task) -> None:
        """Begin to look, if this is workflow code and nobody else looks on."""
        if _is_strand(task) and sys.getprofile() is None:
            _audit.looks_for(self)
            sys.setprofile(self._profile)

    def after_task_step(self, task: Task) -> None:  # noqa: ARG002 - Trio's signature
        """Look away."""
        self.close()

    def close(self) -> None:
        """Look away for good."""
        if sys.getprofile() is self._profile:
            sys.setprofile(None)
        _audit.leave(self)

    # -- what is seen; Python calls this, and whatever it raised would be raised in workflow code ---

    def called(self, frame: FrameType, event: str, arg: Any) -> None:
        """A function is being called."""
        if event == "c_call":
            if found := FUNCTIONS.get(arg) or self._method(arg):
                self.sees(found, frame)
        elif event == "call" and (found := CODES.get(frame.f_code)) and not self._seeds(frame):
            self.sees(found, frame.f_back)

    def _method(self, method: Any) -> Touchable | None:
        owner = method.__self__
        if isinstance(owner, Random):
            seeded = self._seeded.get(id(owner))
            return None if seeded is not None and seeded() is owner else METHODS.get(method.__name__)
        if isinstance(owner, type) and issubclass(owner, date):
            return METHODS.get(method.__name__)
        return None

    def _seeds(self, frame: FrameType) -> bool:
        """Whether workflow code gives a generator of its own a seed of its own."""
        if frame.f_code is not SEED:
            return False
        generator, seed = frame.f_locals["self"], frame.f_locals["a"]
        if seed is None or generator is SHARED:
            return False
        self._seeded[id(generator)] = ref(generator)
        return True

    def sees(self, found: Touchable, frame: FrameType | None) -> None:
        """Something is being touched."""
        if asked := asked_by(_stack(frame)):
            called, one = asked
            name = found.name if called is None or called.startswith(_INSIDES) else called.removesuffix(".__init__")
            place = (name, one.file, one.line)
            if place not in self._known:
                self._known.add(place)
                self.touches.append(Touch(found.kind, *place))


_INSIDES = ("_", "collections.abc.")
"""Where functions are that nobody knows that he calls."""


def _is_strand(task: Task) -> bool:
    """Whether it is workflow code that a task runs, and goes on running."""
    here = task.context.get(place)
    if isinstance(here, Strand):
        return here.task is task and not here.sequencer.suspending
    return getattr(task.coro, "cr_code", None) is run_workflow.__code__  # it becomes one in its first step


class _Audit:
    """The audit hook: there is one for good, and it has nothing to do while nobody looks."""

    def __init__(self) -> None:
        self.watchers: dict[int, Watcher] = {}
        """By the thread in which the watcher's Trio runs: other threads may do what they like."""
        self._installed = False

    def leave(self, watcher: Watcher) -> None:
        """Tell a watcher no more."""
        if self.watchers.get(get_ident()) is watcher:
            del self.watchers[get_ident()]

    def looks_for(self, watcher: Watcher) -> None:
        """Tell a watcher of what this thread does."""
        self.watchers[get_ident()] = watcher
        if not self._installed:
            self._installed = True
            sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.watchers or (found := EVENTS.get(event)) is None:
            return
        if (watcher := self.watchers.get(get_ident())) is None:
            return
        if not (event == "open" and isinstance(args[0], str) and args[0].startswith(TABLES)):
            watcher.sees(found, sys._getframe(1))


_audit = _Audit()

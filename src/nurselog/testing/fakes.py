"""Fakes: what a step does in a test instead of what it does in life.

A step has a name in the log and a function that does the work. A fake takes the function's place and leaves the rest:
retries, timeouts, threads' places in the log, cancellation. It is an async function or a plain one, which is quick and
needs no thread, with the parameters of the step; bound methods of one object share that object's state. A `Script` is
a fake whose outcomes are written down beforehand.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast, final

import trio

from .. import Step, UsageError, attempt, step_key
from .._flow.step import stand_ins

T = TypeVar("T")

Fakes = Mapping[Step[..., Any], Callable[..., Any]]
"""What runs instead of which step."""


@contextmanager
def fakes(instead: Fakes, /) -> Generator[None]:
    """Have fakes take the place of steps, in all engines of this process, inside the block.

    Args:
        instead: for each step the function that runs instead; it is called with the step's arguments, without `self`
            where the step is a method.

    Raises:
        UsageError: if a key is no step, or a value no function that can be called as the step is.
    """
    with standing_in({step.function: _stand_in(step, fake) for step, fake in _checked(instead).items()}):
        yield


@contextmanager
def standing_in(functions: Mapping[object, Callable[..., Awaitable[Any]]]) -> Generator[None]:
    """Have functions run instead of those of steps; for None, instead of all others."""
    before = dict(stand_ins)
    stand_ins.update(functions)
    try:
        yield
    finally:
        stand_ins.clear()
        stand_ins.update(before)


def _checked(instead: Fakes) -> Fakes:
    for step, fake in cast("Mapping[object, object]", instead).items():
        if not isinstance(step, Step):
            raise UsageError(f"{step!r} is no step: fakes= has steps, and for each what runs instead")
        if not callable(fake):
            raise UsageError(f"{fake!r} cannot run instead of step {step.name!r}: it is no function")
        _check_parameters(cast("Step[..., Any]", step), cast("Callable[..., Any]", fake))
    return instead


def _check_parameters(step: Step[..., Any], fake: Callable[..., Any]) -> None:
    """See that a call that the step takes is taken by the fake, as far as names and numbers go."""
    wanted = [one for one in inspect.signature(step.fn).parameters.values() if one.name != "self"]
    given = inspect.signature(fake)
    free = [one for one in wanted if one.kind in _BY_PLACE]
    named = {one.name: None for one in wanted if one.kind is inspect.Parameter.KEYWORD_ONLY}
    try:
        given.bind(*free, **named)
    except TypeError as exc:
        names = ", ".join(one.name for one in wanted)
        raise UsageError(f"{fake!r} cannot be called as step {step.name!r} is, with ({names}): {exc}") from None


_BY_PLACE = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def _stand_in(step: Step[..., Any], fake: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def stand_in(*args: Any, **kwargs: Any) -> Any:
        value = fake(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    stand_in.__qualname__ = f"the fake of {step.name}"
    return stand_in


# -- outcomes that are written down beforehand ---------------------------------------------------


@dataclass(frozen=True)
class Hangs:
    """It does not end until it is cancelled."""


@dataclass(frozen=True)
class Takes:
    """It takes a while, in virtual seconds, and then has an outcome."""

    seconds: float
    then: Any = None


@dataclass(frozen=True)
class Ignores:
    """It takes a while, and has its outcome although it is cancelled meanwhile."""

    seconds: float
    then: Any = None


@dataclass(frozen=True)
class Call:
    """A call of a fake."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: str
    """The step's idempotency key, the same in all its attempts and after a crash."""
    attempt: int


@final
class Script(Generic[T]):
    """A fake whose outcomes are written down: the first call has the first, and so on; further calls have the last.

    Attempts are calls: `Script(OSError(), OSError(), 7)` fails twice and then returns 7. An attempt that runs again,
    because a crash came before its outcome was recorded, has the outcome that it had.

    Args:
        outcomes: a value, which is returned; an exception, which is raised; `Hangs()`, `Takes(seconds, outcome)` or
            `Ignores(seconds, outcome)`.

    Attributes:
        calls: what it was called with, in order.
    """

    def __init__(self, *outcomes: T | Exception | Hangs | Takes | Ignores) -> None:
        if not outcomes:
            raise UsageError("a Script needs at least one outcome")
        self._outcomes = outcomes
        self._turns: dict[tuple[str, int], int] = {}
        self.calls: list[Call] = []

    def __deepcopy__(self, _memo: object) -> Script[T]:
        """Share the outcomes: copying an exception would call its constructor, which may want something else."""
        other = Script(*self._outcomes)
        other._turns, other.calls = dict(self._turns), list(self.calls)
        return other

    async def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Have the next outcome. A checkpoint."""
        call = Call(args, kwargs, step_key(), attempt())
        self.calls.append(call)
        turn = self._turns.setdefault((call.key, call.attempt), len(self._turns))
        outcome: Any = self._outcomes[min(turn, len(self._outcomes) - 1)]
        await trio.lowlevel.checkpoint()
        if isinstance(outcome, Takes | Ignores):
            with trio.CancelScope(shield=isinstance(outcome, Ignores)):
                await trio.sleep(outcome.seconds)
            outcome = outcome.then
        if isinstance(outcome, Hangs):
            await trio.sleep_forever()
        if isinstance(outcome, Exception):
            raise outcome
        value: T = outcome
        return value

"""Fakes: what a step does in a test instead of what it does in life.

A step has a name in the log and a function that does the work. A fake takes the function's place and leaves the rest:
retries, timeouts, threads' places in the log, cancellation. It is an async function or a plain one, which is quick and
needs no thread, with the parameters of the step; bound methods of one object share that object's state. A `Script` is
a fake whose outcomes are written down beforehand.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast, final

import trio

from .. import Step, UsageError
from .._flow.body import Body
from .._flow.step import stand_ins
from .._flow.strand import place

T = TypeVar("T")

Fakes = Mapping[Step[..., Any], Callable[..., Any]]
"""What runs instead of which step."""


@contextmanager
def fakes(instead: Fakes, /) -> Generator[None]:
    """Have fakes take the place of steps, in all engines of this process, inside the block.

    Where several blocks are open, in one task or in several, the one that was opened last counts.

    Args:
        instead: for each step the function that runs instead. It is called with the step's arguments and defaults,
            without `self` where the step is a method, and without the connection of a transaction: by place, and by
            name what the step takes by name only.

    Raises:
        UsageError: if a key is no step, or a value no function that can be called as the step is.
    """
    with standing_in({step.function: _stand_in(step, fake) for step, fake in _checked(instead).items()}):
        yield


Functions = Mapping[object, Callable[..., Awaitable[Any]]]
"""What runs instead of which step's function; for None, instead of all others."""

_blocks: list[Functions] = []
"""All that are open, in the order in which they were opened."""


@contextmanager
def standing_in(functions: Functions) -> Generator[None]:
    """Have functions run instead of those of steps. Blocks of several tasks may end in any order."""
    _blocks.append(functions)
    _put(functions)
    try:
        yield
    finally:
        _blocks[:] = [block for block in _blocks if block is not functions]
        stand_ins.clear()
        for block in _blocks:
            _put(block)


def _put(functions: Functions) -> None:
    if None in functions:  # instead of those that had fakes, too
        stand_ins.clear()
    stand_ins.update(functions)


def _checked(instead: Fakes) -> Fakes:
    for step, fake in cast("Mapping[object, object]", instead).items():
        if not isinstance(step, Step):
            raise UsageError(f"{step!r} is no step: fakes= has steps, and for each what runs instead")
        if not callable(fake):
            raise UsageError(f"{fake!r} cannot run instead of step {step.name!r}: it is no function")
        _check_parameters(cast("Step[..., Any]", step), cast("Callable[..., Any]", fake))
    return instead


def _check_parameters(step: Step[..., Any], fake: Callable[..., Any]) -> None:
    """See that a call that the step takes is taken by the fake, and means the same."""
    if (wanted := _parameters(step)) is None:
        return
    names = ", ".join(wanted.parameters)
    free = [one.name for one in wanted.parameters.values() if one.kind in _BY_PLACE]
    named = {one.name: None for one in wanted.parameters.values() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    try:
        given = inspect.signature(fake).bind(*free, **named)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{fake!r} cannot be called as step {step.name!r} is, with ({names}): {exc}") from None
    for name, wrong in given.arguments.items():
        if name in free and wrong in free and wrong != name:
            raise UsageError(f"{fake!r} has {name!r} where step {step.name!r} has {wrong!r}, of ({names})")


def _parameters(step: Step[..., Any]) -> inspect.Signature | None:
    """Return what a step is called with; None where nobody knows: functions that are written in C need not tell."""
    try:
        found = inspect.signature(step.fn)
    except ValueError:
        return None
    parameters = [one for one in found.parameters.values() if one.name != "self"]
    # A transaction's connection comes first, and nobody passes it; where it is one of many (`*args`) none is missing.
    without = step.transaction is not None and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    return found.replace(parameters=parameters[without:])


_BY_PLACE = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def _stand_in(step: Step[..., Any], fake: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return what calls the fake as it was checked, however the workflow calls the step."""
    parameters = _parameters(step)

    async def stand_in(*args: Any, **kwargs: Any) -> Any:
        if parameters is not None:
            call = parameters.bind(*args, **kwargs)
            call.apply_defaults()
            args, kwargs = call.args, call.kwargs
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
    """The step's idempotency key, the same in all its attempts and after a crash; empty outside of workflows."""
    attempt: int


@final
class Script(Generic[T]):
    """A fake whose outcomes are written down: the first call has the first, and so on; further calls have the last.

    Attempts are calls: `Script(OSError(), OSError(), 7)` fails twice and then returns 7. An attempt that runs again,
    because a crash came before its outcome was recorded, has the outcome that it had. Calls that run side by side come
    in the order in which Trio starts them, so where the outcome hangs on the argument, a function is the better fake.

    Args:
        outcomes: a value, which is returned; an exception, which is raised; `Hangs()`, `Takes(seconds, outcome)` or
            `Ignores(seconds, outcome)`.

    Attributes:
        calls: what it was called with, in order. The lives of `crash_everywhere` and `cancel_everywhere` have copies of
            the script, each with calls of its own, which the invariant sees: `invariant=partial(is_fair, script)`.
    """

    def __init__(self, *outcomes: T | Exception | Hangs | Takes | Ignores) -> None:
        if not outcomes:
            raise UsageError("a Script needs at least one outcome")
        for outcome in outcomes:
            if isinstance(outcome, type) and issubclass(outcome, BaseException | Hangs | Takes | Ignores):
                name = outcome.__name__
                raise UsageError(f"a Script has outcomes, and {name} is a class: write {name}(...)")
        self._outcomes = outcomes
        self._turns: dict[tuple[str, int, int], int] = {}
        """Which outcome each call has had: by key, attempt and place among the calls of this attempt."""
        self._made: Counter[tuple[Body | None, int]] = Counter()
        """How many calls each attempt of a step has made."""
        self.calls: list[Call] = []

    def __deepcopy__(self, _memo: object) -> Script[T]:
        """Share the outcomes: copying an exception would call its constructor, which may want something else."""
        other = Script(*self._outcomes)
        other._turns, other.calls = dict(self._turns), list(self.calls)
        return other

    async def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Have the next outcome. A checkpoint."""
        here = place.get()
        body, key, attempt = (here, here.key, here.attempt) if isinstance(here, Body) else (None, "", 1)
        self.calls.append(Call(args, kwargs, key, attempt))
        self._made[body, attempt] += 1
        turn = self._turns.setdefault((key, attempt, self._made[body, attempt]), len(self._turns))
        outcome: Any = self._outcomes[min(turn, len(self._outcomes) - 1)]
        await trio.lowlevel.checkpoint()
        if isinstance(outcome, Takes | Ignores):
            with trio.CancelScope(shield=isinstance(outcome, Ignores)):
                await trio.sleep(outcome.seconds)
            outcome = outcome.then
        if isinstance(outcome, Hangs):
            await trio.sleep_forever()
        if isinstance(outcome, Exception):
            raise outcome.with_traceback(None)  # or that of each raise would be added to those before
        value: T = outcome
        return value

"""The steps that generated programs call: one for each way in which a body can behave.

How long a body takes and whether a flaky one fails is drawn from the witness of the life it runs in, so another life
sees other timings. The witness also keeps the list of bodies that have really run: what the outside world saw.
"""

from __future__ import annotations

import enum
import random
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import trio

from nurselog import Retry, Step, attempt, step
from nurselog._flow.body import Body
from nurselog._flow.strand import place


@dataclass
class Witness:
    """What one life of a program lets the outside see."""

    random: random.Random
    bodies: list[tuple[str, int]] = field(default_factory=list)
    """Path and attempt of each body that has run."""
    traces: list[list[Any]] = field(default_factory=list)
    """One for each time that the workflow was started."""
    caught: list[BaseException] = field(default_factory=list)
    """What step bodies met and no workflow may meet."""


witness: ContextVar[Witness] = ContextVar("witness")


class Odd(Exception):
    """An error that cannot be rebuilt from its arguments."""

    def __init__(self, number: int, lock: object) -> None:
        super().__init__(number)
        self.lock = lock


def _enter() -> random.Random:
    """Tell the witness that a body runs."""
    here, seen = place.get(), witness.get()
    assert isinstance(here, Body)
    seen.bodies.append((here.call.path, attempt()))
    return seen.random


async def _pause(chance: random.Random, longest: float) -> None:
    await trio.sleep(chance.random() * longest)


@step
async def quick(number: int) -> int:
    _enter()
    return number + 1


@step
async def brief(number: int) -> int:
    await _pause(_enter(), 0.003)
    return number * 10


@step
async def endless(number: int) -> int:
    """Ends only when it is cancelled, and takes a moment for that."""
    chance = _enter()
    try:
        await trio.sleep(1000)
    finally:
        with trio.CancelScope(shield=True):
            await _pause(chance, 0.001)
    return number


@step
async def lasting(number: int) -> int:
    """Long enough to be noted as begun."""
    await trio.sleep(1 + _enter().random() * 2)
    return number


@step
async def stubborn(number: int) -> str:
    """Finishes although it is cancelled."""
    chance = _enter()
    with trio.CancelScope(shield=True):
        await _pause(chance, 0.004)
    return f"finished {number}"


@step
async def sulky(number: int) -> int:
    """Fails when it is cancelled."""
    chance = _enter()
    try:
        await _pause(chance, 0.01)
    except trio.Cancelled:
        raise ValueError("while cancelled") from None
    return number


@step
async def mixed(number: int) -> int:
    """Cancelled and failing at once."""
    chance = _enter()

    async def fails() -> NoReturn:
        try:
            await _pause(chance, 0.01)
        finally:
            raise ValueError(f"mixed {number}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        nursery.start_soon(trio.sleep, 0.02)
    return number


@step
async def grouped(number: int) -> int:
    """A nursery whose tasks are all cancelled: a group of nothing but `Cancelled`."""
    chance = _enter()
    async with trio.open_nursery() as outer:
        outer.start_soon(_pause, chance, 0.002)
        async with trio.open_nursery() as inner:
            inner.start_soon(_pause, chance, 0.002)
            await _pause(chance, 0.004)
    return number


@step
async def flaky(number: int) -> int:
    chance = _enter()
    await _pause(chance, 0.002)
    if chance.random() < 0.4:
        raise ValueError(f"flaky {number}")
    return number


@step
async def odd(number: int) -> int:
    await _pause(_enter(), 0.002)
    raise Odd(number, object())


@step
async def unencodable(number: int) -> int:
    await _pause(_enter(), 0.002)
    return object()  # type: ignore[return-value]


@step(retry=Retry(attempts=3, delay=0.002, jitter=0.5))
async def retried(number: int) -> str:
    chance = _enter()
    await _pause(chance, 0.001)
    if chance.random() < 0.6:
        raise KeyError(number)
    return f"retried {number}"


@step(timeout=0.002)
async def hurried(number: int) -> int:
    await _pause(_enter(), 0.004)
    return number


@step(attempt_timeout=0.002, retry=Retry(attempts=2, delay=0.001))
async def hastened(number: int) -> int:
    await _pause(_enter(), 0.004)
    return number


@step(at_most_once=True)
async def once(number: int) -> int:
    await _pause(_enter(), 0.003)
    return number


@step
def threaded(number: int) -> int:
    _enter()
    return number


class Kind(enum.Enum):
    """The kinds of steps."""

    QUICK = "quick"
    BRIEF = "brief"
    STUBBORN = "stubborn"
    SULKY = "sulky"
    MIXED = "mixed"
    GROUPED = "grouped"
    FLAKY = "flaky"
    ODD = "odd"
    UNENCODABLE = "unencodable"
    RETRIED = "retried"
    HURRIED = "hurried"
    HASTENED = "hastened"
    ONCE = "once"
    ENDLESS = "endless"
    LASTING = "lasting"
    THREADED = "threaded"


STEPS: dict[Kind, Step[[int], Any]] = {
    Kind.QUICK: quick,
    Kind.BRIEF: brief,
    Kind.STUBBORN: stubborn,
    Kind.SULKY: sulky,
    Kind.MIXED: mixed,
    Kind.GROUPED: grouped,
    Kind.FLAKY: flaky,
    Kind.ODD: odd,
    Kind.UNENCODABLE: unencodable,
    Kind.RETRIED: retried,
    Kind.HURRIED: hurried,
    Kind.HASTENED: hastened,
    Kind.ONCE: once,
    Kind.ENDLESS: endless,
    Kind.LASTING: lasting,
    Kind.THREADED: threaded,
}

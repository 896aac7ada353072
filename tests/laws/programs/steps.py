"""The steps that generated programs call: one for each way in which a body can behave.

How long a body takes, and whether a flaky one fails, is another matter in each life.
"""

from __future__ import annotations

import random
from typing import Any, NoReturn

import trio

from nurselog import Retry, Step, open_stream, publish, step
from nurselog._flow.body import Body
from nurselog._flow.strand import place
from nurselog.testing.corpus.world import chance, entered


class Odd(Exception):
    """An error that cannot be rebuilt from its arguments."""

    def __init__(self, number: int, lock: object) -> None:
        super().__init__(number)
        self.lock = lock


too_late: list[str] = []
"""Paths of bodies that were entered although the workflow had cancelled them: no body, and no attempt, may be."""


def _enter() -> random.Random:
    entered()
    body = place.get()
    assert isinstance(body, Body)
    if body.call.told:
        too_late.append(body.call.path)
    return chance()


async def _pause(draws: random.Random, longest: float) -> None:
    await trio.sleep(draws.random() * longest)


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
    """Ends only when it is cancelled, and takes a moment for that; or, where a shield is in the way, after an age."""
    draws = _enter()
    try:
        await trio.sleep(10)  # not much longer: engines look every few milliseconds what may leave memory
    finally:
        with trio.CancelScope(shield=True):
            await _pause(draws, 0.001)
    return number


@step
async def lasting(number: int) -> int:
    """Long enough to be noted as begun."""
    await trio.sleep(1 + _enter().random() * 2)
    return number


@step
async def stubborn(number: int) -> str:
    """Finishes although it is cancelled."""
    draws = _enter()
    with trio.CancelScope(shield=True):
        await _pause(draws, 0.004)
    return f"finished {number}"


@step
async def sulky(number: int) -> int:
    """Fails when it is cancelled."""
    draws = _enter()
    try:
        await _pause(draws, 0.01)
    except trio.Cancelled:
        raise ValueError("while cancelled") from None
    return number


@step
async def mixed(number: int) -> int:
    """Cancelled and failing at once."""
    draws = _enter()

    async def fails() -> NoReturn:
        try:
            await _pause(draws, 0.01)
        finally:
            raise ValueError(f"mixed {number}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        nursery.start_soon(trio.sleep, 0.02)
    return number


@step
async def grouped(number: int) -> int:
    """A nursery whose tasks are all cancelled: a group of nothing but `Cancelled`."""
    draws = _enter()
    async with trio.open_nursery() as outer:
        outer.start_soon(_pause, draws, 0.002)
        async with trio.open_nursery() as inner:
            inner.start_soon(_pause, draws, 0.002)
            await _pause(draws, 0.004)
    return number


@step
async def flaky(number: int) -> int:
    draws = _enter()
    await _pause(draws, 0.002)
    if draws.random() < 0.4:
        raise ValueError(f"flaky {number}")
    return number


@step
async def odd(number: int) -> int:
    await _pause(_enter(), 0.002)
    raise Odd(number, object())


@step
async def unencodable(number: int) -> int:
    await _pause(_enter(), 0.002)
    return object()  # type: ignore[return-value]  # that is the point


@step(retry=Retry(attempts=3, delay=0.001, jitter=0))
async def retried(number: int) -> str:
    draws = _enter()
    await _pause(draws, 0.001)
    if draws.random() < 0.6:
        raise KeyError(number)
    return f"retried {number}"


@step(timeout=0.002)
async def hurried(number: int) -> int:
    await _pause(_enter(), 0.004)
    return number


@step(attempt_timeout=0.002, retry=Retry(attempts=2, delay=0.001, jitter=0))
async def hastened(number: int) -> int:
    await _pause(_enter(), 0.004)
    return number


@step(at_most_once=True)
async def once(number: int) -> int:
    await _pause(_enter(), 0.003)
    return number


@step(retry=Retry(attempts=2, delay=0.001, jitter=0))
async def telling(number: int) -> int:
    """Publishes and sends, is cut off by a cancellation, or fails on the way, and then perhaps tells all again."""
    draws = _enter()
    async with open_stream("stream 0") as stream:
        for item in range(number % 3 + 1):
            publish("value", item)
            await stream.send(item)
            await _pause(draws, 0.001)
            if draws.random() < 0.2:
                raise ValueError(f"telling {number}")
    return number


@step
def threaded(number: int) -> int:
    _enter()
    return number


STEPS: dict[str, Step[[int], Any]] = {
    one.name: one
    for one in (
        quick,
        brief,
        stubborn,
        sulky,
        mixed,
        grouped,
        flaky,
        odd,
        unencodable,
        retried,
        hurried,
        hastened,
        once,
        telling,
        endless,
        lasting,
        threaded,
    )
}
"""By name. The first ones are the simplest: a shrunk program has those."""

"""The steps of simulated workflows, and what they do to the world outside."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from nurselog import attempt, step, step_key, workflow_id
from nurselog._flow.strand import place
from tests.simulation.process import here, takes


class Flop(Exception):
    """A step failed, as steps do."""


@dataclass(frozen=True)
class Entry:
    """A body that begins."""

    id: str
    """The workflow's."""
    key: str
    attempt: int
    once: bool
    """Whether it may run once at most."""
    writer: int
    """Who writes the workflow's rows, in the engine that runs it."""
    delivered: int
    """How many events of its log its code had been given when it called the step."""


class World(Protocol):
    """What steps have effects on."""

    def entered(self, body: Entry) -> None:
        """A body begins."""
        ...

    def reserved(self, id: str, what: str) -> None:
        """Something was reserved."""
        ...

    def released(self, what: str) -> None:
        """It was released."""
        ...

    def asked(self, promise: str) -> None:
        """Somebody outside is to settle a promise."""
        ...


world: ContextVar[World] = ContextVar("simulated_world")


async def enter(*, once: bool = False) -> World:
    """Say that a body begins, once its process is awake."""
    await here.get().pulse.felt()
    if not here.get().alive:
        await takes(0)
    body: Any = place.get()
    call = body.call
    found = world.get()
    found.entered(Entry(workflow_id(), step_key(), attempt(), once, call.sequencer.log.writer, call.since))
    return found


@step
async def work(number: int, seconds: float) -> int:
    """Take a while, and return the square."""
    await enter()
    await takes(seconds)
    return number * number


@step
async def flaky(fails: int) -> str:
    """Fail so many times."""
    await enter()
    await takes(0)
    if attempt() <= fails:
        raise Flop(f"attempt {attempt()}")
    return f"at attempt {attempt()}"


@step(at_most_once=True)
async def pay(number: int, seconds: float) -> int:
    """Do what must not be done twice."""
    await enter(once=True)
    await takes(seconds)
    return number


@step
async def reserve(what: str, seconds: float) -> None:
    """Reserve something; it is reserved before the answer is there."""
    (await enter()).reserved(workflow_id(), what)
    await takes(seconds)


@step
async def release(what: str, seconds: float) -> None:
    """Release it."""
    found = await enter()
    await takes(seconds)
    found.released(what)


@step
async def ask(promise: str) -> None:
    """Give a promise away."""
    (await enter()).asked(promise)

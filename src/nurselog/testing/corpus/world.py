"""What workflows of the corpus share with whoever watches them: chance for bodies, and notes of what the code sees.

By themselves they need nothing of this: notes go nowhere, and chance is made of where and when a body runs. So a life
is the same each time that it is lived, and a body that runs again after a crash may well take another time, or end
otherwise. Who wants to know what was done and seen sets a `World`, for each life one of its own.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import trio

from ... import Suspended, attempt, now, step_key
from ..._flow.current import current_strand
from ..._flow.sequencer import Sequencer
from ..life import Raised


@dataclass
class World:
    """What one life does, apart from its log."""

    random: random.Random
    """What `chance` draws from."""
    bodies: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Idempotency key and attempt of each body that was entered, in order."""
    trace: list[tuple[int, tuple[str, ...]]] = field(default_factory=list[tuple[int, tuple[str, ...]]])
    """What the workflow's code saw when it last ran: the number of delivered events, and what was noted."""
    sequencer: Sequencer | None = None
    """Whose code it was. A workflow that was evicted in this life has begun anew when it came back."""


_world: ContextVar[World | None] = ContextVar("nurselog_corpus_world", default=None)


@contextmanager
def watched(world: World) -> Generator[World]:
    """Let workflows of the corpus that run inside, under a Trio that begins inside, tell a world what they do."""
    token = _world.set(world)
    try:
        yield world
    finally:
        _world.reset(token)


def chance() -> random.Random:
    """Return random numbers for bodies: how long they take, and how they end, may differ from life to life."""
    world = _world.get()
    return world.random if world else random.Random(f"{step_key()} {attempt()} {trio.current_time()}")


def entered() -> None:
    """Say that a step's body runs; every body calls it first."""
    if world := _world.get():
        world.bodies.append((step_key(), attempt()))


def note(*what: object) -> None:
    """Say what the workflow's code sees. It must be the same, at the same place in the log, in every life."""
    world = _world.get()
    if world is None:
        return
    try:
        strand = current_strand("note")
        seen = (strand.text, now().isoformat(), *(repr(one) for one in what))
    except Suspended:
        return  # what unwinds in a dying process is nobody's history
    if world.sequencer is not strand.sequencer:
        world.sequencer, world.trace = strand.sequencer, []
    world.trace.append((strand.sequencer.cursor.delivered, seen))


def shape(error: Exception) -> Any:
    """Return what two errors must share to be the same one: all but tracebacks and context."""
    return Raised.of(error).shape

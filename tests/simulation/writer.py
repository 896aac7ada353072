"""Draws generated programs."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from tests.simulation.load import Abort, All, Brood, Careful, First, Held, Kid, Mind, Pick, Program, Spawn, Then, Within
from tests.simulation.nodes import Flaky, Nap, Pay, Pipe, Timed, Work
from tests.simulation.talk import TOPICS, Abandon, Ask, Listen, Serve, Tell


class Writer:
    """Writes programs.

    Args:
        chance: draws them.
        unit: seconds; everything takes some share of it.
        others: how many workflows there are to talk to.
    """

    def __init__(self, chance: random.Random, unit: float, others: int) -> None:
        self._chance, self._unit, self._others = chance, unit, others

    def write(self) -> str:
        """Return a program as JSON."""
        return msgspec.json.encode(self.draw(3)).decode()

    def draw(self, depth: int) -> Program:
        """Draw a part of a program that is so deep at most."""
        inner = depth > 0 and self._chance.random() < 0.75
        return self._chance.choice(self._inner if inner else self._leaves)(depth - 1)

    def _while(self, least: float = -4, most: float = 0.5) -> float:
        return self._unit * 10 ** self._chance.uniform(least, most)

    def _number(self) -> int:
        return self._chance.randrange(100)

    def _topic(self) -> str:
        return self._chance.choice(TOPICS)

    def _parts(self, depth: int) -> tuple[Program, ...]:
        return tuple(self.draw(depth) for _ in range(self._chance.randint(1, 3)))

    @property
    def _leaves(self) -> list[Callable[[int], Program]]:
        return [
            lambda _: Work(self._number(), self._while()),
            lambda _: Timed(self._number(), self._while(), self._while()),
            lambda _: Flaky(self._chance.randrange(4), self._while()),
            lambda _: Pay(self._number(), self._while()),
            lambda _: Pay(self._number(), self._while()),
            lambda _: Nap(self._while(-3, 1)),
            lambda _: Pipe(self._chance.randint(1, 3), self._while(-4, -0.5)),
            lambda _: Listen(self._topic(), self._chance.randint(1, 4), self._while(-1, 1)),
            lambda _: Serve(self._chance.randint(1, 4), self._while(-1, 1)),
            lambda _: Ask(self._while(0, 1), own=self._chance.random() < 0.3),
            lambda _: Tell(self._chance.randint(-1, self._others), self._topic(), self._chance.randint(1, 3)),
            lambda _: Abandon(self._while(-2), awaited=self._chance.random() < 0.5),
        ]

    @property
    def _inner(self) -> list[Callable[[int], Program]]:
        return [
            lambda depth: Then(self._parts(depth)),
            lambda depth: Then(self._parts(depth)),
            lambda depth: All(self._parts(depth)),
            lambda depth: First(self._parts(depth)),
            lambda depth: Within(self._while(-2), self.draw(depth)),
            lambda depth: Held(self._while(-4, -1), self.draw(depth)),
            lambda depth: Held(self._while(-4, -1), self.draw(depth)),
            lambda depth: Pick(self._while(-2), self.draw(depth)),
            lambda depth: Abort(self._while(-2), self.draw(depth)),
            lambda depth: Careful(self.draw(depth)),
            lambda depth: Kid(self.draw(depth)),
            lambda depth: Careful(Kid(self.draw(depth))),
            lambda depth: Within(self._while(-2), Kid(self.draw(depth))),
            lambda depth: Spawn(self.draw(depth)),
            lambda depth: Brood(self._parts(depth), self._while(-2)),
            lambda depth: Mind(self.draw(depth), self._topic(), self._while(-1)),
        ]

"""People outside who send messages and settle promises, as people do: again where an answer was lost, and twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import trio

from nurselog import Engine, Letter, WorkflowStuck
from tests.simulation.steps import Flop
from tests.simulation.talk import SERVICE, TOPICS, letter

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_OFTEN = 60
"""How often each of them says something in a run, on average."""


class Outsider:
    """One of them."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self._name = cluster, name
        self._chance = random.Random(f"{name} {cluster.plan.seed}")

    async def run(self) -> None:
        """Say something from time to time."""
        for number in count(step=10):
            await trio.sleep(self._chance.expovariate(_OFTEN / self._cluster.plan.span))
            promises = self._cluster.judge.promises
            if promises and self._chance.random() < 0.4:
                await self._settle(self._chance.choice(promises[-5:]), number)
            elif id := self._cluster.some_open_workflow():
                say = self._chance.choices((self._send, self._send_all, self._update), (5, 1, 3))[0]
                await say(id, number)

    async def _send(self, id: str, number: int) -> None:
        """Send a message; one that has a key again, until there is an answer."""
        topic, keyed = self._chance.choice(TOPICS), self._chance.random() < 0.6
        key = f"{self._name} {number}" if keyed else None
        for attempt in range(1, 5 if keyed else 2):
            text = letter(self._name, number, attempt)

            async def use(engine: Engine, text: str = text) -> None:
                new = await engine.send(id, topic, text, key=key)
                self._cluster.judge.letters.told(id, text, new=new)

            answered = await self._via_some_process(use)
            if answered and self._chance.random() < 0.9:  # else: did it arrive?
                break

    async def _send_all(self, id: str, number: int) -> None:
        """Send some at once, to one or two."""
        ids = [id, self._cluster.some_open_workflow() or id, id]
        texts = [letter(self._name, number + place, 1) for place in range(len(ids))]
        letters = [Letter(one, self._chance.choice(TOPICS), text) for one, text in zip(ids, texts, strict=True)]

        async def use(engine: Engine) -> None:
            with suppress(ExceptionGroup):  # one of them was not left, and nothing is said of the others
                for one, text, new in zip(ids, texts, await engine.send_all(letters), strict=True):
                    self._cluster.judge.letters.told(one, text, new=new)

        await self._via_some_process(use)

    async def _update(self, id: str, number: int) -> None:
        """Ask for something, several times by the same key, whether there was an answer or not."""
        id, key = self._chance.choice([*self._cluster.serving(), id]), f"{self._name} {number}"

        async def use(engine: Engine) -> None:
            with trio.move_on_after(self._cluster.plan.unit), suppress(WorkflowStuck):
                try:
                    answer = await engine.update(id, SERVICE, letter(self._name, number, 0), str, key=key)
                except Flop as exc:
                    answer = exc
                self._cluster.judge.answers.told(id, key, answer)

        for _ in range(self._chance.randint(1, 3)):
            await self._via_some_process(use)

    async def _settle(self, promise: str, number: int) -> None:
        text = f"{self._name} {number}"

        async def use(engine: Engine) -> None:
            if self._chance.random() < 0.7:
                await engine.resolve(promise, text)
            else:
                await engine.reject(promise, Flop(text))
            self._cluster.judge.letters.settled(promise, text)

        await self._via_some_process(use)

    async def _via_some_process(self, use: Callable[[Engine], Awaitable[object]]) -> bool:
        """Use some engine, from a task that dies with its process; return whether there was an answer."""
        process = self._cluster.some_process()
        if process is None:
            return False
        answered, over = False, trio.Event()

        async def ask() -> None:
            nonlocal answered
            try:
                answered = await self._cluster.use(process, use)
            finally:
                over.set()

        process.clients.start_soon(ask)
        await over.wait()
        return answered

"""The same random calls on all stores side by side: what they answer must not differ.

Keys, writers and numbers of messages are each store's own, and are compared by what they stand for.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from nurselog._log.events import Row
from nurselog._log.lifecycle import Status
from nurselog.abc import Append, Batch, Filter, Message, Standing, Store, Wanted, Workflow, WorkflowKey
from tests.stores.kit import LEASE, FakeClock, creation, opened, row

IDS = tuple(f"w{number}" for number in range(6))
NAMES = ("work", "play")
OTHER_WRITER = 1


class Log(NamedTuple):
    """What a side believes of a log that it may write to."""

    last: int
    writer: int


class Side:
    """One store, and what it calls things."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys: dict[str, WorkflowKey] = {}
        self.ids: dict[WorkflowKey, str] = {}
        self.writers: dict[int, str] = {}
        self.logs: dict[str, Log] = {}
        self.letters: list[Message] = []

    def workflow(self, found: Workflow) -> tuple[object, ...]:
        self.keys[found.id], self.ids[found.key] = found.key, found.id
        times = found.due_at, found.created_at, found.updated_at
        return found.id, found.name, found.version, found.digest, found.status, found.owner, found.problem, *times

    def workflows(self, found: Sequence[Workflow]) -> list[tuple[object, ...]]:
        return sorted(self.workflow(one) for one in found)

    def row(self, line: Row) -> tuple[object, ...]:
        return line.seq, line.at, line.after, self.writers.get(line.writer, line.writer), line.event, line.value

    def message(self, one: Message) -> tuple[object, ...]:
        return self.ids[one.key], one.kind, one.body


class Play:
    """A random sequence of calls."""

    def __init__(self, sides: Sequence[Side], clock: FakeClock, seed: int, tally: Counter[str]) -> None:
        self.sides, self.clock, self.tally = sides, clock, tally
        self.rng, self.seed, self.turn = random.Random(seed), seed, 0

    async def all(self, label: str, call: Callable[[Side], Awaitable[Any]]) -> Any:
        """Make a call on each side, and see that the answers are the same."""
        answers = [await call(side) for side in self.sides]
        assert all(answer == answers[0] for answer in answers), (f"seed {self.seed}, turn {self.turn}", label, answers)
        self.tally[f"{label}: {'some' if answers[0] else 'none'}"] += 1
        return answers[0]

    def some_id(self) -> str:
        known = sorted(self.sides[0].keys)
        return self.rng.choice(known or IDS)

    async def create(self) -> None:
        id, name, owner = self.rng.choice(IDS), self.rng.choice(NAMES), self.rng.choice([None, "a", "nobody"])
        writer, length, times = self.turn * 10 + 2, self.rng.randint(1, 3), self.rng.choice([1, 1, 2])

        async def call(side: Side) -> list[object]:
            one = creation(id, writer, name=name, owner=owner, length=length, digest=str(self.turn))
            receipt = await side.store.commit(Batch(creations=[one] * times))
            answer = [(created.new, side.workflow(created.workflow)) for created in receipt.created]
            if receipt.created[0].new:
                side.logs[id] = Log(length, writer)
            return answer

        [(new, _), *_] = await self.all("create", call)
        self.tally[f"created: {new}"] += 1

    async def append(self) -> None:
        id, gap, length = self.some_id(), self.rng.choice([-1, 0, 0, 0, 1]), self.rng.randint(0, 3)
        stale = self.rng.random() < 0.1
        status = self.rng.choice([None, None, *Status])
        release = self.rng.random() < 0.5
        problem, due = self.rng.choice([None, "why"]), self.rng.choice([None, 0, self.clock.now + 5])
        standing = status and Standing(status=status, due_at=due, release=release, problem=problem)
        take = self.rng.random() < 0.5

        async def call(side: Side) -> bool:
            if id not in side.logs:
                return False
            last, writer = side.logs[id]
            first = max(1, last + 1 + gap)
            lines = [row(seq, OTHER_WRITER if stale else writer, value=b"v") for seq in range(first, first + length)]
            key = side.keys[id]
            taken = [one.number for one in side.letters if take and one.key == key]
            part = Append(key=key, rows=lines, standing=standing, taken=taken)
            ghost = Append(key=WorkflowKey(999 * 1024), rows=[row(2, 5)])
            refused = (await side.store.commit(Batch(appends=[ghost, part]))).refused
            assert ghost.key in refused
            if key not in refused and lines:
                side.logs[id] = Log(max(last, lines[-1].seq), writer)
            return key in refused

        refused = await self.all("refused", call)
        if not refused and standing:
            self.tally[f"standing: {standing.status.value}"] += 1

    async def claim(self) -> None:
        ids = self.rng.sample(IDS, 3) if self.rng.random() < 0.4 else None
        names = frozenset(self.rng.sample(NAMES, self.rng.randint(0, 2)))

        async def call(side: Side) -> list[object]:
            keys = None if ids is None else frozenset(side.keys[id] for id in ids if id in side.keys)
            claims = await side.store.claim(Wanted(worker="a", names=names, limit=100, keys=keys))
            for claim in claims:
                side.writers[claim.writer] = f"claim of {claim.workflow.id} in turn {self.turn}"
                side.logs[claim.workflow.id] = Log(claim.rows[-1].seq, claim.writer)
            answers = [
                (side.workflow(one.workflow), [side.row(r) for r in one.rows], [side.message(m) for m in one.messages])
                for one in claims
            ]
            return sorted(answers)

        await self.all("claim", call)

    async def post(self) -> None:
        id, body = self.some_id(), str(self.turn).encode()

        async def call(side: Side) -> None:
            if id in side.keys:
                await side.store.post(side.keys[id], "note", body)

        await self.all("post", call)

    async def messages(self) -> None:
        async def call(side: Side) -> list[object]:
            side.letters = list(await side.store.messages())
            return [side.message(one) for one in side.letters]

        await self.all("messages", call)

    async def time(self) -> None:
        self.clock.now += self.rng.choice([1, 10, LEASE // 2, LEASE])
        renewed = await self.all("renew", lambda side: side.store.renew())
        self.tally[f"renewed: {renewed}"] += 1

    async def look(self) -> None:
        where = Filter(
            status=self.rng.choice([None, frozenset(self.rng.sample(list(Status), 5))]),
            name=self.rng.choice([None, *NAMES]),
            prefix=self.rng.choice([None, "w", "w1"]),
        )
        wanted = Wanted(worker="a", names=frozenset(NAMES), limit=1)
        id, from_seq = self.some_id(), self.rng.choice([1, 2, 100, -1, -2])

        async def read(side: Side) -> list[object]:
            return [side.row(r) for r in await side.store.read(side.keys[id], from_seq)] if id in side.keys else []

        async def listed(side: Side) -> list[tuple[object, ...]]:
            return side.workflows(await side.store.list(where))

        async def found(side: Side) -> list[tuple[object, ...]]:
            return side.workflows(await side.store.find(IDS))

        await self.all("list", listed)
        await self.all("find", found)
        await self.all("read", read)
        due = await self.all("next due", lambda side: side.store.next_due(wanted))
        self.tally["next due: a time"] += due is not None

    async def run(self, turns: int) -> None:
        for self.turn in range(turns):
            moves = [
                self.create,
                self.append,
                self.append,
                self.append,
                self.claim,
                self.post,
                self.messages,
                self.look,
            ]
            await self.rng.choice([*moves, *moves, self.time])()


WANTED = {
    *(
        f"{label}: {answer}"
        for label in ("claim", "messages", "list", "read", "refused")
        for answer in ("some", "none")
    ),
    *(f"standing: {status.value}" for status in Status),
    *(
        "created: True",
        "created: False",
        "renewed: True",
        "renewed: False",
        "find: some",
        "next due: a time",
        "post: none",
    ),
}


async def test_stores_do_not_differ(file_url: str, postgres_url: str, scale: int) -> None:
    tally: Counter[str] = Counter()
    for seed in range(6 * scale):
        async with AsyncExitStack() as stack:
            clock = FakeClock()
            urls = ("sqlite://", f"{file_url}{seed}", f"{postgres_url}&schema=one{seed}")
            urls += (f"{postgres_url}&schema=many{seed}&shards=5",)
            sides = [Side(await stack.enter_async_context(opened(url, clock, duration=LEASE))) for url in urls]
            await Play(sides, clock, seed, tally).run(150)
    assert {name for name, count in tally.items() if count} >= WANTED, WANTED - set(tally)


async def test_a_difference_is_found() -> None:
    async with opened("sqlite://") as one, opened("sqlite://") as other:
        sides = [Side(one), Side(other)]
        play = Play(sides, FakeClock(), 0, Counter())
        await play.create()
        await one.post(next(iter(sides[0].keys.values())), "note", b"")
        with pytest.raises(AssertionError, match="seed 0"):
            for _ in range(20):
                await play.claim()
                await play.messages()

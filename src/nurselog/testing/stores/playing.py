"""The same random calls on a store and on the one in memory, side by side: what they answer must not differ.

Clauses that somebody has thought of are not all that there are. Here the store in memory is the contract: whatever it
answers is right. Keys, writers and numbers of messages are each store's own, and are compared by what they stand for.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ... import Status
from ...abc import Append, Batch, Filter, Post, Posted, Standing, Wanted
from ...lowlevel import Row, open_store
from .checks import Bench, clause
from .records import LEASE, StandingClock, creation, early, note, over, row, using
from .sides import GHOST, Answer, Log, Side

ACTS, TURNS = 4, 150
SIZE = 6
"""Workflows of an act. With each act there are new ones: most of the old ones have ended."""
NAMES = ("work", "play")
OTHER_WRITER = 1
CHILDREN = 2
"""Of each root."""
CHILD_WRITER = 3
EARLY = 0.15
"""How probable it is that a turn is followed by messages that may be early."""
WORDS = ("x", "y", "")
"""With which messages are left once."""


@clause()
async def it_does_what_the_store_in_memory_does(bench: Bench) -> None:
    """Whatever is asked of it, in whatever order, a store answers as `sqlite://` does."""
    memory = open_store("sqlite://", clock=bench.clock)
    async with using(memory, "a", LEASE) as model, bench.opened("a", LEASE) as store:
        await Play([Side(model), Side(store)], bench.clock, 0).run(ACTS, TURNS)


class Play:
    """A random sequence of calls.

    Args:
        sides: the stores, of which the first is right.
        clock: that of all of them.
        seed: what is random is made of it.
    """

    def __init__(self, sides: Sequence[Side], clock: StandingClock, seed: int) -> None:
        self.sides: Sequence[Side] = sides
        self.tally: Counter[str] = Counter()
        """What was answered."""
        self._clock, self._rng, self._seed = clock, random.Random(seed), seed
        self._early_rng = random.Random(seed)
        self._act = self._turn = 0

    async def run(self, acts: int, turns: int) -> None:
        """Play so many acts of so many turns."""
        moves = [self.create, *[self.append] * 3, self.bear, self.claim, *[self.post] * 2, self.messages, self.look] * 2
        moves += [self.end, self.delete, self.expired] * 2
        if all(side.store.shared for side in self.sides[1:]):
            moves.append(self.time)  # others need no lease
        for self._act in range(acts):
            for _ in range(turns):
                self._turn += 1
                await self._rng.choice(moves)()
                if self._early_rng.random() < EARLY:
                    await self.be_early()

    async def all(self, label: str, call: Callable[[Side], Awaitable[Any]]) -> Any:
        """Make a call on each side, and see that the answers are the same."""
        right, *answers = [await call(side) for side in self.sides]
        for answer in answers:
            assert answer == right, f"seed {self._seed}, turn {self._turn}, {label}: {answer}, and not {right}"
        self.tally[f"{label}: {'some' if right else 'none'}"] += 1
        return right

    @property
    def _roots(self) -> list[str]:
        return [f"w{self._act}.{number}" for number in range(SIZE)]

    @property
    def _ids(self) -> list[str]:
        return [id for root in self._roots for id in (root, *self._children(root))]

    def _children(self, root: str) -> list[str]:
        return [f"{root}/{number}" for number in range(CHILDREN)]

    def _some_id(self) -> str:
        """Draw a workflow of this act: one that is there, if any is."""
        return self._rng.choice([id for id in self._ids if id in self.sides[0].keys] or self._ids)

    async def create(self) -> None:
        """Make a workflow, perhaps twice, perhaps one that is there."""
        id, name, owner = self._rng.choice(self._roots), self._rng.choice(NAMES), self._some_owner()
        writer, length, times = self._turn * 10 + 2, self._rng.randint(1, 3), self._rng.choice([1, 1, 2])
        one = creation(id, writer, name=name, owner=owner, length=length, digest=str(self._turn))

        async def call(side: Side) -> list[Answer | None]:
            answers = side.created((await side.store.commit(Batch(creations=[one] * times))).created)
            if answers[0] and answers[0][0]:
                side.logs[id] = Log(length, writer)
            return answers

        [(new, *_), *_] = await self.all("create", call)
        self.tally[f"created: {new}"] += 1

    def _some_owner(self) -> str | None:
        return self._rng.choice([None, "a", "nobody"])

    async def bear(self) -> None:
        """Make children with an append of their parent's, or without one; perhaps such as are there."""
        id = self._some_id().partition("/")[0]
        names, lines = self._rng.sample(self._children(id), self._rng.randint(1, CHILDREN)), self._lines()
        owner, orphaned, letters = self._some_owner(), self._rng.random() < 0.1, self._letters_of(id)

        async def call(side: Side) -> list[Answer | None]:
            if id not in side.logs:
                return []
            part = Append(key=side.keys[id], rows=lines(side.logs[id]), posts=letters(side))
            children = [creation(name, CHILD_WRITER, owner=owner, parent=part.key) for name in names]
            batch = Batch(creations=children, appends=[] if orphaned else [part])
            receipt = await side.store.commit(batch)
            for name, made in zip(names, receipt.created, strict=True):
                if made and made.workflow.key != side.keys.get(name):
                    side.logs[name] = Log(1, CHILD_WRITER)
            side.wrote(id, batch, receipt)
            return side.created(receipt.created)

        for answer in await self.all("bear", call):
            self.tally[f"child: {answer and answer[0]}"] += 1

    def _lines(self) -> Callable[[Log], list[Row]]:
        """Draw rows to append: the next ones, some that are there, behind a gap, as somebody else, or none."""
        gap, length, stale = self._rng.choice([-1, 0, 0, 0, 1]), self._rng.randint(0, 3), self._rng.random() < 0.1

        def lines(log: Log) -> list[Row]:
            first = max(1, log.last + 1 + gap)
            writer = OTHER_WRITER if stale else log.writer
            return [row(seq, writer, value=b"v") for seq in range(first, first + length)]

        return lines

    async def append(self) -> None:
        """Append to a workflow: rows, a change of standing, messages used up, and messages left."""
        id, take, standing, lines = self._some_id(), self._rng.random() < 0.5, self._standing(), self._lines()
        letters, beside = self._letters_of(id), [Append(key=GHOST, rows=[row(2, 5)])] * self._rng.randint(0, 1)

        async def call(side: Side) -> bool:
            if id not in side.logs:
                return False
            key = side.keys[id]
            taken = [one.number for one in side.letters if take and one.key == key]
            part = Append(key=key, rows=lines(side.logs[id]), standing=standing, taken=taken, posts=letters(side))
            batch = Batch(appends=[*beside, part])
            receipt = await side.store.commit(batch)
            assert (GHOST in receipt.refused) == bool(beside), "a workflow that is not there was not refused"
            side.wrote(id, batch, receipt)
            return key in receipt.refused

        refused = await self.all("refused", call)
        if not refused and standing:
            self.tally[f"standing: {standing.status.value}"] += 1

    def _letters_of(self, id: str) -> Callable[[Side], list[Post]]:
        """Draw messages of an append: for the workflow's family, which is in one shard, and each to be left once."""
        root = id.partition("/")[0]
        return self._letters([root, *self._children(root)], (*WORDS, str(self._turn)))

    def _letters(self, ids: Sequence[str], words: Sequence[str | None]) -> Callable[[Side], list[Post]]:
        """Draw messages for some of these, some of which may not be there."""
        drawn = [
            (
                self._rng.choice(ids),
                f"{self._turn}.{number}".encode(),
                self._rng.choice(["note", "other"]),
                self._rng.choice(words),
                self._rng.choice([None, None, 1, 3]),
            )
            for number in range(self._rng.randint(0, 3))
        ]
        return lambda side: [
            note(side.keys.get(id, GHOST), body, kind=kind, once=once, most=most)
            for id, body, kind, once, most in drawn
        ]

    def _standing(self) -> Standing | None:
        status, release = self._rng.choice([None, None, *Status]), self._rng.random() < 0.5
        problem, due = self._rng.choice([None, "why"]), self._rng.choice([None, 0, self._clock.now + 5])
        return status and Standing(status=status, due_at=due, release=release, problem=problem)

    async def claim(self) -> None:
        """Claim what is due of some names, or some keys."""
        ids = self._rng.sample(self._ids, 3) if self._rng.random() < 0.4 else None
        names = frozenset(self._rng.sample(NAMES, self._rng.randint(0, 2)))

        async def call(side: Side) -> list[object]:
            keys = None if ids is None else frozenset(side.keys[id] for id in ids if id in side.keys)
            claims = await side.store.claim(Wanted(worker="a", names=names, limit=100, keys=keys))
            for claim in claims:
                side.writers[claim.writer] = f"claim of {claim.workflow.id} in turn {self._turn}"
                side.logs[claim.workflow.id] = Log(claim.rows[-1].seq, claim.writer)
            answers = [
                (side.workflow(one.workflow), [side.row(r) for r in one.rows], [side.message(m) for m in one.messages])
                for one in claims
            ]
            return sorted(answers, key=repr)

        await self.all("claim", call)

    async def post(self) -> None:
        """Leave messages."""
        letters = self._letters([self._some_id(), self._some_id()], (None, None, *WORDS))

        async def call(side: Side) -> list[Posted]:
            return [*map(Posted.of, await side.store.post(letters(side)))]

        for posted in await self.all("post", call):
            self.tally[f"posted: {posted.value}"] += 1

    async def be_early(self) -> None:
        """Leave messages for workflows of this act, many of which are not there yet."""
        letters = [
            early(
                self._early_rng.choice(self._ids),
                f"{self._turn}.{number}".encode(),
                once=self._early_rng.choice([None, "early"]),
                most=self._early_rng.choice([None, 1, 3]),
            )
            for number in range(self._early_rng.randint(1, 3))
        ]

        async def call(side: Side) -> list[Posted]:
            return [*await side.store.post_early(letters)]

        for posted in await self.all("early", call):
            self.tally[f"early: {posted.value}"] += 1

    async def messages(self) -> None:
        """Ask for messages."""
        some = self._rng.random()

        async def call(side: Side) -> list[Answer]:
            side.letters = list(await side.store.messages())
            mail = {one.key: [other.number for other in side.letters if other.key == one.key] for one in side.letters}
            others = await side.store.messages({key: of[int(some * len(of))] for key, of in mail.items()})
            found = [*map(side.message, side.letters), *map(side.message, others)]
            return sorted(found, key=lambda one: str(one[0]))  # for each in order

        await self.all("messages", call)

    async def end(self) -> None:
        """Bring a family to its end, or what there is of it: by chance all of it ends too seldom."""
        root, status = self._rng.choice(self._roots), self._rng.choice([one for one in Status if one.final])

        async def call(side: Side) -> list[bool]:
            there = [id for id in (root, *self._children(root)) if id in side.logs]
            parts = [
                Append(key=side.keys[id], rows=[row(log.last + 1, log.writer)], standing=over(status))
                for id in there
                for log in (side.logs[id],)
            ]
            batch = Batch(appends=parts)
            receipt = await side.store.commit(batch)
            for id in there:
                side.wrote(id, batch, receipt)
            return [part.key in receipt.refused for part in parts]

        await self.all("end", call)

    async def delete(self) -> None:
        """Delete families, of which some have not ended, and some were deleted before; children have none."""
        ids = [*dict.fromkeys([*self._rng.sample(self._roots, SIZE // 2), self._some_id()])]

        async def call(side: Side) -> list[Answer]:
            became = await side.store.delete([side.keys.get(id, GHOST) for id in ids])
            assert all(one.living is None or one.living in self._ids for one in became)
            return [(one.removed, one.living is None) for one in became]

        for removed, ended in await self.all("delete", call):
            self.tally[f"deleted: {'some' if removed else 'none' if ended else 'living'}"] += 1

    async def expired(self) -> None:
        """Ask what has been over for long."""
        before = self._clock.now - self._rng.choice([-1, 0, LEASE])

        async def call(side: Side) -> list[str]:
            return sorted(side.ids[key] for key in await side.store.expired(before, 1000))

        await self.all("expired", call)

    async def time(self) -> None:
        """Let time pass, perhaps claim in spite of that, and renew the lease, perhaps late: nobody else has looked."""
        self._clock.now += self._rng.choice([1, 10, LEASE // 2, LEASE])
        if self._rng.random() < 0.5:
            await self.claim()
        renewed = await self.all("renew", lambda side: side.store.renew())
        self.tally[f"renewed: {renewed}"] += 1

    async def look(self) -> None:
        """Ask all the questions there are."""
        where = Filter(
            status=self._rng.choice([None, frozenset(self._rng.sample(list(Status), 5))]),
            name=self._rng.choice([None, *NAMES]),
            prefix=self._rng.choice([None, "w", f"w{self._act}.1"]),
        )
        names = Wanted(worker="a", names=frozenset(NAMES), limit=1)
        id, from_seq = self._some_id(), self._rng.choice([1, 2, 100, -1, -2, -100])
        limit = self._rng.choice([None, 1, 2])

        async def read(side: Side) -> list[Answer]:
            return (
                [side.row(r) for r in await side.store.read(side.keys[id], from_seq, limit)] if id in side.keys else []
            )

        async def listed(side: Side) -> list[Answer]:
            return side.workflows(await side.store.list(where))

        async def found(side: Side) -> list[Answer]:
            return side.workflows(await side.store.find(self._ids))

        await self.all("list", listed)
        await self.all("find", found)
        await self.all("read", read)
        due = await self.all("next due", lambda side: side.store.next_due(names))
        self.tally["next due: a time"] += due is not None

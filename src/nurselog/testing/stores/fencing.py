"""The fence: who was taken over is refused, whole and alone."""

from __future__ import annotations

import random

from ... import Status
from ...abc import Append, Batch, Receipt, Store, WorkflowKey
from .checks import Bench, clause
from .records import append, claim_due, claim_keys, create, creation, look, note, over, row, rows, seqs, sleeping

LONG_APPEND = 2058
"""Rows: more than stores write at once."""
SEEDS = range(10)
"""Of the random takeovers."""


@clause()
async def who_was_taken_over_is_refused_and_others_are_not(bench: Bench) -> None:
    """Rows of a former owner are refused, and nothing of them is written; the rest of the batch is."""
    async with bench.opened() as store:
        lost, kept = await create(store, creation("lost", 7), creation("kept", 8, owner="a"))
        [claim] = await claim_due(store, "a")
        assert claim.workflow.key == lost

        assert await append(store, Append(key=lost, rows=rows(2, 3, 7)), Append(key=kept, rows=rows(2, 3, 8))) == {lost}
        assert await store.read(lost) == claim.rows
        assert await seqs(store, kept) == [1, 2, 3]


@clause()
async def rows_behind_a_claim_are_refused(bench: Bench) -> None:
    """Rows of a former owner are refused although none is in their way.

    It has them in its queue when it learns that the rows before them were refused.
    """
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7))
        await claim_due(store, "a")
        assert await append(store, Append(key=key, rows=rows(3, 4, 7))) == {key}
        assert await seqs(store, key) == [1, 2]


@clause()
async def a_long_append_is_refused_whole(bench: Bench) -> None:
    """Of an append that is refused nothing is written, however long it is."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7))
        [claim] = await claim_due(store, "a")
        assert await append(store, Append(key=key, rows=rows(2, LONG_APPEND, 7))) == {key}
        assert await store.read(key) == claim.rows


@clause()
async def rows_from_before_a_takeover_bring_nothing_with_them(bench: Bench) -> None:
    """Rows that are there already are refused if the workflow was taken over since, and so is what comes with them.

    The answer was lost, and the workflow was taken over before the old owner asked again.
    """
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        batch = Append(key=key, rows=rows(2, 2, 7), standing=sleeping(0))
        assert not await append(store, batch)
        [claim] = await claim_due(store, "a")
        assert await append(store, batch) == {key}
        assert await look(store, "one") == claim.workflow


@clause()
async def a_gap_is_refused(bench: Bench) -> None:
    """Rows that do not follow the last one are refused: a log is dense."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        assert await append(store, Append(key=key, rows=rows(3, 4, 7))) == {key}
        assert await seqs(store, key) == [1]


@clause()
async def a_workflow_that_does_not_exist_is_refused(bench: Bench) -> None:
    """An append to a workflow that does not exist is refused, with rows or without."""
    async with bench.opened() as store:
        ghosts = [WorkflowKey(1), WorkflowKey(2)]
        batch = [Append(key=ghosts[0], rows=rows(2, 2, 7)), Append(key=ghosts[1], standing=sleeping())]
        assert await append(store, *batch) == set(ghosts)


@clause()
async def the_refused_keep_their_standing_and_their_messages(bench: Bench) -> None:
    """Where rows are refused, so are the standing and the taking of messages that come with them."""
    async with bench.opened() as store:
        one, two = await create(store, creation("one", 7), creation("two", 8, owner="a"))
        await claim_due(store, "a")
        await store.post([note(one, b"1"), note(two, b"2")])
        first, second = sorted(await store.messages(), key=lambda message: message.body)
        assert await append(
            store,
            Append(key=one, rows=rows(2, 2, 7), standing=over(), taken=[first.number]),
            Append(key=two, rows=rows(2, 2, 8), standing=sleeping(9), taken=[second.number]),
        ) == {one}
        workflow = await look(store, "one")
        assert (workflow.status, workflow.owner) == (Status.RUNNING, "a")
        assert await store.messages() == [first]
        assert (await look(store, "two")).due_at == 9


@clause(shared=True)
async def without_rows_the_owner_decides(bench: Bench) -> None:
    """An append without rows is refused unless this store's worker owns the workflow."""
    async with bench.opened() as store, bench.opened("b") as other:
        mine, yours = await create(store, creation("mine", owner="a"), creation("yours", owner="b"))
        await store.post([note(mine, b"1"), note(yours, b"2")])
        [message], [foreign] = await store.messages(), await other.messages()

        assert await append(
            store,
            Append(key=mine, taken=[message.number]),
            Append(key=yours, taken=[foreign.number], standing=sleeping()),
        ) == {yours}
        assert await store.messages() == []
        assert await other.messages() == [foreign]
        assert (await look(store, "yours")).owner == "b"


@clause()
async def without_rows_the_last_claim_decides(bench: Bench) -> None:
    """An append without rows, but with its writer, is refused if the workflow was claimed since, by the same worker."""
    async with bench.opened() as store:
        [key, sender] = await create(store, creation("one", 7, owner="a"), creation("two", 8, owner="a"))
        await store.post([note(key)])
        [message] = await store.messages()
        assert not await append(store, Append(key=key, writer=7, standing=sleeping(0)))
        [claim] = await claim_due(store, "a")
        for part in (
            Append(key=key, writer=7, standing=sleeping(0)),
            Append(key=key, writer=7, taken=[message.number]),
            Append(key=key, writer=7, posts=[note(sender)]),
        ):
            assert await append(store, part) == {key}
        child = creation("one/1", 9, parent=key)
        receipt = await store.commit(Batch(creations=[child], appends=[Append(key=key, writer=7)]))
        assert receipt == Receipt(created=[None], refused=frozenset({key}))
        assert await store.find(["one/1"]) == []
        assert await look(store, "one") == claim.workflow
        assert await store.messages() == [message]
        assert not await append(store, Append(key=key, writer=claim.writer, taken=[message.number]))
        assert await store.messages() == []


@clause(shared=True)
async def two_stores_fence_each_other(bench: Bench) -> None:
    """Whoever claims, the other one's appends are refused: before the claimer has written, and after."""
    async with bench.opened() as a, bench.opened("b") as b:
        stores = {"a": a, "b": b}
        for first, second in (("a", "b"), ("b", "a")):
            [key] = await create(stores[first], creation(f"from {first}", 7, owner=first))
            assert await claim_keys(stores[second], second, key) == []
            assert not await append(stores[first], Append(key=key, rows=rows(2, 2, 7), standing=sleeping(0)))

            [claim] = await claim_keys(stores[second], second, key)
            assert [row.seq for row in claim.rows] == [1, 2, 3]
            assert await append(stores[first], Append(key=key, rows=rows(3, 3, 7))) == {key}
            assert not await append(stores[second], Append(key=key, rows=rows(4, 4, claim.writer)))
            assert await append(stores[first], Append(key=key, rows=rows(5, 5, 7))) == {key}
            assert await stores[first].read(key) == [*claim.rows, row(4, claim.writer)]


@clause(shared=True)
async def a_log_is_never_torn(bench: Bench) -> None:
    """Two workers that claim, append, repeat and let go at random, each with what it believes, leave a log in order."""
    for seed in SEEDS:
        await tear(bench, seed)


async def tear(bench: Bench, seed: int) -> None:
    """Let two workers pull at one workflow, and see what is left of its log."""
    label, rng = f"seed {seed}", random.Random(seed)
    async with bench.opened(f"a {label}") as a, bench.opened(f"b {label}") as b:
        stores = {f"a {label}": a, f"b {label}": b}
        [key] = await create(a, creation(label, 1))
        tug = _Tug(key, label)
        for _ in range(60):
            worker = rng.choice(list(stores))
            if rng.random() < 0.3 or worker not in tug.held:
                await tug.claim(stores[worker], worker)
            else:
                await tug.append(stores[worker], worker, rng)
        assert await a.read(key) == tug.accepted, label
        assert [row.seq for row in tug.accepted] == list(range(1, len(tug.accepted) + 1)), label


class _Tug:
    """A workflow, and what two workers believe of it."""

    def __init__(self, key: WorkflowKey, label: str) -> None:
        self._key, self._label = key, label
        self.accepted = rows(1, 1, 1)
        self.held: dict[str, tuple[int, int]] = {}
        """Last row and writer, as each worker has it."""

    async def claim(self, store: Store, worker: str) -> None:
        for claim in await claim_keys(store, worker, self._key):
            self.held[worker] = len(claim.rows), claim.writer
            self.accepted = list(claim.rows)

    async def append(self, store: Store, worker: str, rng: random.Random) -> None:
        """Append its last row again, as after an answer that was lost; the next rows; or behind a gap."""
        last, writer = self.held[worker]
        skip = rng.choice([-1, 0, 0, 1])
        new = rows(last + 1 + skip, last + 1 + skip + rng.randint(0, 2), writer)
        standing = sleeping(0) if rng.random() < 0.3 else None
        refused = await append(store, Append(key=self._key, rows=new, standing=standing))
        assert bool(refused) == (self.accepted[-1].writer != writer or skip > 0), self._label
        if not refused:
            self.accepted += [row for row in new if row.seq > last]
            self.held[worker] = new[-1].seq, writer

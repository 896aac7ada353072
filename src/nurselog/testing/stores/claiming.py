"""Taking workflows over."""

from __future__ import annotations

import msgspec

from ... import Status
from ...abc import Append, Standing, Wanted, Workflow
from ...lowlevel import NEXT, Claimed, Row, encode_event
from .checks import Bench, clause
from .records import append, claim_due, claim_keys, create, creation, ids, look, note, over, row, rows, sleeping


@clause()
async def a_claim_is_the_row_the_log_and_the_messages(bench: Bench) -> None:
    """`claim` makes this worker the owner, appends `claimed` by a new writer, and returns row, log and messages."""
    async with bench.opened() as store:
        now = bench.clock.now
        one, two = await create(store, creation("one", 7, length=3), creation("two", 8))
        await store.post([note(two, b"first"), note(two, b"\x00second", kind="cancel")])
        claims = await claim_due(store, "a")

        first, second = sorted(claims, key=lambda claim: claim.workflow.id)
        assert (first.workflow.id, second.workflow.id) == ("one", "two")
        assert first.workflow == Workflow(
            key=one,
            shard=first.workflow.shard,
            id="one",
            name="work",
            digest="d",
            status=Status.RUNNING,
            owner="a",
            due_at=0,
            created_at=0,
            updated_at=now,
        )
        event = encode_event(Claimed(worker="a"))
        assert first.rows == [*rows(1, 3, 7), Row(4, now, 0, first.writer, event)]
        assert second.rows == [*rows(1, 1, 8), Row(2, now, 0, second.writer, event)]
        assert first.messages == []
        assert [(message.key, message.kind, message.body) for message in second.messages] == [
            (two, "note", b"first"),
            (two, "cancel", b"\x00second"),
        ]
        assert 0 < first.writer < 2**63
        assert first.writer != second.writer
        assert await store.read(one) == first.rows


@clause()
async def the_time_in_a_log_never_goes_back(bench: Bench) -> None:
    """`claimed` is never before the row above it, whatever the clock says."""
    async with bench.opened() as store:
        later = bench.clock.now + 50
        [key] = await create(store, creation("one", 7, owner="a"))
        await append(store, Append(key=key, rows=[row(2, 7, at=later)], standing=sleeping(0)))
        [claim] = await claim_due(store, "a")
        assert claim.rows[-1].at == later


@clause()
async def each_claim_has_a_writer_of_its_own(bench: Bench) -> None:
    """No two claims have one writer, be it of the same worker."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one"))
        writers = set[int]()
        for _ in range(5):
            [claim] = await claim_due(store, "a")
            writers.add(claim.writer)
            await append(store, Append(key=key, standing=sleeping(0)))
        assert len(writers) == 5


@clause()
async def only_what_is_due_is_claimed_and_the_earliest_first(bench: Bench) -> None:
    """`claim` takes what is due by the store's clock and has no owner, the earliest first, and no more than `limit`."""
    async with bench.opened() as store:
        now = bench.clock.now
        names = ("late", "now", "early", "never", "owned")
        keys = await create(store, *(creation(id, owner="a") for id in names))
        for key, due_at in zip(keys, (now + 1, now, 3, None), strict=False):
            assert not await append(store, Append(key=key, standing=sleeping(due_at)))
        assert ids(await claim_due(store, "a", limit=1)) == ["early"]
        assert ids(await claim_due(store, "a")) == ["now"]
        assert await claim_due(store, "a") == []
        bench.clock.now += 1
        assert ids(await claim_due(store, "a")) == ["late"]


@clause()
async def only_names_that_the_worker_has(bench: Bench) -> None:
    """`claim` takes only workflows whose name is wanted."""
    async with bench.opened() as store:
        await create(store, creation("one", name="ours"), creation("two", name="theirs"), creation("three", name="too"))
        assert await claim_due(store, "a", "nothing") == []
        assert sorted(ids(await claim_due(store, "a", "ours", "too"))) == ["one", "three"]


@clause()
async def only_versions_that_the_worker_has(bench: Bench) -> None:
    """`claim` takes workflows of any version for a name, and of one version for a name and version."""
    async with bench.opened() as store:
        for id, version in (("old", "1"), ("new", "2"), ("none", None)):
            await create(store, msgspec.structs.replace(creation(id, name="ours"), version=version))
        ours = Wanted(worker="a", names=frozenset(), versions=frozenset({("ours", "2")}), limit=9)
        assert ids(await store.claim(ours)) == ["new"]
        assert sorted(ids(await claim_due(store, "a", "ours"))) == ["none", "old"]


@clause(ordered=True)
async def what_is_due_at_the_same_time_is_first_come_first_served(bench: Bench) -> None:
    """Of workflows that are due at the same time `claim` takes the oldest, whatever their names.

    Else one function's workflows would wait as long as there are others whose name comes first.
    """
    async with bench.opened() as store:
        names = ("work", "more", "also", "work", "more")
        await create(store, *(creation(f"w{number}", name=name) for number, name in enumerate(names)))
        assert ids(await claim_due(store, "a", *names, limit=2)) == ["w0", "w1"]
        assert ids(await claim_due(store, "a", *names, limit=2)) == ["w2", "w3"]


@clause()
async def keys_are_claimed_whatever_their_name_and_due_time(bench: Bench) -> None:
    """A claim of keys takes those that have no owner, whatever their name and due time, and no others."""
    async with bench.opened() as store:
        one, two, three = await create(
            store, creation("one", owner="a"), creation("two", name="other"), creation("three")
        )
        assert not await append(store, Append(key=one, standing=sleeping()))
        assert sorted(ids(await claim_keys(store, "a", one, two))) == ["one", "two"]
        assert (await look(store, "three")).owner is None
        assert await claim_keys(store, "a", one, two) == []
        assert ids(await claim_keys(store, "a", one, two, three)) == ["three"]


@clause()
async def what_has_ended_is_never_claimed(bench: Bench) -> None:
    """A workflow that has ended is not claimed, by key or by its name."""
    async with bench.opened() as store:
        for status in (status for status in Status if status.final):
            [key] = await create(store, creation(status.value, owner="a"))
            await append(store, Append(key=key, standing=over(status)))
            assert await claim_keys(store, "a", key) == []
            assert await claim_due(store, "a") == []


@clause()
async def what_is_claimed_runs_but_a_cancelled_one_goes_on_being_cancelled(bench: Bench) -> None:
    """What is claimed is running and has no problem any more; what was being cancelled still is."""
    async with bench.opened() as store:
        for status in (status for status in Status if not status.final):
            [key] = await create(store, creation(status.value, owner="a"))
            left = Standing(status=status, due_at=0, release=True, problem="was stuck")
            await append(store, Append(key=key, standing=left))
            [claim] = await claim_due(store, "a")
            expected = Status.CANCELLING if status is Status.CANCELLING else Status.RUNNING
            assert (claim.workflow.status, claim.workflow.problem) == (expected, None)
            assert expected in NEXT[status]


@clause(shared=True)
async def what_lives_is_left_alone(bench: Bench) -> None:
    """What a living worker owns nobody claims, not even itself."""
    async with bench.opened() as a, bench.opened("b") as b:
        one, two = await create(a, creation("one", owner="a"), creation("two", owner="b"))
        for store, worker in ((a, "a"), (b, "b")):
            assert await claim_due(store, worker) == []
            assert await claim_keys(store, worker, one, two) == []
        assert [await a.read(key) for key in (one, two)] == [rows(1, 1, 1)] * 2


@clause(ordered=True)
async def a_thousand_at_once(bench: Bench) -> None:
    """A claim may take a thousand workflows, each with its own log and its own writer."""
    async with bench.opened() as store:
        await create(store, *(creation(f"w{number}", number + 1, length=12) for number in range(1000)))
        claims = await claim_due(store, "a")
        assert len({claim.writer for claim in claims}) == 1000
        for number, claim in enumerate(claims):
            assert claim.workflow.id == f"w{number}"
            assert claim.rows[:-1] == rows(1, 12, number + 1)
            assert (claim.rows[-1].seq, claim.rows[-1].writer) == (13, claim.writer)

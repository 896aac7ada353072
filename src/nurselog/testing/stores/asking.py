"""What a store answers."""

from __future__ import annotations

from ... import Status
from ...abc import Append, Filter, WorkflowKey
from .checks import Bench, clause
from .records import append, bodies, claim_due, create, creation, note, row, rows, sleeping, wanted

MEGABYTE = 1_000_000

_LISTS = (
    (Filter(), "x/2 x/1 x% x+ x"),
    (Filter(limit=2), "x/2 x/1"),
    (Filter(prefix="x/"), "x/2 x/1"),
    (Filter(prefix="x%"), "x%"),
    (Filter(prefix=""), "x/2 x/1 x% x+ x"),
    (Filter(prefix="y"), ""),
    (Filter(name="odd"), "x/1 x+"),
    (Filter(status=frozenset({Status.WAITING})), "x/2 x"),
    (Filter(status=frozenset({Status.PENDING, Status.WAITING})), "x/2 x/1 x% x+ x"),
    (Filter(status=frozenset()), ""),
    (Filter(name="odd", prefix="x/", status=frozenset({Status.PENDING})), "x/1"),
)


@clause()
async def find_gives_those_that_exist(bench: Bench) -> None:
    """`find` returns the rows of the ids that there are, whatever characters are in them."""
    async with bench.opened() as store:
        await create(store, *(creation(id) for id in ("one", "two", "dr\u00fc'\"i")))
        assert {workflow.id for workflow in await store.find(["dr\u00fc'\"i", "one", "none"])} == {
            "dr\u00fc'\"i",
            "one",
        }
        assert await store.find([]) == []


@clause()
async def read_begins_where_asked(bench: Bench) -> None:
    """`read` returns a log in order, from a row on."""
    async with bench.opened() as store:
        one, _ = await create(store, creation("one", 7, length=5), creation("two", 8, length=5))
        assert await store.read(one, 4) == rows(4, 5, 7)
        assert await store.read(one, 6) == []


@clause()
async def read_ends_where_asked(bench: Bench) -> None:
    """`read` returns as many rows as it is asked for, from the first of them on, or fewer if there are no more."""
    async with bench.opened() as store:
        one, _ = await create(store, creation("one", 7, length=5), creation("two", 8, length=5))
        assert await store.read(one, 2, 3) == rows(2, 4, 7)
        assert await store.read(one, 4, 3) == rows(4, 5, 7)
        assert await store.read(one, -3, 2) == rows(3, 4, 7)
        assert await store.read(one, -100, 2) == rows(1, 2, 7)
        assert await store.read(one, 6, 1) == []


@clause()
async def the_last_row(bench: Bench) -> None:
    """`read` from -1 on returns the last row."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", length=3))
        assert await store.read(key, -1) == rows(3, 3, 1)
        assert await store.read(WorkflowKey(99), -1) == []


@clause()
async def logs_of_many_megabytes(bench: Bench) -> None:
    """`read` returns values of a megabyte, and many of them."""
    async with bench.opened() as store:
        sizes = [0, 1, MEGABYTE, MEGABYTE // 2, 10, MEGABYTE // 2 - 1, 3]
        values = [bytes([number]) * size for number, size in enumerate(sizes)]
        log = [row(seq, 7, value=value) for seq, value in enumerate(values, 2)]
        [key] = await create(store, creation("one", 7, owner="a"))
        assert not await append(store, Append(key=key, rows=log))
        found = (await store.read(key))[1:]
        assert [len(one.value or b"") for one in found] == sizes
        assert found == log


@clause(ordered=True)
async def list_filters(bench: Bench) -> None:
    """`list` returns the workflows that the filter lets through, the newest first."""
    async with bench.opened() as store:
        names = {"x": "even", "x+": "odd", "x%": "even", "x/1": "odd", "x/2": "even"}
        keys = await create(store, *(creation(id, name=name, owner="a") for id, name in names.items()))
        await append(store, Append(key=keys[0], standing=sleeping()), Append(key=keys[-1], standing=sleeping()))
        for where, expected in _LISTS:
            assert " ".join(workflow.id for workflow in await store.list(where)) == expected, where


@clause(ordered=True)
async def pages_of_a_list_do_not_move(bench: Bench) -> None:
    """`list` goes on before a key, whatever was made meanwhile."""
    async with bench.opened() as store:
        await create(store, *(creation(f"w{number}") for number in range(5)))
        first = await store.list(Filter(limit=2))
        await create(store, creation("new"))
        second = await store.list(Filter(limit=2, before=first[-1].key))
        last = await store.list(Filter(limit=2, before=second[-1].key))
        assert [workflow.id for workflow in [*first, *second, *last]] == ["w4", "w3", "w2", "w1", "w0"]


@clause()
async def messages_come_in_order(bench: Bench) -> None:
    """`messages` returns what was posted to workflows of this worker, in order, until an append has taken it."""
    async with bench.opened() as store:
        one, other, free = await create(
            store, creation("one", owner="a"), creation("other", owner="a"), creation("free")
        )
        for key, body in ((other, b"1"), (one, b"2"), (free, b"3"), (other, b"4")):
            await store.post([note(key, body)])
        found = await store.messages()
        assert [(message.key, message.body) for message in found] == [(other, b"1"), (one, b"2"), (other, b"4")]
        assert [message.number for message in found] == sorted({message.number for message in found})
        assert await store.messages() == found


@clause()
async def messages_behind_what_is_known(bench: Bench) -> None:
    """`messages` leaves out what a worker knows of: of workflows that it names, all up to a number."""
    async with bench.opened() as store:
        one, two, three = await create(store, *(creation(id, owner="a") for id in ("one", "two", "three")))
        await store.post([note(key, b"%d" % number) for number in range(3) for key in (one, two, three)])
        found = await store.messages()
        seconds, thirds = ([one.number for one in found if one.key == key] for key in (two, three))
        for place in range(3):
            behind = {two: seconds[place], three: thirds[-1], WorkflowKey(999 * 1024): 1}
            left = [one for one in found if one.number > behind.get(one.key, 0)]
            assert await store.messages(behind) == left
            assert len(left) == 3 + 2 - place


@clause(shared=True)
async def messages_are_those_for_what_one_owns(bench: Bench) -> None:
    """`messages` returns nothing that is for workflows of other workers, whoever has posted it."""
    async with bench.opened() as a, bench.opened("b") as b:
        mine, yours, ours = await create(
            a, creation("mine", owner="a"), creation("yours", owner="b"), creation("ours", owner="a")
        )
        for key, body in ((ours, b"1"), (yours, b"2"), (mine, b"3"), (ours, b"4")):
            await b.post([note(key, body)])
        found = await a.messages()
        assert [(message.key, message.body) for message in found] == [(ours, b"1"), (mine, b"3"), (ours, b"4")]
        assert await bodies(b) == [b"2"]


@clause()
async def the_next_one_that_is_due(bench: Bench) -> None:
    """`next_due` is the earliest due time of what is wanted and has no owner."""
    async with bench.opened() as store:
        both, work = wanted("a", "work", "more"), wanted("a", "work")
        assert await store.next_due(both) is None
        keys = await create(
            store,
            *(creation(id, owner="a") for id in ("late", "later", "never", "owned")),
            creation("more", name="more", owner="a"),
            creation("foreign", name="foreign"),
        )
        due_at = (70, 80, None)
        await append(store, *(Append(key=key, standing=sleeping(due)) for key, due in zip(keys, due_at, strict=False)))
        assert await store.next_due(both) == 70
        await append(store, Append(key=keys[4], standing=sleeping(60)))
        assert await store.next_due(both) == 60
        assert await store.next_due(work) == 70
        assert await store.next_due(wanted("a")) is None
        await claim_due(store, "a", "work", "more")
        assert await store.next_due(both) is None
        assert await store.next_due(wanted("a", "foreign")) == 0

"""What a store answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from nurselog._log.lifecycle import Status
from nurselog._stores._postgres import voice
from nurselog._stores._sqlite.bulk import BUCKET
from nurselog.abc import Append, Change, Filter, Wanted, WorkflowKey
from tests.stores.kit import (
    FakeClock,
    append,
    chatting,
    claim_due,
    claim_keys,
    create,
    creation,
    opened,
    over,
    row,
    rows,
    sleeping,
)


async def test_find_gives_those_that_exist(url: str) -> None:
    async with opened(url) as store:
        await create(store, *(creation(id) for id in ("one", "two", "dr\u00fc'\"i")))
        assert {workflow.id for workflow in await store.find(["dr\u00fc'\"i", "one", "none"])} == {
            "dr\u00fc'\"i",
            "one",
        }
        assert await store.find([]) == []


async def test_read_begins_where_asked(url: str) -> None:
    async with opened(url) as store:
        one, _ = await create(store, creation("one", 7, length=5), creation("two", 8, length=5))
        assert await store.read(one, 4) == rows(4, 5, 7)
        assert await store.read(one, 6) == []


async def test_logs_of_many_megabytes(url: str) -> None:
    async with opened(url) as store:
        sizes = [0, 1, BUCKET, BUCKET // 2, 10, BUCKET // 2 - 1, 3]
        values = [bytes([number]) * size for number, size in enumerate(sizes)]
        log = [row(seq, 7, value=value) for seq, value in enumerate(values, 2)]
        [key] = await create(store, creation("one", 7, owner="a"))
        assert not await append(store, Append(key=key, rows=log))
        assert (await store.read(key))[1:] == log


@pytest.mark.parametrize(
    ("where", "expected"),
    [
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
    ],
)
async def test_list_filters(ordered_url: str, where: Filter, expected: str) -> None:
    async with opened(ordered_url) as store:
        names = {"x": "even", "x+": "odd", "x%": "even", "x/1": "odd", "x/2": "even"}
        keys = await create(store, *(creation(id, name=name, owner="a") for id, name in names.items()))
        await append(store, Append(key=keys[0], standing=sleeping()), Append(key=keys[-1], standing=sleeping()))
        assert " ".join(workflow.id for workflow in await store.list(where)) == expected


async def test_pages_of_a_list_do_not_move(ordered_url: str) -> None:
    async with opened(ordered_url) as store:
        await create(store, *(creation(f"w{number}") for number in range(5)))
        first = await store.list(Filter(limit=2))
        await create(store, creation("new"))
        second = await store.list(Filter(limit=2, before=first[-1].key))
        last = await store.list(Filter(limit=2, before=second[-1].key))
        assert [workflow.id for workflow in [*first, *second, *last]] == ["w4", "w3", "w2", "w1", "w0"]


async def test_messages_are_those_for_what_one_owns_in_order(shared_url: str) -> None:
    async with opened(shared_url) as a, opened(shared_url, worker="b") as b:
        mine, yours, ours = await create(
            a, creation("mine", owner="a"), creation("yours", owner="b"), creation("ours", owner="a")
        )
        for key, body in ((ours, b"1"), (yours, b"2"), (mine, b"3"), (ours, b"4")):
            await b.post(key, "note", body)
        found = await a.messages()
        assert [(message.key, message.body) for message in found] == [(ours, b"1"), (mine, b"3"), (ours, b"4")]
        assert [message.number for message in found] == sorted(message.number for message in found)
        assert [message.body for message in await b.messages()] == [b"2"]


def wanted(*names: str) -> Wanted:
    return Wanted(worker="a", names=frozenset(names), limit=1)


async def test_next_due(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        names = wanted("work", "more")
        assert await store.next_due(names) is None
        keys = await create(
            store,
            *(creation(id, owner="a") for id in ("late", "later", "never", "owned")),
            creation("more", name="more", owner="a"),
            creation("foreign", name="foreign"),
        )
        due_at = (70, 80, None)
        await append(store, *(Append(key=key, standing=sleeping(due)) for key, due in zip(keys, due_at, strict=False)))
        assert await store.next_due(names) == 70
        await append(store, Append(key=keys[4], standing=sleeping(60)))
        assert await store.next_due(names) == 60
        assert await store.next_due(wanted("work")) == 70
        assert await store.next_due(wanted()) is None
        await claim_due(store, "a", "work", "more")
        assert await store.next_due(names) is None
        assert await store.next_due(wanted("foreign")) == 0


async def test_others_hear_of_what_concerns_them(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "POLL", 1e9)  # of a PostgreSQL store, which is told, and does not just look
    async with opened(shared_url) as a, opened(shared_url, worker="b") as b, chatting(b):
        [mine, free] = await create(a, creation("mine", 7, owner="a"), creation("free", 8))
        await claim_keys(b, "b", free)

        async def expect(change: Change, deed: Callable[[], Awaitable[object]]) -> None:
            async def hear() -> None:
                while change not in await a.wait_changed():
                    pass

            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hear)
                    await trio.testing.wait_all_tasks_blocked()
                    await deed()

        if shared_url.startswith("sqlite"):
            await a.wait_changed()  # b has entered: PostgreSQL does not tell that
        await expect(Change.MESSAGE, lambda: b.post(mine, "note", b""))
        assert len(await a.messages()) == 1
        await expect(Change.DUE, lambda: create(b, creation("new")))
        await expect(Change.DUE, lambda: append(b, Append(key=free, standing=sleeping(0))))
        await expect(Change.DUE, lambda: b.post(free, "note", b""))
        await claim_keys(b, "b", free)
        await expect(Change.END, lambda: append(b, Append(key=free, standing=over())))


async def test_waiting_for_others_may_be_left(shared_url: str) -> None:
    async with opened(shared_url) as a, opened(shared_url, worker="b") as b, chatting(b):
        [key] = await create(a, creation("one", owner="a"))
        for _ in range(3):
            with trio.move_on_after(0):
                await a.wait_changed()
        await b.post(key, "note", b"")
        await a.wait_changed()
        assert len(await a.messages()) == 1


async def test_what_is_shared(file_url: str, postgres_url: str) -> None:
    for url, shared in ((file_url, True), (postgres_url, True), ("sqlite://", False)):
        async with opened(url) as store:
            assert store.shared is shared


async def test_the_last_row(url: str) -> None:
    async with opened(url) as store:
        (key,) = await create(store, creation("one", owner="a"))
        log = await store.read(key)
        assert await store.read(key, -1) == log[-1:]
        assert await store.read(WorkflowKey(99), -1) == []

"""Families that are deleted: what the checks of all stores cannot see."""

from __future__ import annotations

import pytest

from nurselog.abc import Append, Batch, Deleted
from nurselog.testing.stores.records import append, create, creation, note, over, rows
from tests.stores.kit import connection_of, execute, filled, opened, opened_inline

OWNED = {"workflow", "log", "message", "message_key", "transaction_key"}
"""The tables that have rows of workflows."""


def enter_transaction(url: str, key: int) -> None:
    """Have the outcome of a transaction be there."""
    shard, of = ("shard, ", f"{key % 1024}, ") if url.startswith("postgresql:") else ("", "")
    execute(url, f"INSERT INTO transaction_key ({shard}workflow, key) VALUES ({of}{key}, 'key')")


async def test_nothing_is_left_in_any_table(shared_url: str) -> None:
    """Also of what ought not to be there any more, and of tables that are added one day."""
    async with opened(shared_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await store.post([note(key, once="x")])
        receipt = await store.commit(Batch(creations=[creation("one/1", 7, parent=key)], appends=[Append(key=key)]))
        [child] = [made.workflow.key for made in receipt.created if made]
        await store.post([note(child, once="x")])
        enter_transaction(shared_url, child)
        assert filled(shared_url) == OWNED
        execute(shared_url, "UPDATE workflow SET status = 'killed', owner = NULL, due_at = NULL")
        assert await store.delete([key]) == [Deleted(removed=2)]
        assert filled(shared_url) == set()


async def test_what_is_not_deleted_keeps_everything(shared_url: str) -> None:
    async with opened(shared_url) as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", 7, owner="a"))
        await store.post([note(two, once="x")])
        enter_transaction(shared_url, one)
        enter_transaction(shared_url, two)
        assert not await append(store, Append(key=one, rows=rows(2, 2, 7), standing=over()))
        assert await store.delete([one, two]) == [Deleted(removed=1), Deleted(living="two")]
        assert filled(shared_url) == OWNED


async def test_deletion_looks_at_no_more_than_it_must(file_url: str) -> None:
    """Each statement finds its rows by an index, however many others there are."""
    async with opened_inline(file_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over()))
        connection, seen = connection_of(store), list[str]()
        connection.set_trace_callback(seen.append)
        assert await store.expired(10**9, 9) == [key]
        assert await store.delete([key]) == [Deleted(removed=1)]
        connection.set_trace_callback(None)
        asked = [one for one in seen if not one.startswith(("BEGIN", "COMMIT", "PRAGMA", "--"))]
        assert len(asked) == 2 + len(OWNED)
        plans = [detail for one in asked for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
        tables = [plan for plan in plans if plan.startswith(("SCAN", "SEARCH")) and "json_each" not in plan]
        assert [plan for plan in tables if plan.startswith("SCAN") and "subquery" not in plan] == []
        assert any("workflow_ended" in plan for plan in tables)


@pytest.mark.parametrize("root", ["plain", "größe", "\N{HERB}", "a b", "%", "_", "x'y", '"', "\\"])
async def test_descendants_are_known_by_their_ids_whatever_these_are(shared_url: str, root: str) -> None:
    async with opened(shared_url) as store:
        [key] = await create(store, creation(root, 7, owner="a"))
        names = [f"{root}/1", f"{root}/t9.10", f"{root}/1/1"]
        children = [creation(name, 7, parent=key, owner="a") for name in names]
        receipt = await store.commit(Batch(creations=children, appends=[Append(key=key)]))
        keys = [key, *(made.workflow.key for made in receipt.created if made)]
        others = await create(store, *(creation(f"{root}{tail}") for tail in (".", "0", "1", "\N{HERB}", " /x"[:1])))
        assert not await append(store, *(Append(key=one, rows=rows(2, 2, 7), standing=over()) for one in keys))
        assert [*await store.expired(10**9, 9)] == [key]
        assert await store.delete([key]) == [Deleted(removed=4)]
        assert len(await store.find([f"{root}{tail}" for tail in (".", "0", "1", "\N{HERB}", " ")])) == len(others)

"""Deletion under real concurrency: who deletes meets others' open transactions, in both orders, staged on purpose."""

from __future__ import annotations

import pytest
import trio

from nurselog.abc import Append, Batch, Deleted, Posted, Store, WorkflowKey
from nurselog.testing.stores.records import append, create, creation, note, over, rows, seqs
from tests.stores.kit import filled, opened
from tests.stores.test_postgres_fence import Rival, rival, while_waiting

CHILD = 1 << 40
"""The key of a child that a rival makes."""


class Remover(Rival):
    """Somebody else who deletes, and does not commit."""

    def delete(self, key: WorkflowKey) -> list[tuple[int, str | None]]:
        return self.execute("SELECT removed, living FROM delete_families(0, ARRAY[%s::bigint])", [key]).fetchall()


async def ended(store: Store, *names: str) -> list[WorkflowKey]:
    keys = await create(store, *(creation(name, 7, owner="a") for name in names))
    assert not await append(store, *(Append(key=key, rows=rows(2, 2, 7), standing=over()) for key in keys))
    return keys


async def test_a_message_under_way_is_waited_for(postgres_url: str) -> None:
    """Its sender holds the row of one who has not ended; so what is to be deleted is left as it is."""
    async with opened(postgres_url) as store, rival(postgres_url) as sender:
        [key] = await create(store, creation("one", 7, owner="a"))
        sender.leave(key, "x")
        became = await while_waiting(postgres_url, lambda: store.delete([key]), sender.commit)
        assert became == [Deleted(living="one")]
        assert len(await store.messages()) == 1


@pytest.mark.parametrize("commits", [True, False], ids=["deleted", "not deleted"])
async def test_who_sends_to_what_is_being_deleted_hears_at_once_that_it_has_ended(
    postgres_url: str,
    commits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with opened(postgres_url) as store:
        [key] = await ended(store, "one")
        with Remover.connect(postgres_url, options="-c search_path=nurselog") as other:
            assert other.delete(key) == [(1, None)]
            assert await store.post([note(key, once="x", most=1)]) == [Posted.ENDED]
            (other.commit if commits else other.rollback)()
        assert filled(postgres_url) == (set() if commits else {"workflow", "log"})


async def test_a_child_that_is_made_meanwhile_is_seen(postgres_url: str) -> None:
    """Its parent's lock is held until it is there; who deletes waits for the lock, and must look again."""
    async with opened(postgres_url) as store, rival(postgres_url) as parent:
        [key] = await ended(store, "one")
        parent.execute("SELECT FROM workflow WHERE key = %s FOR UPDATE", [key])
        parent.make(CHILD, "one/1")
        became = await while_waiting(postgres_url, lambda: store.delete([key]), parent.commit)
        assert became == [Deleted(living="one/1")]
        assert len(await store.find(["one", "one/1"])) == 2


async def test_a_child_that_has_ended_meanwhile_goes_with_the_family(postgres_url: str) -> None:
    async with opened(postgres_url) as store, rival(postgres_url) as parent:
        [key] = await ended(store, "one")
        parent.execute("SELECT FROM workflow WHERE key = %s FOR UPDATE", [key])
        parent.make(CHILD, "one/1")
        parent.execute("UPDATE workflow SET status = 'completed' WHERE key = %s", [CHILD])
        became = await while_waiting(postgres_url, lambda: store.delete([key]), parent.commit)
        assert became == [Deleted(removed=2)]
        assert filled(postgres_url) == set()


@pytest.mark.parametrize("commits", [True, False], ids=["ends", "does not end"])
async def test_an_end_under_way_is_waited_for(postgres_url: str, commits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async with opened(postgres_url) as store, rival(postgres_url) as owner:
        [key] = await create(store, creation("one", 7, owner="a"))
        owner.execute("UPDATE workflow SET status = 'completed' WHERE key = %s", [key])
        deed = owner.commit if commits else owner.rollback
        became = await while_waiting(postgres_url, lambda: store.delete([key]), deed)
        assert became == [Deleted(removed=1) if commits else Deleted(living="one")]


async def test_who_comes_second_finds_nothing(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        one, two = await ended(store, "one", "two")
        with Remover.connect(postgres_url, options="-c search_path=nurselog") as other:
            other.delete(two)
            became = await while_waiting(postgres_url, lambda: store.delete([one, two]), other.commit)
        assert became == [Deleted(removed=1), Deleted()]


async def test_a_former_owner_that_writes_meanwhile_is_refused(postgres_url: str) -> None:
    """With rows only it waits for nobody, and sees the log or sees none; with more it waits for the row."""
    async with opened(postgres_url) as store:
        for part in ({"rows": rows(3, 4, 7)}, {"rows": rows(3, 4, 7), "standing": over()}, {"standing": over()}):
            [key] = await ended(store, "one")
            with Remover.connect(postgres_url, options="-c search_path=nurselog") as other:
                other.delete(key)
                if "standing" in part:
                    call = Append(key=key, **part)  # type: ignore[arg-type]  # what it is made of
                    refused = await while_waiting(postgres_url, lambda: append(store, call), other.commit)  # noqa: B023 - it is over then
                    assert refused == {key}
                else:
                    other.commit()
                    assert await append(store, Append(key=key, rows=rows(3, 4, 7))) == {key}
            assert filled(postgres_url) == set()


@pytest.mark.parametrize("children", [False, True], ids=["roots", "a child of who is refused"])
async def test_an_id_that_was_taken_and_is_free_when_the_batch_has_been_written(
    postgres_url: str,
    children: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The batch was held up in between: it found the id taken, and when it looked by whom, there was nobody."""
    async with opened(postgres_url) as store, rival(postgres_url) as other:
        [old] = await ended(store, "one")
        two, lost = await create(store, creation("two", 7, owner="a"), creation("lost", 8, owner="a"))
        other.append(two, rows(2, 2, 7))  # not committed: whoever writes the same waits
        batch = Batch(
            creations=[creation("one", 9), *([creation("lost/1", 9, parent=lost)] if children else [])],
            appends=[
                Append(key=two, rows=rows(2, 2, 7)), *([Append(key=lost, rows=rows(2, 2, 9))] if children else [])
            ],
        )  # fmt: skip

        def deed() -> None:
            with Remover.connect(postgres_url, options="-c search_path=nurselog") as remover:
                assert remover.delete(old) == [(1, None)]
            other.rollback()

        receipt = await while_waiting(postgres_url, lambda: store.commit(batch), deed)
        one, *rest = receipt.created
        assert one
        assert one.new
        assert one.workflow.key != old
        assert rest == [None] * children
        assert await seqs(store, two) == [1, 2]
        assert await seqs(store, one.workflow.key) == [1]


async def test_two_in_opposite_orders_do_not_wait_in_a_circle(postgres_url: str) -> None:
    async with opened(postgres_url) as a, opened(postgres_url, worker="b") as b:
        for _ in range(10):
            keys = await ended(a, *(f"w{number}" for number in range(30)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.delete, keys)
                nursery.start_soon(b.delete, keys[::-1])
                nursery.start_soon(b.post, [note(key, once="x") for key in keys[::-1]])
            assert filled(postgres_url) == set()

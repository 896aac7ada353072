"""A network that fails at every message, stalls, and delivers late: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio

from nurselog import gather, open_engine, open_nursery, step, workflow
from nurselog._errors import StoreUnavailable
from nurselog._log.lifecycle import Status
from nurselog._stores import postgres
from nurselog._stores._postgres import claims, driver
from nurselog.abc import Append, Batch, Post, Standing, Store
from nurselog.testing.stores.records import append, claim_due, create, created_of, creation, look, rows, sleeping
from tests.stores.kit import behind, opened
from tests.stores.proxy import Proxy, Where

T = TypeVar("T")

MOST = 200
"""More messages than there are, from connecting to the last answer: a takeover has not quite 120."""
STRIDE = 4
"""A new connection has so many messages that only some of them are cut; the long run cuts all."""


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()


async def persisted(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while the store is unavailable, as engines do."""
    for _ in range(5):
        try:
            return await call()
        except StoreUnavailable:
            pass
    return await call()


async def one_row(store: Store, direct: Store, id: str) -> None:
    [key] = await create(direct, creation(id, 7, owner="a"))
    assert not await persisted(lambda: append(store, Append(key=key, rows=rows(2, 2, 7))))
    assert await direct.read(key) == rows(1, 2, 7)


async def many_rows(store: Store, direct: Store, id: str) -> None:
    keys = await create(direct, creation(f"{id}/1", 7, owner="a"), creation(f"{id}/2", 7, owner="a"))
    batch = [Append(key=key, rows=rows(2, 5, 7)) for key in keys]
    assert not await persisted(lambda: append(store, *batch))
    assert [await direct.read(key) for key in keys] == [rows(1, 5, 7)] * 2


async def whole_batch(store: Store, direct: Store, id: str) -> None:
    [key, other] = await create(direct, creation(id, 7, owner="a"), creation(f"{id}/other", owner="b"))
    await persisted(lambda: store.post([Post(key=key, kind="note", body=b"", once="x")]))
    [message] = [message for message in await persisted(store.messages) if message.key == key]
    send = Post(key=other, kind="note", body=b"", once="x")
    batch = Batch(
        creations=[creation(f"{id}/new", 8, length=2, owner="b"), creation(f"{id}/child", 9, parent=key)],
        appends=[Append(key=key, rows=rows(2, 3, 7), standing=sleeping(9), taken=[message.number], posts=[send])],
    )
    receipt = await persisted(lambda: store.commit(batch))
    root, child = created_of(receipt)
    assert (root.new, child.new, receipt.refused) == (True, True, frozenset())
    assert await direct.read(key) == rows(1, 3, 7)
    assert await direct.read(root.workflow.key) == rows(1, 2, 8)
    assert await direct.read(child.workflow.key) == rows(1, 1, 9)
    assert len([left for left in await direct.messages() if left.key == other]) == 1
    one = await look(direct, id)
    assert (one.status, one.owner, one.due_at) == (Status.WAITING, None, 9)
    assert not [left for left in await direct.messages() if left.key == key]


async def takeover(store: Store, direct: Store, id: str) -> None:
    [key] = await create(direct, creation(id, 7, name=id))
    [claim] = await persisted(lambda: claim_due(store, "a", id))
    log = await direct.read(key)
    assert claim.rows == log
    assert [row.seq for row in log] == list(range(1, len(log) + 1))
    assert log[-1].writer == claim.writer
    assert not await persisted(
        lambda: append(store, Append(key=key, rows=rows(len(log) + 1, len(log) + 1, claim.writer)))
    )


@pytest.mark.parametrize("work", [one_row, many_rows, whole_batch, takeover])
@pytest.mark.parametrize("connected", [True, False])
async def test_a_connection_is_cut_at_each_message(
    postgres_url: str,
    work: Callable[[Store, Store, str], Awaitable[None]],
    connected: bool,  # noqa: FBT001 - a parameter of the test
    scale: int,
) -> None:
    """Before, within and behind it; on a connection that is there, and on one that must be made first."""
    async with proxied(postgres_url) as proxy, opened(proxy.url) as store, opened(postgres_url, worker="b") as direct:
        stride = 1 if connected or scale > 1 else STRIDE
        for place in range(random.randrange(stride), MOST, stride):
            reached = set[Where]()
            for where in Where:
                if connected:
                    await work(store, direct, f"warm {place} {where.name}")
                else:
                    store._session.readers.close()  # type: ignore[attr-defined]  # it is PostgreSQL's
                    store._session.writers.close()  # type: ignore[attr-defined]  # it is PostgreSQL's
                proxy.cut(place, where)
                await work(store, direct, f"cut {place} {where.name}")
                if proxy.disarm():
                    reached.add(where)
            if not reached:
                break
        assert not reached, "there is an end to the exchange"
        assert place > 3, "all of it was cut"


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PATIENCE", 0.05)
    monkeypatch.setattr(driver, "PATIENCE", 0.05)


async def give_up_on(call: Callable[[], Awaitable[object]], proxy: Proxy, patch: pytest.MonkeyPatch) -> trio.Event:
    """Make a call in vain on a network that stalls; return what lets it arrive after all."""
    held = proxy.hold()
    with patch.context() as impatient:
        be_impatient(impatient)
        with pytest.raises(StoreUnavailable, match="has not answered"):
            await call()
    return held


async def arrive(held: trio.Event, url: str) -> None:
    """Let what was held come through, and wait until the server is done with it."""
    with behind(url) as admin:
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE application_name LIKE 'nurselog % a' AND datname = current_database()"""
        [(before,)] = admin.execute(query).fetchall()
        held.set()
        while admin.execute(query).fetchall() == [(before,)]:
            await trio.lowlevel.checkpoint()


async def test_a_network_that_stalls_and_goes_on(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(postgres_url) as proxy, opened(proxy.url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        batch = Append(key=key, rows=rows(2, 3, 7))
        held = await give_up_on(lambda: append(store, batch), proxy, monkeypatch)
        assert not await append(store, batch), "on a connection that is not held"
        await arrive(held, postgres_url)
        assert await store.read(key) == rows(1, 3, 7)


async def test_a_commit_that_arrives_when_the_workflow_is_over(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are there, and its change of standing is not the last word any more."""
    async with proxied(postgres_url) as proxy, opened(proxy.url) as store:
        [key] = await create(store, creation("one", 7, owner="a", status=Status.RUNNING))
        await append(store, Append(key=key, rows=rows(2, 3, 7)))
        cancelling = Append(key=key, rows=rows(4, 5, 7), standing=Standing(status=Status.CANCELLING, due_at=0))
        held = await give_up_on(lambda: append(store, cancelling), proxy, monkeypatch)
        assert not await append(store, cancelling)
        end = Standing(status=Status.CANCELLED, due_at=None, release=True)
        assert not await append(store, Append(key=key, rows=rows(6, 6, 7), standing=end))
        await arrive(held, postgres_url)
        one = await look(store, "one")
        assert (one.status, one.owner, one.due_at) == (Status.CANCELLED, None, None)
        assert await claim_due(store, "a") == []


async def nothing(*_: object) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_claim_that_arrives_when_it_was_given_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows of it, so nothing may be owned by it."""
    async with proxied(postgres_url) as proxy, opened(proxy.url) as store:
        await create(store, creation("one", 7))
        assert await claim_due(store, "a", "nothing of that name") == []
        with monkeypatch.context() as patch:
            patch.setattr(claims, "remove_dead", nothing)  # it comes first, and would be held instead
            held = await give_up_on(lambda: claim_due(store, "a"), proxy, monkeypatch)
        assert await claim_due(store, "a", "nothing of that name") == []
        await arrive(held, postgres_url)
        [claim] = await claim_due(store, "a")
        assert [row.seq for row in claim.rows] == list(range(1, len(claim.rows) + 1))


# -- an engine


bodies: Counter[int] = Counter()


@step
async def note(n: int) -> int:
    bodies[n] += 1
    await trio.lowlevel.checkpoint()
    return n


@workflow
async def wide_and_long(first: int) -> int:
    async with open_nursery() as nursery:
        total = sum(await gather(*[nursery.go(note, first + n) for n in range(5)]))
    for n in range(5, 10):
        total += await note(first + n)
    return total


async def test_an_engine_on_a_network_that_fails_at_random(postgres_url: str, scale: int) -> None:
    """Every workflow ends with the right result, and every step has run once: the engine was late and nothing else."""
    bodies.clear()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    async with proxied(postgres_url) as proxy, open_engine(proxy.url, [wide_and_long]) as engine:
        for number in range(6 * scale):
            proxy.cut(dice.randrange(40), dice.choice(list(Where)))
            first = 10 * number
            for id in (f"{number}", f"{number}"):  # the second time it is there, whether or not there was an answer
                assert await engine.run(wide_and_long, first, id=id) == sum(range(first, first + 10))
    assert set(bodies.values()) == {1}

"""Deleting workflows that have ended: what goes, what stays, and who comes in the very moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import (
    Engine,
    Letter,
    Status,
    StoreUnavailable,
    UsageError,
    WorkflowConflict,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowNotEnded,
    WorkflowNotFound,
    mailbox,
    open_engine,
    open_nursery,
    publish,
    sleep,
    step,
    workflow,
)
from nurselog._engine import reading
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, hold_ends, in_memory, on_file, settle

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def parent(children: int, seconds: float) -> int:
    async with open_nursery() as nursery:
        for _ in range(children):
            nursery.go(napping, seconds)
    return children


@workflow
async def grandparent() -> int:
    return await parent(2, 1) + await parent(1, 1)


@workflow
async def collecting(count: int) -> list[str]:
    words = mailbox("words", str)
    return [await words.receive() for _ in range(count)]


@workflow
async def telling(count: int, seconds: float) -> None:
    for number in range(count):
        publish("count", number)
        if seconds:
            await sleep(seconds)


async def ids(engine: Engine) -> list[str]:
    return sorted(one.id for one in await engine.list())


# -- what goes -----------------------------------------------------------------------------------


async def test_a_workflow_goes_with_all_its_descendants(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "store.db", grandparent, parent, napping) as engine:
        handle = await engine.submit(grandparent, id="one")
        await engine.run(grandparent, id="two")
        assert await handle.result() == 3
        family = await ids(engine)
        assert len(family) == 2 * 6
        await engine.delete("one")
        assert await ids(engine) == [id for id in family if id.startswith("two")]
        for question in (handle.status, handle.log, handle.result, partial(engine.get, "one")):
            with pytest.raises(WorkflowNotFound, match="'one'"):
                await question()


async def test_the_id_is_free_and_the_new_one_has_nothing_of_the_old(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "store.db", collecting) as engine:
        old = await engine.submit(collecting, 1, id="one")
        assert await engine.send("one", "words", "first", key="k")
        await engine.send("one", "words", "never read")
        assert await old.result() == ["first"]
        with pytest.raises(WorkflowConflict):
            await engine.submit(collecting, 2, id="one")
        await engine.delete("one")
        new = await engine.submit(collecting, 2, id="one")
        assert await engine.send("one", "words", "second", key="k")
        await engine.send("one", "words", "third")
        assert await new.result() == ["second", "third"]
        for question in (old.status, old.log, old.result):
            with pytest.raises(WorkflowNotFound):
                await question()
        assert len(await new.log()) == 4


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "killed"])
async def test_however_it_ended(autojump_clock: Clock, how: str) -> None:
    @workflow(name="mortal")
    async def mortal() -> None:
        if how == "failed":
            raise ValueError("no")
        await sleep(1 if how == "completed" else 1000)

    async with in_memory() as engine:
        handle = await engine.submit(mortal, id="one")
        if how in ("cancelled", "killed"):
            await (engine.cancel if how == "cancelled" else engine.kill)("one")
        await trio.sleep(2)
        assert await handle.status() is Status(how)
        await engine.delete("one")
        assert await ids(engine) == []


# -- what does not go ----------------------------------------------------------------------------


async def test_what_has_not_ended_is_not_deleted(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "store.db", parent, napping) as engine:
        handle = await engine.submit(parent, 1, 10, id="one")
        with pytest.raises(WorkflowNotEnded, match="workflow 'one' cannot be deleted: it has not ended") as caught:
            await engine.delete("one")
        assert (caught.value.workflow_id, caught.value.living) == ("one", "one")
        assert await handle.result() == 1
        await engine.delete("one")


async def test_a_child_that_outlives_its_killed_parent_keeps_the_family(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "store.db", parent, napping) as engine:
        handle = await engine.submit(parent, 2, 10, id="one")
        await trio.sleep(1)
        await engine.kill("one")
        before = len(await handle.log())
        with pytest.raises(WorkflowNotEnded, match="its descendant 'one/") as caught:
            await engine.delete("one")
        assert len(await handle.log()) == before
        await engine.kill(caught.value.living)
        with pytest.raises(WorkflowNotEnded):
            await engine.delete("one")
        await trio.sleep(20)
        await engine.delete("one")
        assert await ids(engine) == []


async def test_a_child_goes_with_its_root_alone(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(parent, 1, 1, id="one")
        [child] = [id for id in await ids(engine) if id != "one"]
        with pytest.raises(UsageError, match=r"is a child, and is deleted with its root: delete\('one'\)"):
            await engine.delete(child)
        assert await ids(engine) == ["one", child]


async def test_what_is_not_there_cannot_be_deleted(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(napping, 1, id="one")
        await engine.delete("one")
        for id in ("one", "never"):
            with pytest.raises(WorkflowNotFound):
                await engine.delete(id)
        for id in (None, 7, "\ud800"):
            with pytest.raises(UsageError):
                await engine.delete(id)  # type: ignore[arg-type]  # it is none


async def test_a_fork_outlives_its_original(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(napping, 1, id="one")
        fork = await engine.fork("one", at=1, new_id="fork")
        await fork.result()
        await engine.delete("one")
        assert await ids(engine) == ["fork"]
        assert len(await fork.log()) > 1


# -- in the very moment --------------------------------------------------------------------------


def once(deed: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Return a hook that does something when it is called first."""
    done = False

    async def hook() -> None:
        nonlocal done
        if not done:
            done = True
            await deed()

    return hook


async def delete_and_begin_anew(engine: Engine) -> None:
    """Delete the workflow, and give its id to another one, which does not end."""
    await engine.delete("one")
    await engine.submit(collecting, 9, id="one")


Tell = Callable[[Engine], Awaitable[object]]


@pytest.mark.parametrize("anew", [False, True], ids=["gone", "another one"])
@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda engine: engine.send("one", "words", "x"), id="send"),
        pytest.param(lambda engine: engine.cancel("one"), id="cancel"),
        pytest.param(lambda engine: engine.kill("one"), id="kill"),
        pytest.param(lambda engine: engine.resolve("one#1", "x"), id="resolve"),
        pytest.param(lambda engine: engine.reject("one#1", ValueError("x")), id="reject"),
    ],
)
async def test_it_is_deleted_while_it_is_told_something(
    autojump_clock: Clock, tmp_path: Path, tell: Tell, *, anew: bool
) -> None:
    """Somebody has found it, and it is not there any more when the message arrives; another one does not get it."""
    clock = VirtualClock()
    path = tmp_path / "store.db"
    async with on_file(path, collecting, clock=clock) as other:
        await other.run(collecting, 0, id="one")
        store = Hooked(file_store(path, clock))
        async with open_engine(store, [collecting], clock=clock) as engine:
            with pytest.raises(WorkflowEnded):
                await tell(engine)
            deed = partial(delete_and_begin_anew, other) if anew else partial(other.delete, "one")
            store.before_post = once(deed)
            with pytest.raises(WorkflowNotFound):
                await tell(engine)
            if anew:
                await settle()
                assert [entry.event for entry in await (await engine.get("one")).log()][1:] == []


async def test_what_is_sent_beside_it_arrives(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, collecting, clock=clock) as other, open_engine(store, (), clock=clock) as engine:
        await other.run(collecting, 0, id="one")
        handle = await other.submit(collecting, 2, id="two")
        store.before_post = once(partial(other.delete, "one"))
        with pytest.raises(ExceptionGroup) as caught:
            await engine.send_all([
                Letter("two", "words", "a"),
                Letter("one", "words", "b"),
                Letter("two", "words", "c"),
            ])
        assert [type(error) for error in caught.value.exceptions] == [WorkflowNotFound]
        assert await handle.result() == ["a", "c"]


async def test_a_child_ends_while_its_family_is_deleted(autojump_clock: Clock, tmp_path: Path) -> None:
    """Both orders: the child's end is held back, and the family stays; it is written, and the family goes."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    async with open_engine(store, [parent, napping], clock=clock) as engine, on_file(path, clock=clock) as other:
        await engine.submit(parent, 1, 2, id="one")
        await trio.sleep(1)
        await engine.kill("one")
        hold_ends(store, go_on)
        await trio.sleep(5)
        with pytest.raises(WorkflowNotEnded, match="descendant"):
            await other.delete("one")
        go_on.set()
        await settle()
        await trio.sleep(1)
        await other.delete("one")
        assert await ids(engine) == []


async def test_who_waits_elsewhere_for_what_ends_and_is_deleted_hears_of_it(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """The other engine was told that something has ended, and looks when it is not there any more."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, napping, clock=clock) as engine, open_engine(store, (), clock=clock) as other:
        await engine.submit(napping, 10, id="one")
        handle = await other.get("one")
        outcomes: list[type[BaseException]] = []

        async def wait() -> None:
            with pytest.raises(WorkflowNotFound) as caught:
                await handle.result()
            outcomes.append(caught.type)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(5)
            looking = trio.Event()

            async def hold() -> None:
                await looking.wait()

            store.before_find = hold
            await trio.sleep(6)
            await engine.delete("one")
            looking.set()
        assert outcomes == [WorkflowNotFound]


async def test_who_waits_is_not_given_another_one_s_result(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, napping, clock=clock) as engine, open_engine(store, (), clock=clock) as other:
        await engine.submit(napping, 10, id="one")
        handle = await other.get("one")
        looking = trio.Event()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(WorkflowNotFound):
                    await handle.result()

            nursery.start_soon(wait)
            await trio.sleep(5)
            store.before_find = looking.wait
            await trio.sleep(6)
            await engine.delete("one")
            again = await engine.submit(napping, 20, id="one")
            looking.set()
        assert await again.status() is Status.RUNNING
        with pytest.raises(WorkflowNotFound):
            await handle.status()
        assert await again.result() == 20


async def test_who_follows_elsewhere_what_is_deleted_hears_of_it(autojump_clock: Clock, tmp_path: Path) -> None:
    """Also where another one has its id by then, and publishes under the same name."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, telling, clock=clock) as engine, open_engine(store, (), clock=clock) as other:
        await engine.submit(telling, 2, 10.0, id="one")
        reader = (await other.get("one")).follow("count", int)
        assert [(await reader.receive()).value for _ in range(2)] == [0, 1]
        looking = trio.Event()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(WorkflowNotFound):
                    await reader.receive()

            nursery.start_soon(wait)
            await settle()
            store.before_read = looking.wait
            await trio.sleep(30)
            await engine.delete("one")
            await engine.submit(telling, 100, 10.0, id="one")
            await trio.sleep(1)
            looking.set()


async def test_a_log_is_deleted_while_it_is_searched(autojump_clock: Clock, tmp_path: Path) -> None:
    """What is looked for stands at the beginning, and a long log is read piece by piece."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, telling, clock=clock) as engine, open_engine(store, (), clock=clock) as other:
        await engine.run(telling, 2 * reading.WINDOW, 0.0, id="one")
        handle = await other.get("one")
        assert await handle.latest("nothing") is None
        store.after_read = once(partial(engine.delete, "one"))
        with pytest.raises(WorkflowNotFound):
            await handle.latest("nothing")


Ask = Callable[[Engine, WorkflowHandle[object]], Awaitable[object]]


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda engine, _: engine.fork("one", at=1), id="fork"),
        pytest.param(lambda _, handle: handle.result(), id="result"),
        pytest.param(lambda engine, _: engine.delete("one"), id="delete"),
    ],
)
async def test_it_is_deleted_when_it_was_found(autojump_clock: Clock, tmp_path: Path, ask: Ask) -> None:
    """What comes next finds no log; who deletes has what it wanted."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, napping, clock=clock) as other, open_engine(store, [napping], clock=clock) as engine:
        await other.run(napping, 1, id="one")
        handle = await engine.get("one")
        store.after_find = once(partial(other.delete, "one"))
        try:
            await ask(engine, handle)
        except WorkflowNotFound:
            assert ask is not None
        assert await ids(engine) == []


async def test_it_is_deleted_when_it_was_found_to_be_there_already(autojump_clock: Clock, tmp_path: Path) -> None:
    """Whoever starts the same one is told of what there was; it is not started anew behind its back."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with on_file(path, napping, clock=clock) as other, open_engine(store, [napping], clock=clock) as engine:
        await other.run(napping, 1, id="one")

        async def delete(batch: Batch) -> None:
            if batch.creations:
                await other.delete("one")

        store.after_commit = delete
        with pytest.raises(WorkflowConflict):
            await engine.submit(napping, 2, id="one")
        await other.run(napping, 1, id="one")
        handle = await engine.submit(napping, 1, id="one")
        with pytest.raises(WorkflowNotFound):
            await handle.result()


async def test_two_engines_delete_the_same(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as one, on_file(path, napping, clock=clock) as two:
        for number in range(10):
            await one.run(napping, 1, id=f"w{number}")
            done: list[bool] = []

            async def delete(engine: Engine, id: str, done: list[bool] = done) -> None:
                try:
                    await engine.delete(id)
                except WorkflowNotFound:
                    done.append(False)
                else:
                    done.append(True)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete, one, f"w{number}")
                nursery.start_soon(delete, two, f"w{number}")
            assert any(done)
        assert await ids(one) == []


async def test_an_owner_that_has_slept_through_it_all_is_refused(autojump_clock: Clock, tmp_path: Path) -> None:
    """It was taken over, the workflow was brought to its end and deleted; now it wakes up, and writes what it has."""
    path, clock = tmp_path / "store.db", VirtualClock()
    store, awake = Hooked(file_store(path, clock)), trio.Event()

    async def sleeps(*_: object) -> None:
        await awake.wait()

    async with open_engine(store, [parent, napping], clock=clock, lease=15) as sleeper:
        await sleeper.submit(parent, 1, 5, id="one")
        await trio.sleep(1)
        store.before_commit = store.before_renew = store.before_claim = store.before_find = sleeps
        async with on_file(path, parent, napping, clock=clock) as engine:
            assert await (await engine.get("one")).result() == 1
            await engine.delete("one")
            awake.set()
            await trio.sleep(30)
            assert await ids(engine) == await ids(sleeper) == []
            assert await engine.run(parent, 1, 5, id="one") == 1


async def test_an_end_whose_answer_comes_when_another_has_had_the_id(autojump_clock: Clock, tmp_path: Path) -> None:
    """Meanwhile it was deleted, and the next one of its id came into memory here, and left it with the lease."""
    path, clock, go_on = tmp_path / "log.db", VirtualClock(), trio.Event()
    store = Hooked(file_store(path, clock))

    async def answer_late(batch: Batch) -> None:
        if any(one.standing and one.standing.release for one in batch.appends):
            await go_on.wait()

    async def fail() -> None:
        if not go_on.is_set():
            raise StoreUnavailable("it cannot be reached")

    async with open_engine(store, [napping], clock=clock) as engine:
        store.after_commit = answer_late
        await engine.submit(napping, 0.0, id="one")
        await trio.sleep(1)
        async with on_file(path, napping, clock=clock, max_running=1) as other:
            await other.delete("one")
            await other.submit(napping, 1000.0, id="zero")
            await other.submit(napping, 1000.0, id="one")
            await trio.sleep(5)
            store.before_renew = fail
            await trio.sleep(30)
            go_on.set()
            await trio.sleep(5)
            assert [one.id for one in await engine.list()] == ["one", "zero"]

"""Updates, from the side of who asks: one answer for each key, wherever the workflow is, and whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    DecodingError,
    EncodingError,
    Engine,
    EngineClosed,
    InboxFull,
    MisplacedCallError,
    PayloadTooLargeError,
    RegistrationError,
    Status,
    StoreUnavailable,
    UsageError,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowNotFound,
    WorkflowStuck,
    mailbox,
    open_engine,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog.abc import Batch
from nurselog.abc import Workflow as WorkflowRow
from nurselog.lowlevel import Answered, Received, Row, ScopeCancelled
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, hold_ends, in_background, in_memory, kinds, on_file, settle

Clock = trio.testing.MockClock


@workflow
async def adding(count: int) -> int:
    """Add what it is asked to, and say the sum each time."""
    total = 0
    for _ in range(count):
        one = await updates("add", int, int).receive()
        total += one.value
        one.answer(total)
    return total


@workflow
async def deaf() -> None:
    """Waits for what never comes."""
    await mailbox("nothing").receive()


@workflow
async def forgetful(how: str) -> None:
    """Take an update, and never answer."""
    await updates("add").receive()
    await sleep(10)
    if how == "failed":
        raise ValueError("forgotten")


class Asking:
    """Somebody who asks, in the background."""

    def __init__(self, engine: Engine, id: str, name: str, value: object, key: str | None = None) -> None:
        self._call: Callable[[], Any] = lambda: engine.update(id, name, value, key=key)
        self.scope = trio.CancelScope()
        self.answers: list[Any] = []

    async def __call__(self) -> None:
        with self.scope:
            try:
                self.answers.append(await self._call())
            except Exception as exc:  # noqa: BLE001 - the answer
                self.answers.append(exc)


async def counts(handle: WorkflowHandle[Any]) -> tuple[int, int]:
    """Return how many updates came, and how many answers went."""
    names = await kinds(handle)
    return names.count("Received"), names.count("Answered")


# -- keys ----------------------------------------------------------------------------------------


async def test_the_same_key_is_the_same_update(autojump_clock: Clock, tmp_path: Path) -> None:
    """At once, later, when the workflow has ended, in another engine, with another value, and under another name."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(adding, 2, id="one")
        askings = [Asking(engine, "one", "add", 1, "k") for engine in (here, there, here)]
        async with trio.open_nursery() as nursery:
            for asking in askings:
                nursery.start_soon(asking)
        assert [asking.answers for asking in askings] == [[1]] * 3
        assert await here.update("one", "add", 500, key="k") == 1
        assert await here.update("one", "other", 500, key="k") == 1
        assert await there.update("one", "add", 10, int, key="l") == 11
        assert await handle.result() == 11
        assert [await there.update("one", "add", 1, int, key=key) for key in ("k", "l")] == [1, 11]
        assert await counts(handle) == (2, 2)
        with pytest.raises(WorkflowEnded, match=r"it is completed, and has not answered update 'm'"):
            await here.update("one", "add", 1, key="m")
    async with on_file(path, clock=clock) as engine:
        assert await engine.update("one", "add", 1, int, key="l") == 11


async def test_without_a_key_each_is_another_one(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(adding, 2, id="one")
        assert [await engine.update("one", "add", 1) for _ in range(2)] == [1, 2]
        assert await counts(handle) == (2, 2)


async def test_who_waits_no_longer_may_ask_again(autojump_clock: Clock) -> None:
    async with in_memory() as engine, trio.open_nursery() as nursery:
        await engine.submit(forgetful, "waits", id="one")
        asking = Asking(engine, "one", "add", 1, "k")
        nursery.start_soon(asking)
        await settle()
        asking.scope.cancel()
        again = Asking(engine, "one", "add", 1, "k")
        nursery.start_soon(again)
        await trio.sleep(20)
        assert asking.answers == []
        assert [type(answer) for answer in again.answers] == [WorkflowEnded]
        assert await counts(await engine.get("one")) == (1, 0)


async def test_a_post_whose_answer_is_lost(autojump_clock: Clock, tmp_path: Path) -> None:
    """It was left all the same, and the same key finds what came of it."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def lose() -> None:
        raise StoreUnavailable("gone")

    store.after_post = lose
    async with open_engine(store, [adding], clock=clock) as engine:
        handle = await engine.submit(adding, 1, id="one")
        with pytest.raises(StoreUnavailable):
            await engine.update("one", "add", 1, key="k")
        assert await handle.result() == 1
        store.after_post = settle
        assert await engine.update("one", "add", 1, int, key="k") == 1


# -- where the workflow is -----------------------------------------------------------------------


async def test_one_that_was_evicted(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock, evict_after=5) as engine:
        handle = await engine.submit(adding, 2, id="one")
        assert await engine.update("one", "add", 1) == 1
        await trio.sleep(50)
        assert await handle.status() is Status.WAITING
        assert await engine.update("one", "add", 2) == 3
        assert engine.statistics().evicted == 1


async def test_one_that_nobody_runs_yet(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock) as engine:
        await engine.submit(adding, 1, id="one")
    async with on_file(path, clock=clock) as outside:
        asking = Asking(outside, "one", "add", 1)
        async with in_background(asking):
            await settle()
            async with on_file(path, adding, clock=clock) as engine:
                await (await engine.get("one")).result()
        assert asking.answers == [1]


async def test_one_in_another_engine_of_the_same_store(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(adding, 3, id="one")
        await settle()
        assert [await there.update("one", "add", number) for number in (1, 2)] == [1, 3]


# -- what becomes of it --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["completed", "failed"])
async def test_one_that_ends_without_an_answer(autojump_clock: Clock, how: str) -> None:
    async with in_memory() as engine:
        await engine.submit(forgetful, how, id="one")
        with pytest.raises(WorkflowEnded, match=f"'one' has ended: it is {how}, and has not answered update 'k'"):
            await engine.update("one", "add", 1, key="k")


@pytest.mark.parametrize("how", ["cancelled", "killed"])
async def test_one_that_is_ended_from_outside(autojump_clock: Clock, how: str) -> None:
    async with in_memory() as engine:
        await engine.submit(deaf, id="one")
        asking = Asking(engine, "one", "add", 1)
        async with in_background(asking):
            await settle()
            await (engine.cancel("one") if how == "cancelled" else engine.kill("one"))
        [error] = asking.answers
        assert isinstance(error, WorkflowEnded)
        assert error.status == how


async def test_one_that_gets_stuck_and_is_mended(autojump_clock: Clock, tmp_path: Path) -> None:
    """Who asks is told; the update waits in the inbox, and is answered when the workflow goes on."""
    broken, path, clock = True, tmp_path / "log.db", VirtualClock()

    @workflow(name="flow")
    async def flow() -> None:
        if broken:
            await trio.Event().wait()
        (await updates("add", int).receive()).answer("fine")

    async with on_file(path, flow, clock=clock) as engine:
        await engine.submit(flow, id="one")
        await settle()
        with pytest.raises(WorkflowStuck):
            await engine.update("one", "add", 1, key="k")
        broken = False
        await engine.resume("one")
        assert await engine.update("one", "add", 1, str, key="k") == "fine"


async def test_who_waits_when_the_engine_closes(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with trio.open_nursery() as nursery, on_file(path, deaf, clock=clock) as engine:
        await engine.submit(deaf, id="one")
        asking = Asking(engine, "one", "add", 1)
        nursery.start_soon(asking)
        await settle()
    assert [type(answer) for answer in asking.answers] == [EngineClosed]


async def test_what_comes_is_there_before_its_answer(autojump_clock: Clock, tmp_path: Path) -> None:
    """Nobody hears an answer that is not durable."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(batch: Batch) -> None:
        if any(b'"answered"' in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold
    async with open_engine(store, [adding], clock=clock) as engine:
        await engine.submit(adding, 2, id="one")
        asking = Asking(engine, "one", "add", 1)
        async with in_background(asking):
            await trio.sleep(10)
            assert asking.answers == []
            go_on.set()
        assert asking.answers == [1]


async def test_a_crash_at_each_commit(autojump_clock: Clock, tmp_path: Path) -> None:
    """The update is in the inbox or in the log, and is answered once, the same whoever is asked."""
    path, clock, moments = tmp_path / "log.db", VirtualClock(), list[Path]()
    store = Hooked(file_store(path, clock))

    async def keep(*_: object) -> None:
        moments.append(crashed(path).rename(path.with_name(f"{len(moments)}.db")))

    async with open_engine(store, [adding], clock=clock) as engine:
        await engine.submit(adding, 2, id="one")
        await settle()
        store.after_post = store.after_commit = keep
        assert await engine.update("one", "add", 1, key="k") == 1
        assert await engine.update("one", "add", 2, key="l") == 3
        await settle()
    for moment in moments:
        async with on_file(moment, adding, clock=clock) as engine:
            assert await engine.update("one", "add", 1, int, key="k") == 1
            assert await engine.update("one", "add", 2, int, key="l") == 3
            handle = await engine.get("one")
            assert await handle.result() == 3
            assert await counts(handle) == (2, 2)
    assert len(moments) == 4  # two updates, and two commits: what is answered is, and the end with the last of them


# -- in the moment of a cancellation -------------------------------------------------------------


@pytest.mark.parametrize("first", ["update", "cancel"])
async def test_an_update_and_a_cancellation(autojump_clock: Clock, tmp_path: Path, first: str) -> None:
    """Both wait in the inbox when the workflow hears of them, and come into its log in their order, whichever it is."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(adding, 2, id="one")
        await settle()
        asking = Asking(there, "one", "add", 1, "k")
        async with trio.open_nursery() as nursery:
            if first == "cancel":
                await there.cancel("one")
            nursery.start_soon(asking)
            if first == "update":
                await settle()
                await there.cancel("one")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        log = [entry for entry in await handle.log() if isinstance(entry.event, Received | ScopeCancelled | Answered)]
        [answer] = asking.answers
    if first == "update":  # the answer was given before the cancellation was, whichever row is first
        assert {type(entry.event) for entry in log} == {Received, ScopeCancelled, Answered}
        assert isinstance(log[0].event, Received)
        assert [entry.after for entry in log if isinstance(entry.event, Answered)] == [1]
        assert answer == 1
    else:
        assert [type(entry.event) for entry in log] == [ScopeCancelled, Received]
        assert isinstance(answer, WorkflowEnded)


async def test_an_update_that_comes_while_the_end_is_on_its_way(autojump_clock: Clock, tmp_path: Path) -> None:
    """It was left in time, and goes with the end; who has asked is told so."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [adding], clock=clock) as engine:
        handle = await engine.submit(adding, 1, id="one")
        await settle()
        hold_ends(store, go_on)
        asking = Asking(engine, "one", "add", 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.cancel, "one")
            await settle()
            nursery.start_soon(asking)
            await settle()
            go_on.set()
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        [error] = asking.answers
        assert isinstance(error, WorkflowEnded)
        assert error.status == "cancelled"
        assert await counts(handle) == (0, 0)


# -- forks ---------------------------------------------------------------------------------------


async def test_a_fork_answers_its_own(autojump_clock: Clock, tmp_path: Path) -> None:
    """What the original was asked and had not answered it answers too, to nobody; a key is the fork's own again."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, adding, clock=clock) as engine:
        await engine.submit(adding, 2, id="one")
        assert await engine.update("one", "add", 1, key="k") == 1
        cut = 1 + (await kinds(await engine.get("one"))).index("Received")
        fork = await engine.fork("one", at=cut, new_id="two")
        await settle()
        assert await counts(fork) == (1, 1)
        assert await engine.update("two", "add", 10, key="k") == 11
        assert await fork.result() == 11


# -- what is refused -----------------------------------------------------------------------------


async def test_what_is_refused(autojump_clock: Clock) -> None:
    async with in_memory(max_payload=1000) as engine:
        await engine.submit(deaf, id="one")
        with pytest.raises(WorkflowNotFound):
            await engine.update("two", "add", 1)
        with pytest.raises(EncodingError):
            await engine.update("one", "add", object())
        with pytest.raises(PayloadTooLargeError, match="update 'add' is"):
            await engine.update("one", "add", "x" * 1000)
        with pytest.raises(UsageError, match="a name must have"):
            await engine.update("one", "", 1)
        with pytest.raises(UsageError, match="an update's key must have"):
            await engine.update("one", "add", 1, key="")
        with pytest.raises(RegistrationError, match="update 'add', its answer"):
            await engine.update("one", "add", 1, Callable[[], int])
        assert await kinds(await engine.get("one")) == ["Started"]
    with pytest.raises(EngineClosed):
        await engine.update("one", "add", 1)


async def test_one_that_is_deleted_while_it_is_asked(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(adding, 0, id="one")
        await handle.result()
        read = engine._desk.read

        async def delete_and_read(row: WorkflowRow, *where: int) -> Sequence[Row]:
            monkeypatch.undo()
            await engine.delete(row.id)
            return await read(row, *where)

        monkeypatch.setattr(engine._desk, "read", delete_and_read)
        with pytest.raises(WorkflowNotFound):
            await engine.update("one", "add", 1)


async def test_an_inbox_that_is_full(autojump_clock: Clock) -> None:
    async with in_memory(max_inbox=2) as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(deaf, id="one")
        for number in range(4):  # two come into the log, and two wait in the store
            nursery.start_soon(Asking(engine, "one", "add", number))
            await settle()
        with pytest.raises(InboxFull):
            await engine.update("one", "add", 4)
        assert await counts(handle) == (2, 0)
        await engine.kill("one")


async def test_an_answer_that_does_not_fit(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.submit(adding, 2, id="one")
        with pytest.raises(DecodingError):
            await engine.update("one", "add", 1, str, key="k")
        assert await engine.update("one", "add", 1, int, key="k") == 1


async def test_in_workflow_code_it_is_refused_and_in_a_step_it_works(autojump_clock: Clock) -> None:
    async with in_memory() as engine:

        @step(name="asks")
        async def asks(value: int) -> int:
            return await engine.update("one", "add", value, int, key=str(value))

        @workflow(name="asking")
        async def asking() -> int:
            with pytest.raises(MisplacedCallError):
                await engine.update("one", "add", 1)
            return await asks(5)

        await engine.submit(adding, 1, id="one")
        assert await engine.run(asking) == 5

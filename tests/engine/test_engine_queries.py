"""Queries: they look at a workflow's state, wherever that is, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import (
    CancelScope,
    EncodingError,
    Engine,
    EngineClosed,
    MisplacedCallError,
    NonDeterminismError,
    NothingExposed,
    OutsideWorkflowError,
    RegistrationError,
    Status,
    StuckError,
    UsageError,
    WorkflowCancelled,
    WorkflowKilled,
    WorkflowNotFound,
    WorkflowStuck,
    expose,
    mailbox,
    move_on_after,
    open_engine,
    open_nursery,
    promise,
    rng,
    sleep,
    submit,
    workflow,
)
from nurselog.abc import Workflow as WorkflowRow
from nurselog.lowlevel import Row
from nurselog.testing import VirtualClock
from tests.engine.asked import (
    State,
    count,
    failing,
    items,
    order,
    pack,
    parcel,
    ran,
    said,
    spoiling,
    spoiling_and_failing,
    stage,
    unencodable,
    weighed,
    whole,
    with_items,
    wrong,
)
from tests.engine.rig import Hooked, file_store, in_memory, kinds, on_file, settle, sql

Clock = trio.testing.MockClock


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


# -- wherever it is ------------------------------------------------------------------------------


async def test_a_live_one(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await with_items(engine, "apple", "avocado", "bread")
        before = await said(handle)
        assert await engine.query("one", count) == 3
        assert await handle.query(count) == 3
        assert await handle.query(items, "a") == ["apple", "avocado"]
        assert await engine.query("one", partial(items, "b", upper=True)) == ["BREAD"]
        assert await said(handle) == before
        assert await handle.result() == ["apple", "avocado", "bread"]


async def test_the_same_answers_from_wherever(autojump_clock: Clock, tmp_path: Path) -> None:
    """In the engine that has it in memory, in another one, when it is evicted, and when it has ended."""
    path, clock = tmp_path / "log.db", VirtualClock()

    async def ask(engine: Engine) -> None:
        assert await engine.query("one", items, "a") == ["apple"]

    async with on_file(path, order, parcel, clock=clock, evict_after=5) as here:
        handle = await with_items(here, "apple", "bread")
        async with on_file(path, order, clock=clock, max_running=1, evict_after=1000) as there:
            before = await said(handle)
            await ask(here)
            await ask(there)
            await trio.sleep(50)
            assert await handle.status() is Status.WAITING
            await ask(here)
            await ask(there)
            assert await said(handle) == before
            assert await handle.query(stage) == "open"
    async with on_file(path, parcel, clock=clock) as engine:  # it has not its function, and somebody else has
        with pytest.raises(UsageError, match="workflow 'one' is a 'order', which this engine does not have"):
            await ask(engine)
    async with on_file(path, order, parcel, clock=clock) as engine:
        handle = await engine.get("one")
        assert await handle.result() == ["apple", "bread"]
        before = await said(handle)
        ran.clear()
        await ask(engine)
        assert await handle.query(stage) == "sent"
        assert await said(handle) == before
        assert ran == []
        assert [info.id for info in await engine.list()] == ["one/5", "one"]


async def test_nothing_begins_because_of_a_query(autojump_clock: Clock, tmp_path: Path) -> None:
    """No body, child, message or timer, though all are due in the replay; and all happens when the workflow goes on."""
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="busy")
    async def busy() -> list[object]:
        seen: list[object] = []
        expose(seen)
        seen.append(rng().random())
        with CancelScope(shield=True), move_on_after(1):
            await promise(int).result()
        async with open_nursery() as nursery:
            nursery.go(parcel, 1)
            nursery.go(submit, parcel, 2)
            nursery.go(pack, "x")
            seen.append("all is on its way")
            await sleep(10)
        seen.append("done")
        return seen

    @busy.query
    def look(seen: list[object]) -> list[object]:
        return seen

    async with on_file(path, busy, clock=clock) as engine:
        handle = await engine.submit(busy, id="one")
        await settle()
        seed = await handle.query(look)
    async with on_file(path, clock=clock) as other:
        assert await kinds(await other.get("one")) == ["Started", "TimerSet"]
    await trio.sleep(100)  # the timer is overdue
    store = Hooked(file_store(path, clock))
    store.before_claim = trio.sleep_forever  # nobody takes it up
    async with open_engine(store, [busy, parcel], clock=clock) as engine:
        for _ in range(3):
            assert await engine.query("one", look) == seed
            await settle()
        assert await kinds(await engine.get("one")) == ["Started", "TimerSet"]
        assert [info.id for info in await engine.list()] == ["one"]
    assert ran == []
    async with on_file(path, busy, parcel, clock=clock) as engine:
        handle = await engine.get("one")
        assert await handle.result() == [*seed, "all is on its way", "done"]
        assert await handle.query(look) == await handle.result()
    assert ran == ["x"]


async def test_one_that_is_on_its_first_way(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is in memory, and has not followed its log yet: its state is one of the past, and not asked."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, order, clock=clock) as engine:
        await engine.submit(order, id="one")
        assert await engine.query("one", stage) == "open"
        await with_items(engine, *(str(number) for number in range(600)), seconds=1e6, id="two")
    async with on_file(path, order, clock=clock) as engine:
        while not engine._runner.runs:
            await trio.lowlevel.checkpoint()
        assert await engine.query("two", count) == 600


@pytest.mark.parametrize("how", ["cancelled", "killed", "failed"])
async def test_one_that_has_ended_badly(autojump_clock: Clock, how: str) -> None:
    @workflow(name="flow")
    async def flow() -> None:
        state = ["begun"]
        expose(state)
        try:
            await mailbox("t").receive()
            raise ValueError("failed")
        finally:
            state.append("cleaned up")

    @flow.query
    def look(state: list[str]) -> list[str]:
        return state

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        await settle()
        await {"cancelled": engine.cancel, "killed": engine.kill, "failed": partial(engine.send, topic="t", value=1)}[
            how
        ]("one")
        with pytest.raises((WorkflowCancelled, WorkflowKilled, ValueError)):
            await handle.result()
        assert await handle.query(look) == (["begun"] if how == "killed" else ["begun", "cleaned up"])


async def test_a_stuck_one(autojump_clock: Clock) -> None:
    """If its code waits for nothing it can be asked all the same; if it does not follow its log, that is said again."""
    broken = True

    @workflow(name="flow")
    async def flow() -> None:
        state = ["begun"]
        expose(state)
        await sleep(1)
        state.append("slept")
        if broken:
            await trio.Event().wait()

    @flow.query
    def look(state: list[str]) -> list[str]:
        return state

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        with pytest.raises(WorkflowStuck):
            await handle.result()
        before = await said(handle)
        assert await handle.query(look) == ["begun", "slept"]
        assert await handle.status() is Status.STUCK
        assert await said(handle) == before


async def test_code_that_does_not_follow_the_log(autojump_clock: Clock, tmp_path: Path) -> None:
    """Who asks is told, with the line; nothing becomes of the workflow, which goes on where it is."""
    path, clock, changed = tmp_path / "log.db", VirtualClock(), False

    @workflow(name="flow")
    async def flow() -> str:
        expose(["state"])
        if not changed:
            await pack("before")
        await sleep(5)
        await mailbox("t").receive()
        return "fine"

    @flow.query
    def look(state: list[str]) -> list[str]:
        return state

    async with on_file(path, flow, clock=clock) as here, on_file(path, flow, clock=clock) as there:
        handle = await here.submit(flow, id="one")
        await trio.sleep(10)
        before = await said(handle)
        changed = True
        with pytest.raises(NonDeterminismError, match=r"test_engine_queries\.py:\d+: the log has") as caught:
            await there.query("one", look)
        assert caught.value.workflow_id == "one"
        assert await here.query("one", look) == ["state"]
        assert await handle.status() is Status.RUNNING
        assert await said(handle) == before
        assert here.statistics().stuck == there.statistics().stuck == 0
        await there.send("one", "t", None)
        assert await handle.result() == "fine"


async def test_an_input_that_cannot_be_read_any_more(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, order, clock=clock) as engine:
        await with_items(engine)
    sql(path, "UPDATE log SET value = NULL WHERE seq = 1")
    store = Hooked(file_store(path, clock))
    store.before_claim = trio.sleep_forever
    async with open_engine(store, [order], clock=clock) as engine:
        with pytest.raises(StuckError, match="its input cannot be read"):
            await engine.query("one", count)


async def test_another_version(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="flow", version="1")
    async def old() -> None:
        await mailbox("t").receive()

    @workflow(name="flow", version="2")
    async def new() -> None:
        await mailbox("t").receive()

    @new.query
    def look(state: object) -> object:
        return state

    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="one")
    async with on_file(path, new, clock=clock) as engine:
        with pytest.raises(UsageError, match="workflow 'one' is a 'flow' in version '1', which this engine"):
            await engine.query("one", look)


# -- what it returns -----------------------------------------------------------------------------


async def test_the_answer_is_the_callers_own(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await with_items(engine, "apple")
        got = await handle.query(whole)
        assert got == State(["apple"])
        got.items.clear()
        assert await handle.query(count) == 1


async def test_an_answer_that_cannot_be_given(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await with_items(engine, "apple")
        for query in (unencodable, wrong):
            with pytest.raises(EncodingError):
                await handle.query(query)
        assert await handle.query(count) == 1


@pytest.mark.parametrize("where", ["live", "replayed"])
async def test_a_query_that_raises(autojump_clock: Clock, tmp_path: Path, where: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, order, clock=clock) as here, on_file(path, order, clock=clock) as there:
        handle = await with_items(here, "apple")
        before = await said(handle)
        with pytest.raises(LookupError, match="nothing in"):
            await (here if where == "live" else there).query("one", failing)
        assert await handle.query(count) == 1
        assert await said(handle) == before


@pytest.mark.parametrize("query", [spoiling, spoiling_and_failing])
async def test_a_query_that_changes_the_state(
    autojump_clock: Clock, tmp_path: Path, query: Callable[[State], int]
) -> None:
    """It is told so, and the workflow's state is that of its log again, here as elsewhere."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, order, parcel, clock=clock) as here, on_file(path, clock=clock) as outside:
        handle = await with_items(here, "apple")
        with pytest.raises(UsageError, match=r"has changed the state of workflow 'one', .* a query only looks"):
            await handle.query(query)
        await settle()
        assert await handle.query(items) == ["apple"]
        assert await handle.status() is Status.RUNNING
        assert "Claimed" in await kinds(await outside.get("one"))
        async with on_file(path, order, clock=clock, max_running=1) as there:
            before = await said(handle)
            with pytest.raises(UsageError, match="has changed the state"):
                await there.query("one", query)
            assert await said(handle) == before
        assert await handle.result() == ["apple"]


async def test_a_query_that_wakes_the_workflow(autojump_clock: Clock) -> None:
    """What no codec can look at is not guarded; but what wakes a strand from outside is seen, as ever."""

    class Bell:
        def __init__(self) -> None:
            self.event = trio.Event()

    @workflow(name="flow")
    async def flow() -> None:
        bell = Bell()
        expose(bell)
        async with open_nursery() as nursery:
            nursery.go(sleep, 100)
            await bell.event.wait()

    @flow.query
    def ring(bell: Bell) -> None:
        bell.event.set()

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        await settle()
        assert await handle.query(ring) is None
        with pytest.raises(WorkflowStuck, match="a wait that ended from the outside"):
            await handle.result()


# -- before there is anything, and what is refused -----------------------------------------------


@pytest.mark.parametrize("where", ["live", "replayed"])
async def test_before_anything_is_exposed(autojump_clock: Clock, tmp_path: Path, where: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="flow")
    async def flow() -> None:
        await mailbox("t").receive()
        expose("first")
        await mailbox("t").receive()
        expose("second")
        await mailbox("t").receive()

    @flow.query
    def look(state: str) -> str:
        return state

    async with on_file(path, flow, clock=clock) as here, on_file(path, flow, clock=clock) as there:
        await here.submit(flow, id="one")
        await settle()
        engine = here if where == "live" else there
        with pytest.raises(NothingExposed, match="workflow 'one' has exposed nothing") as caught:
            await engine.query("one", look)
        assert caught.value.workflow_id == "one"
        for expected in ("first", "second"):
            await here.send("one", "t", None)
            await settle()
            assert await engine.query("one", look) == expected


async def test_what_is_refused(autojump_clock: Clock) -> None:
    async with in_memory() as engine:

        @workflow(name="other")
        async def other() -> None:
            with pytest.raises(MisplacedCallError):
                await engine.query("one", count)
            with pytest.raises(MisplacedCallError):
                await handle.query(count)

        handle = await with_items(engine, "apple")
        await engine.run(other, id="two")
        with pytest.raises(WorkflowNotFound):
            await engine.query("three", count)
        with pytest.raises(UsageError, match=r"is no query of workflow 'other': decorate it with @other\.query"):
            await engine.query("two", count)
        with pytest.raises(UsageError, match="is no query of workflow 'order'"):
            await engine.query("one", len)
        with pytest.raises(RegistrationError, match="a query must be a sync function"):

            @order.query
            async def waits(state: State) -> None: ...

        with pytest.raises(OutsideWorkflowError):
            expose(1)
    with pytest.raises(EngineClosed):
        await engine.query("one", count)


async def test_one_that_is_deleted(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is asked, and while it is: between the looks at its row and at its log."""
    async with in_memory() as engine:
        handles = [await engine.submit(parcel, 1, id=id) for id in ("one", "two")]
        for handle in handles:
            await handle.result()
        read = engine._desk.read

        async def delete_and_read(row: WorkflowRow, *where: int) -> Sequence[Row]:
            await engine.delete(row.id)
            return await read(row, *where)

        await engine.delete("one")
        for call in (partial(engine.query, "one", weighed), partial(handles[0].query, weighed)):
            with pytest.raises(WorkflowNotFound):
                await call()
        monkeypatch.setattr(engine._desk, "read", delete_and_read)
        with pytest.raises(WorkflowNotFound):
            await engine.query("two", weighed)


async def test_in_a_query_nothing_durable_works(autojump_clock: Clock) -> None:
    @order.query
    def asks(state: State) -> None:
        mailbox("items")

    async with in_memory() as engine:
        handle = await with_items(engine, "apple")
        with pytest.raises(OutsideWorkflowError):
            await handle.query(asks)
        assert await handle.query(count) == 1

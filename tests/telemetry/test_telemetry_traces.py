"""Traces at a real receiver: a span for each workflow, scope and step, each once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from nurselog import (
    Retry,
    WorkflowCancelled,
    WorkflowStuck,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    submit,
    workflow,
)
from nurselog.abc import Life, Recorded, ScopeLeft
from nurselog.lowlevel import Ended, Result, Row, Started, encode_event
from nurselog.telemetry import Traces
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, on_file
from tests.engine.test_engine_many import stall
from tests.house.tree import ROOT
from tests.telemetry.receiver import Receiver

Clock = trio.testing.MockClock


def current() -> str:
    """Return the current span's id."""
    return f"{trace.get_current_span().get_span_context().span_id:016x}"


@step(name="charge")
async def charge(seconds: float) -> str:
    await trio.sleep(seconds)
    return current()


@step(name="print")
def print_label() -> dict[str, str]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@workflow(name="invoice")
async def invoice() -> str:
    return await charge(1)


async def pay() -> str:
    with move_on_after(60):
        return await charge(2)


@workflow(name="order", version="2")
async def order() -> str:
    async with open_nursery() as nursery:
        paid = nursery.go(pay)
        nursery.go(invoice)
    await charge(1)
    return await paid.result()


async def test_the_spans_of_a_workflow_are_a_tree(
    autojump_clock: Clock, provider: TracerProvider, receiver: Receiver
) -> None:
    clock = VirtualClock()
    begin = clock.utc() * 1000
    async with in_memory(clock, workflows=[order, invoice], instruments=[Traces(provider)]) as engine:
        with provider.get_tracer("web").start_as_current_span("request"):
            handle = await engine.submit(order, id="o")
        ran_in = await handle.result()
    receiver.check()
    assert receiver.tree() == [
        "request",
        "request/order",
        "request/order/charge",
        "request/order/nursery",
        "request/order/nursery/branch pay",
        "request/order/nursery/branch pay/scope",
        "request/order/nursery/branch pay/scope/charge",
        "request/order/nursery/invoice",
        "request/order/nursery/invoice/charge",
    ]
    assert {span.trace for span in receiver.spans} == {receiver.named("request").trace}
    whole = receiver.named("order")
    assert (whole.start, whole.end - begin) == (begin, 3 * 10**9)
    assert whole.attributes == {
        "nurselog.workflow.id": "o",
        "nurselog.workflow.name": "order",
        "nurselog.workflow.version": "2",
        "nurselog.result": "value",
    }
    scope = receiver.named("scope")
    assert (scope.start - begin, scope.end - begin) == (0, 2 * 10**9)
    [paid] = [span for span in receiver.spans if span.parent == scope.id]
    assert paid.id == ran_in, "the function runs in its span"
    assert paid.attributes == {
        "nurselog.workflow.id": "o",
        "nurselog.path": "2.2",
        "nurselog.attempts": 1,
        "nurselog.result": "value",
    }
    assert receiver.named("invoice").attributes["nurselog.workflow.id"] == "o/3"
    assert all(span.failed is None and not span.events for span in receiver.spans)


async def test_what_lives_several_times_has_each_span_once(
    autojump_clock: Clock, tmp_path: Path, make_provider: Callable[[], TracerProvider], receiver: Receiver
) -> None:
    clock = VirtualClock()
    for number in range(4):
        traces = Traces(make_provider())
        async with on_file(tmp_path / "log.db", order, invoice, clock=clock, instruments=[traces]) as engine:
            if number == 0:
                await engine.submit(order, id="o")
            await trio.sleep(0.8 if number < 3 else 10)
    receiver.check()
    tree = receiver.tree()
    assert [path for path in tree if "in memory" not in path] == [
        "order",
        "order/charge",
        "order/nursery",
        "order/nursery/branch pay",
        "order/nursery/branch pay/scope",
        "order/nursery/branch pay/scope/charge",
        "order/nursery/invoice",
        "order/nursery/invoice/charge",
    ]
    stays = sorted(
        (span for span in receiver.spans if span.name == "in memory" and span.parent == receiver.named("order").id),
        key=lambda span: span.start,
    )
    assert [stay.attributes["nurselog.left"] for stay in stays] == ["suspended", "suspended", "suspended", "ended"]
    former = [[id for _, id in stay.links] for stay in stays]
    assert former == [[], [stays[0].id], [stays[1].id], [stays[2].id]]


async def test_a_scope_is_the_same_span_in_each_life(
    autojump_clock: Clock, tmp_path: Path, make_provider: Callable[[], TracerProvider], receiver: Receiver
) -> None:
    @workflow(name="long")
    async def long() -> list[str]:
        with move_on_after(100):
            first = await charge(1)
            return [first, await charge(5)]

    clock = VirtualClock()
    begin = clock.utc() * 1000
    async with on_file(tmp_path / "log.db", long, clock=clock, instruments=[Traces(make_provider())]) as engine:
        await engine.submit(long, id="one")
        await trio.sleep(3)
    assert [span.name for span in receiver.spans] == ["charge", "in memory"]
    async with on_file(tmp_path / "log.db", long, clock=clock, instruments=[Traces(make_provider())]) as engine:
        ran_in = await (await engine.get("one")).result()
    receiver.check()
    first, second = [span for span in receiver.spans if span.name == "charge"]
    scope = receiver.named("scope")
    assert [first.id, second.id] == ran_in
    assert first.parent == second.parent == scope.id
    assert scope.parent == receiver.named("long").id
    assert (scope.start, scope.end) == (begin, second.end)


async def test_a_scope_that_was_left_before_is_not_sent_again(
    autojump_clock: Clock, tmp_path: Path, make_provider: Callable[[], TracerProvider], receiver: Receiver
) -> None:
    @workflow(name="leaving")
    async def leaving() -> None:
        with move_on_after(1):
            await sleep(10)
        await charge(5)

    clock = VirtualClock()
    for _ in range(2):
        traces = Traces(make_provider())
        async with on_file(tmp_path / "log.db", leaving, clock=clock, instruments=[traces]) as engine:
            await engine.submit(leaving, id="one")
            await trio.sleep(3 if not receiver.spans else 10)
    receiver.check()
    scope = receiver.named("scope")
    assert [(name, at - scope.start, said) for name, at, said in scope.events] == [
        ("cancelled", 10**9, {"nurselog.by": "deadline"})
    ]


async def test_cancellations_have_their_reasons(
    autojump_clock: Clock, provider: TracerProvider, receiver: Receiver
) -> None:
    @workflow(name="cancelled")
    async def cancelled() -> None:
        async with open_nursery() as nursery:
            slow = nursery.go(charge, 100.0)
            await charge(1)
            slow.cancel("too slow")
        async with open_nursery() as nursery:
            nursery.cancel_scope.cancel("never mind")
            nursery.go(charge, 1.0)
        await charge(1000)

    async with in_memory(workflows=[cancelled], instruments=[Traces(provider)]) as engine:
        handle = await engine.submit(cancelled, id="one")
        await trio.sleep(10)
        await engine.cancel("one", "the shop is closed")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
    receiver.check()
    said = {span.attributes.get("nurselog.path", ""): [event[2] for event in span.events] for span in receiver.spans}
    assert said == {
        "": [{"nurselog.by": "external", "nurselog.reason": "the shop is closed"}],
        "1": [],
        "2": [{"nurselog.by": "scope 2", "nurselog.reason": "too slow"}],
        "3": [],
        "4": [{"nurselog.by": "explicit", "nurselog.reason": "never mind"}],
        "5": [{"nurselog.by": "scope 4", "nurselog.reason": "never mind"}],
        "6": [{"nurselog.by": "scope", "nurselog.reason": "the shop is closed"}],
    }
    ended = {
        span.attributes.get("nurselog.path", ""): span.attributes.get("nurselog.result") for span in receiver.spans
    }
    assert (ended[""], ended["2"], ended["3"], ended["5"]) == ("cancelled", "cancelled", "value", "cancelled")


async def test_errors_and_retries(autojump_clock: Clock, provider: TracerProvider, receiver: Receiver) -> None:
    tries: list[int] = []

    @step(name="flaky", retry=Retry(attempts=3, delay=1))
    async def flaky() -> None:
        tries.append(1)
        raise OSError(f"down {len(tries)}")

    @workflow(name="failing")
    async def failing() -> None:
        await flaky()

    async with in_memory(workflows=[failing], instruments=[Traces(provider)]) as engine:
        with pytest.raises(OSError, match="down 3"):
            await engine.run(failing, id="one")
    receiver.check()
    tried, whole = receiver.named("flaky"), receiver.named("failing")
    assert (tried.failed, whole.failed) == ("down 3", "down 3")
    assert tried.attributes["nurselog.attempts"] == 3
    told = [(name, said["exception.type"], said["exception.message"]) for name, _, said in tried.events]
    assert told == [
        ("retried", "OSError", "down 1"), ("retried", "OSError", "down 2"), ("exception", "OSError", "down 3"),
    ]  # fmt: skip
    assert [said.get("nurselog.attempt") for _, _, said in tried.events] == [1, 2, None]
    assert "in flaky" in tried.events[-1][2]["exception.stacktrace"]


async def test_context_goes_out_of_steps(provider: TracerProvider, receiver: Receiver) -> None:
    @workflow(name="printing")
    async def printing() -> dict[str, str]:
        carrier = await print_label()
        await submit(invoice, id="detached")
        return carrier

    async with open_engine("sqlite://", [printing, invoice], instruments=[Traces(provider)]) as engine:
        token = contexts.attach(baggage.set_baggage("tenant", "acme"))
        carrier = await engine.run(printing, id="one")
        contexts.detach(token)
        await (await engine.get("detached")).result()
    receiver.check()
    label = receiver.named("print")
    assert carrier["traceparent"].startswith(f"00-{label.trace}-{label.id}-")
    assert carrier["baggage"] == "tenant=acme"
    assert receiver.named("invoice").parent == receiver.named("nurselog.submit").id
    assert receiver.named("invoice").trace == label.trace


async def test_a_workflow_that_is_stuck_or_evicted(
    autojump_clock: Clock, provider: TracerProvider, receiver: Receiver
) -> None:
    @workflow(name="foreign")
    async def foreign() -> None:
        await trio.sleep(1)

    @workflow(name="patient")
    async def patient() -> None:
        await sleep(1000)

    async with in_memory(workflows=[foreign, patient], instruments=[Traces(provider)], evict_after=5) as engine:
        with pytest.raises(WorkflowStuck):
            await engine.run(foreign, id="one")
        assert [(span.name, span.failed) for span in receiver.spans] == [("in memory", "the workflow is stuck")]
        receiver.spans.clear()
        await engine.run(patient, id="two")
    receiver.check()
    evicted, woken = [span for span in receiver.spans if span.name == "in memory"]
    assert [one.attributes["nurselog.left"] for one in (evicted, woken)] == ["evicted", "ended"]
    assert woken.links == [(evicted.trace, evicted.id)]
    assert receiver.named("patient").attributes["nurselog.result"] == "value"


async def test_a_fork_is_linked_to_its_source(
    autojump_clock: Clock, provider: TracerProvider, receiver: Receiver
) -> None:
    @workflow(name="forked")
    async def forked() -> None:
        await charge(1)
        await charge(1)

    async with in_memory(workflows=[forked], instruments=[Traces(provider)]) as engine:
        await engine.run(forked, id="one")
        await (await engine.fork("one", at=2, new_id="two")).result()
    receiver.check()
    source, fork = [span for span in receiver.spans if span.name == "forked"]
    assert fork.links == [(source.trace, source.id)]
    assert fork.trace == source.trace
    assert [span.attributes["nurselog.workflow.id"] for span in receiver.spans if span.name == "charge"] == [
        "one", "one", "two",
    ]  # fmt: skip


async def test_a_provider_that_draws_ids_by_itself_is_warned_about(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    async with in_memory(workflows=[order, invoice], instruments=[Traces(provider)]) as engine:
        await engine.run(order, id="one")
    [record] = caplog.records
    assert "id_generator=nurselog.telemetry.ids.IdGenerator()" in record.getMessage()
    assert len(kept.get_finished_spans()) == 8
    provider.shutdown()


async def test_what_is_not_sampled_is_not_sent(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    provider, kept = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    async with in_memory(workflows=[order, invoice], instruments=[Traces(provider)]) as engine:
        await engine.run(order, id="one")
    assert kept.get_finished_spans() == ()
    assert caplog.records == []
    provider.shutdown()


async def test_without_an_sdk_nothing_is_said(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    async with in_memory(workflows=[order, invoice], instruments=[Traces(trace.NoOpTracerProvider())]) as engine:
        await engine.run(order, id="one")
        [started, *_] = await (await engine.get("one/3")).log()
    assert caplog.records == []
    assert isinstance(started.event, Started)
    assert started.event.headers == {}


async def test_a_lost_lease_does_no_harm(
    autojump_clock: Clock,
    tmp_path: Path,
    provider: TracerProvider,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows that were on their way when the engine gave its workflows up are durable later."""

    @workflow(name="lost")
    async def lost() -> None:
        with move_on_after(1):
            await sleep(2)
        await charge(2)
        await charge(2)

    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [lost], clock=clock, instruments=[Traces(provider)]) as engine:
        handle = await engine.submit(lost, id="one")
        await trio.sleep(2.5)
        go_on = stall(store)
        await trio.sleep(20)
        go_on.set()
        await handle.result()
    assert not any("instrument" in record.getMessage() for record in caplog.records)
    receiver.check()
    assert [span.attributes["nurselog.left"] for span in receiver.spans if span.name == "in memory"] == [
        "lost", "ended",
    ]  # fmt: skip
    assert receiver.named("lost").attributes["nurselog.result"] == "value"


def test_what_is_recorded_when_a_workflow_was_lost_is_nobodys(provider: TracerProvider, receiver: Receiver) -> None:
    life = Life(id="one", started=Started(name="order", seed=""), began_at=0, writer=1)
    ended, traces = Ended(result=Result.VALUE), Traces(provider)
    left = ScopeLeft(life=life, path="1", at=0, cause=None, reason=None, cancelled_at=None, replaying=False)
    traces.happened(left)
    traces.happened(Recorded(life=life, event=ended, row=Row(2, 0, 0, 1, encode_event(ended))))
    assert receiver.spans == []


def test_a_workflow_that_two_processes_run_is_one_span(tmp_path: Path, receiver: Receiver) -> None:
    command = [sys.executable, "-m", "tests.telemetry.traveller", receiver.url, "log.db", "marker"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": os.environ["PATH"]}
    first, second = [
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        for _ in range(2)
    ]
    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 0), first.stderr + second.stderr
    receiver.check()
    assert receiver.tree() == [
        "send off",
        "send off",
        "send off/travel",
        "send off/travel/in memory",
        "send off/travel/nursery",
        "send off/travel/nursery/arrive",
        "send off/travel/nursery/depart",
    ]
    whole = receiver.named("travel")
    assert whole.start < receiver.named("depart").start < receiver.named("arrive").start <= whole.end
    assert len(receiver.named("in memory").links) == 1, "to the life that was cut off"

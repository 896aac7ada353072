"""Metrics at a real receiver."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from nurselog import Retry, WorkflowStuck, sleep, step, workflow
from nurselog._flow import strand
from nurselog.abc import LeaseLost
from nurselog.telemetry import Metrics
from tests.engine.rig import in_memory
from tests.telemetry.receiver import Receiver

Clock = trio.testing.MockClock
tries: list[float] = []


@step(name="flaky", retry=Retry(attempts=2, delay=2.5, jitter=0))
async def flaky() -> None:
    tries.append(0)
    if len(tries) == 1:
        raise OSError


@workflow(name="metered")
async def metered() -> None:
    await flaky()
    await sleep(100)


@workflow(name="foreign metered")
async def foreign() -> None:
    await trio.sleep(1)


async def test_what_an_engine_does_is_counted(
    autojump_clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries.clear()
    exporter = OTLPMetricExporter(f"{receiver.url}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics = Metrics(provider)
    monkeypatch.setattr(strand, "LONG_TURN", -1.0)
    async with in_memory(workflows=[metered, foreign], instruments=[metrics], evict_after=5) as engine:
        await engine.run(metered, id="one")
        with pytest.raises(WorkflowStuck):
            await engine.run(foreign, id="two")
    metrics.happened(LeaseLost(workflows=1))
    provider.force_flush()
    provider.shutdown()

    def found(name: str) -> dict[Any, tuple[float, int]]:
        return {
            tuple(value for _, value in sorted(about.items())): (sum_, count)
            for about, sum_, count in receiver.points[f"nurselog.{name}"]
        }

    assert found("workflows.submitted") == {("metered",): (1, 1), ("foreign metered",): (1, 1)}
    assert found("workflows.in_memory") == {("metered",): (0, 0), ("foreign metered",): (0, 0)}
    assert found("workflows.left") == {
        ("metered", "evicted"): (1, 1), ("metered", "ended"): (1, 1), ("foreign metered", "stuck"): (1, 1),
    }  # fmt: skip
    assert found("workflows.stuck") == {("foreign metered",): (1, 1)}
    assert found("workflows.claimed") == {(): (1, 1)}
    assert found("step.retries") == {("flaky",): (1, 1)}
    assert found("step.duration") == {("flaky", "value"): (pytest.approx(2.5), 1)}
    assert found("workflow.duration") == {("metered", "value"): (pytest.approx(102.5), 1)}
    assert found("replay.duration")["metered",][1] == 1
    assert found("replay.events") == {("metered",): (1, 1), ("foreign metered",): (0, 0)}
    assert found("turns")["metered",][0] > 3
    assert found("turns.long")["metered",][0] > 3
    assert found("leases.lost") == {(): (1, 1)}
    rows, commits = found("commit.rows")[()]
    assert rows == 8
    assert commits > 5
    assert found("commit.duration")[()][1] == found("commit.lag")[()][1] == commits
    assert found("commit.bytes")[()][0] > 300


async def test_without_an_sdk_nothing_is_said(autojump_clock: Clock) -> None:
    async with in_memory(workflows=[metered], instruments=[Metrics(NoOpMeterProvider())]) as engine:
        await engine.run(metered, id="one")

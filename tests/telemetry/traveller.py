"""A process that runs a workflow, and dies in the middle when it does so for the first time: URL DATABASE MARKER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from nurselog import open_engine, open_nursery, step, workflow
from nurselog.telemetry import Traces
from nurselog.telemetry.ids import IdGenerator

provider = TracerProvider(id_generator=IdGenerator())
url, database, marker = sys.argv[1], sys.argv[2], Path(sys.argv[3])


@step
async def depart() -> int:
    return os.getpid()


@step
def arrive() -> int:
    if not marker.exists():
        marker.touch()
        provider.force_flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@workflow(name="travel")
async def travel() -> tuple[int, int]:
    async with open_nursery():
        return await depart(), await arrive()


async def main() -> None:
    async with open_engine(f"sqlite:///{database}", [travel], instruments=[Traces(provider)]) as engine:
        with provider.get_tracer("home").start_as_current_span("send off"):
            handle = await engine.submit(travel, id="one")
        departed, arrived = await handle.result()
        assert departed != arrived == os.getpid()


provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
trio.run(main)

"""A receiver, and providers that send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from nurselog.telemetry.ids import IdGenerator
from tests.telemetry.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def make_provider(receiver: Receiver) -> Iterator[Callable[[], TracerProvider]]:
    """Make providers, each as if it were that of another process."""
    made: list[TracerProvider] = []

    def make() -> TracerProvider:
        provider = TracerProvider(id_generator=IdGenerator(), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces")))
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.shutdown()


@pytest.fixture
def provider(make_provider: Callable[[], TracerProvider]) -> TracerProvider:
    return make_provider()

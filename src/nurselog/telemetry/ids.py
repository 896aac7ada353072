"""For the application's tracer provider: ids that nurselog can choose. Needs the SDK."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from .derived import wanted


class IdGenerator(RandomIdGenerator):
    """Gives nurselog's spans the ids that they have in each process, and random ones to all others.

    `TracerProvider(id_generator=IdGenerator())`.
    """

    def generate_span_id(self) -> int:
        """Return a span's id."""
        ids = wanted.get()
        return super().generate_span_id() if ids is None else ids.span

    def generate_trace_id(self) -> int:
        """Return a trace's id."""
        ids = wanted.get()
        return super().generate_trace_id() if ids is None else ids.trace

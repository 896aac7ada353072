"""A receiver of OpenTelemetry's protocol over HTTP, on the loopback interface: what a backend would get."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Sent:
    """A span, as it was sent."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    """Nanoseconds, as `end`."""
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    links: list[tuple[str, str]]
    """Trace and span."""
    failed: str | None
    """What its status says, if it is that of an error."""


def plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def span_of(span: Any) -> Sent:
    return Sent(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        plain(span.attributes),
        [(event.name, event.time_unix_nano, plain(event.attributes)) for event in span.events],
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
    )


class Receiver:
    """What has come."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Sent] = []
        self.points: dict[str, list[tuple[dict[str, Any], float, int]]] = {}
        """By the metric's name: attributes, sum and count of each."""

    def take_spans(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += map(span_of, scope.spans)

    def take_metrics(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data"))
                self.points[metric.name] = [
                    (plain(point.attributes), point.sum, point.count)
                    if metric.HasField("histogram")
                    else (plain(point.attributes), point.as_int, point.as_int)
                    for point in data.data_points
                ]

    def named(self, name: str) -> Sent:
        [found] = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[str]:
        """Return paths of names, each below its parent; sorted."""
        by_id = {span.id: span for span in self.spans}

        def path(span: Sent) -> str:
            return f"{path(by_id[span.parent])}/{span.name}" if span.parent in by_id else span.name

        return sorted(map(path, self.spans))

    def check(self) -> None:
        """See that no span has come twice, and that none ends before it begins."""
        twice = [id for id, count in Counter(span.id for span in self.spans).items() if count > 1]
        assert not twice, [span for span in self.spans if span.id in twice]
        assert all(span.start <= span.end for span in self.spans)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen, in a thread, until the block ends."""
    receiver = Receiver()
    taking = {"/v1/traces": receiver.take_spans, "/v1/metrics": receiver.take_metrics}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taking[self.path](self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()

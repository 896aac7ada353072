"""OpenTelemetry: traces and metrics of workflows, as instruments.

They need `opentelemetry-api` (the extra `telemetry`) and say nothing without an SDK, which the application chooses and
sets up. `nurselog.telemetry.ids` needs the SDK, too.
"""

from __future__ import annotations

from .metrics import Metrics as Metrics
from .traces import Traces as Traces

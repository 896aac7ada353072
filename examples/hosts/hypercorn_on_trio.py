"""Hypercorn in the Trio loop of whoever calls it, until the process is told to stop."""

from __future__ import annotations

import signal
import sys
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

PATIENCE = 2
"""Seconds that requests under way get when the server stops."""


async def serve_until_told(app: Any) -> None:
    """Serve on port 8000, or on the one of the command line."""
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1] if sys.argv[1:] else 8000}"]
    config.graceful_timeout = PATIENCE
    await serve(app, config, shutdown_trigger=told_to_stop)


async def told_to_stop() -> None:
    """Wait for SIGTERM or Control-C."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        await anext(signals)

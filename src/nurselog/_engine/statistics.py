"""How an engine stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of what an engine does."""

    running: int
    """Workflows in memory that have something to do."""
    waiting: int
    """Workflows in memory that only wait for a time."""
    evicted: int
    """Workflows that this engine has put out of memory, since it was opened, because they only waited."""
    stuck: int
    """Workflows that got stuck in this engine, since it was opened."""
    commit_lag: float
    """Seconds that the oldest row has been waiting to become durable."""
    lease_left: float
    """Seconds until other engines may take over what this one runs; math.inf where nobody else could."""

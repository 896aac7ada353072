"""What is measured: the cases, their sizes, who takes part, and the bars that nurselog sets itself."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Peer(enum.Enum):
    """Who takes part; the value is the column's title."""

    SQLITE = "raw sqlite3"
    """One row and one commit for each step, in the same process and thread: the floor that durability costs."""
    DBOS = "dbos"
    """DBOS as it comes, on SQLite."""
    DBOS_WAL = "dbos, wal"
    """DBOS on a database that was switched to WAL before, which is not its default, but fairer."""
    NURSELOG = "nurselog"
    PSYCOPG = "raw psycopg"
    """The same floor on PostgreSQL, on a Unix socket."""
    DBOS_POSTGRES = "dbos, postgres"
    NURSELOG_POSTGRES = "nurselog, postgres"


class Unit(enum.Enum):
    """What the figures of a case mean."""

    RATE = "/s"
    SECONDS = "s"


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    seconds: float
    count: int
    memory: int = 0
    """Bytes that the process grew by; of one that keeps sleepers, all that it has."""
    late: float = 0
    """How many seconds too late all but one of a hundred of the host's ticks came, or one sleeper woke."""
    last: float = 0
    """How many seconds too late the last of many sleepers had ended that were due at the same moment."""
    p99: float = 0
    """Seconds that all but one of a hundred took, where `seconds` is what the one in the middle took."""
    commits: int = 0
    """Transactions of the server."""
    rows: int = 0
    """Rows that they have inserted, changed or removed."""
    wal: int = 0
    """Bytes of write-ahead log of the server."""
    statements: dict[str, int] = field(default_factory=dict[str, int])
    """How often the server was sent which; each is a round trip."""
    engines: float = 0
    """Processors that the engines' processes kept busy."""
    server: float = 0
    """Processors that the server's processes kept busy."""
    machine: float = 0
    """Processors that were busy, whoever it was."""

    @property
    def rate(self) -> float:
        """How many of them in a second."""
        return self.count / self.seconds


Measured = Mapping[Peer, Sample]


@dataclass(frozen=True)
class Bar:
    """What nurselog should reach: at least that many times a peer's rate, or a figure of its own."""

    limit: float
    against: Peer | None = None


@dataclass(frozen=True)
class Case:
    """One row of the comparison."""

    name: str
    title: str
    size: int
    unit: Unit
    bars: tuple[Bar, ...]
    peers: tuple[Peer, ...] = (Peer.DBOS, Peer.DBOS_WAL, Peer.NURSELOG)
    ours: Peer = Peer.NURSELOG
    """Who is judged."""
    crash: bool = False
    """Whether a first process builds the log and is killed, and a second one, which is measured, goes on."""


ALL = (Peer.SQLITE, Peer.DBOS, Peer.DBOS_WAL, Peer.NURSELOG)
ON_POSTGRES = (Peer.PSYCOPG, Peer.DBOS_POSTGRES, Peer.NURSELOG_POSTGRES)
BOTH = (Peer.DBOS_POSTGRES, Peer.NURSELOG_POSTGRES)
OURS = Peer.NURSELOG_POSTGRES


def streams(ours: Peer) -> tuple[Case, ...]:
    """Return what is measured of streams, which nobody else has; `streaming` has the programs."""
    return (
        Case("stream", "a stream of {:,} items", 50_000, Unit.RATE, (Bar(50_000),), (ours,), ours),
        Case("stream_in_a_step", "the same from a step", 50_000, Unit.RATE, (Bar(50_000),), (ours,), ours),
        Case("stream_one_by_one", "the same, with a checkpoint each", 20_000, Unit.RATE, (), (ours,), ours),
        Case("stream_read", "from a step, and read in its process", 50_000, Unit.RATE, (), (ours,), ours),
        Case("item", "an item to its reader, p50 of {:,}", 300, Unit.SECONDS, (Bar(0.005),), (ours,), ours),
    )


COMPARED = (
    Case("sequential", "{:,} sequential steps", 1_000, Unit.RATE, (Bar(0.4, Peer.SQLITE), Bar(5, Peer.DBOS)), ALL),
    Case("concurrent", "{:,} concurrent steps", 1_000, Unit.RATE, (Bar(10_000), Bar(30, Peer.DBOS))),
    Case("workflows", "{:,} workflows of 5 steps", 1_000, Unit.RATE, (Bar(2_000), Bar(20, Peer.DBOS))),
    Case("replay", "replay of {:,} steps", 5_000, Unit.SECONDS, (Bar(0.1),), crash=True),
    Case("recovery", "recovery of {:,} workflows", 1_000, Unit.SECONDS, (Bar(1.0),), crash=True),
    *streams(Peer.NURSELOG),
)
COMPARED_ON_POSTGRES = (
    Case("sequential", "{:,} sequential steps", 1_000, Unit.RATE, (Bar(0.8, Peer.PSYCOPG),), ON_POSTGRES, OURS),
    Case("concurrent", "{:,} concurrent steps", 1_000, Unit.RATE, (Bar(10_000),), BOTH, OURS),
    Case("workflows", "{:,} workflows of 5 steps", 1_000, Unit.RATE, (Bar(2_000),), BOTH, OURS),
    Case("replay", "replay of {:,} steps", 5_000, Unit.SECONDS, (Bar(0.1),), BOTH, OURS, crash=True),
    Case("recovery", "recovery of {:,} workflows", 1_000, Unit.SECONDS, (Bar(1.0),), BOTH, OURS, crash=True),
    Case("single", "a workflow of one step, p50 of {:,}", 300, Unit.SECONDS, (Bar(0.002),), BOTH, OURS),
    Case("message", "a message in, and the workflow out, p50 of {:,}", 300, Unit.SECONDS, (Bar(0.003),), BOTH, OURS),
    Case("cancel", "a step of another process cancelled, p50 of {:,}", 200, Unit.SECONDS, (Bar(0.004),), BOTH, OURS),
    Case("cancel_all", "{:,} of them at once, p50", 1_000, Unit.SECONDS, (), (OURS,), OURS),
    *streams(OURS),
)
"""The same on PostgreSQL."""

STREAMS = frozenset(case.name for case in streams(OURS))

SERVER = (
    ("server_sequential", "steps one after another", 1_000),
    ("server_concurrent", "steps at the same time", 1_000),
    ("server_workflows", "workflows of 5 steps", 1_000),
    ("server_children", "children of no step, one after another", 300),
)
"""What they cost the server."""

IDLE = (
    ("idle", "an engine with nothing to do", 0, BOTH),
    ("idle", "an engine with {:,} workflows that wait", 1_000, (OURS,)),
    ("listening", "an engine with {:,} workflows that wait for a message", 5_000, BOTH),
    ("listening_evicted", "the same, out of memory", 5_000, (OURS,)),
    ("beside_a_busy_one", "a busy engine", 0, (OURS,)),
    ("beside_a_busy_one", "the same, with {} beside it that have nothing to do", 2, (OURS,)),
)
"""What costs the server something although nothing happens, and what a busy engine makes idle ones ask."""

SETTLE, WINDOW = 12, 30
"""Seconds: how long connections take to hand in all that they have counted, and how long is then counted."""

SCALING = (("one_engine", 1), ("two_engines", 2), ("four_engines", 4))
"""How many processes work off the same store."""
SCALING_WORKFLOWS = 2_000


@dataclass(frozen=True)
class Series:
    """A figure of nurselog alone, over several sizes: what is linear has the same cost each in all of them."""

    name: str
    title: str
    sizes: tuple[int, ...]


GROWTH = (
    Series("steps", "steps in one workflow", (100, 1_000, 10_000, 100_000)),
    Series("alive", "workflows alive at once", (100, 1_000, 10_000, 100_000)),
    Series("alive_tuned", "the same, with gc.set_threshold(50_000, 20, 100)", (1_000, 10_000, 100_000)),
    Series("messages", "messages to one workflow", (1_000, 10_000)),
    Series("asleep", "workflows asleep, out of memory", (1_000, 10_000, 100_000)),
    Series("everywhere", "events in a workflow that dies after each of them", (100, 1_000)),
)

SLEEPERS = Series("sleepers", "workflows asleep in PostgreSQL", (10_000, 100_000, 1_000_000))
"""So many rows, and hardly anything in memory."""

HOST = (
    ("host_alone", "no engine"),
    ("host_idle", "an open engine"),
    ("host_waiting", "an engine with 1,000 workflows that wait"),
    ("host_busy", "an engine with workflows that never rest"),
)
HOST_CHECKPOINTS = 200_000
COMPARISONS = (*COMPARED, *COMPARED_ON_POSTGRES)
NAMES = (*dict.fromkeys(one.name for one in (*COMPARISONS, *GROWTH)), "host", "server", "idle", "sleepers", "scaling")

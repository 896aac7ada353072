"""What an open store holds: its connections, the worker that has entered, and what it does not know the outcome of."""

from __future__ import annotations

import dataclasses
import secrets
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from ..._errors import UsageError
from ...abc import Clock, Lease, WorkflowKey
from .address import MOST_SHARDS, Address, parse
from .binary import Parameter, int8
from .driver import DatabaseError, TrioConnection, conninfo_of
from .faults import COLLISION, translate
from .migrations import Layout
from .pool import Pool, connect
from .voice import Voice

T = TypeVar("T")

SETTINGS = {
    "client_encoding": "utf8",
    "connect_timeout": "10",
    # A network that drops packets says nothing: these find it out within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""For `libpq`, where the address does not say otherwise."""

WRITERS, READERS = 4, 3
"""Connections: batches of different shards are written side by side; nothing else must wait for a batch."""

TRIES = 50
"""How often what has collided is tried. Each collision is with a takeover that is over then."""


@dataclasses.dataclass
class Session:
    """An open store."""

    address: Address
    lease: Lease
    lease_clock: Clock | None
    """Tells the time for leases; None: the database does."""
    shards: int
    writers: Pool
    readers: Pool
    voice: Voice
    lost: bool = False
    """Whether the worker was removed, from any shard, or was to be entered anew, and nobody has been told yet."""
    unanswered: set[tuple[int, int]] = dataclasses.field(default_factory=set[tuple[int, int]])
    """Claims whose outcome is unknown: shard, and the claim's number."""
    claims: int = dataclasses.field(default_factory=lambda: secrets.randbits(61))
    """The number of the newest claim. They ascend, so that one that comes late is known; writers are made of them."""

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.lease.worker

    @property
    def lease_now(self) -> Parameter:
        """The time for leases, or NULL where the database knows it."""
        return int8(None if self.lease_clock is None else self.lease_clock.utc())

    def shard_of(self, id: str) -> int:
        """Return the shard of a workflow and its whole family: by the root's id."""
        return hash_of_family(id) % self.shards

    def close(self) -> None:
        """Close all connections."""
        self.voice.close()
        self.writers.close()
        self.readers.close()


def hash_of_family(id: str) -> int:
    """Return what the shard of a workflow follows from: a hash of its root's id, 32 bits."""
    return zlib.crc32(id.partition("/")[0].encode("utf-8", "surrogatepass"))


def shard_of_key(key: WorkflowKey) -> int:
    """Return the shard of a workflow; its key has it in it."""
    return key % MOST_SHARDS


def conninfo_for(address: Address, worker: str, role: str, layout: Layout = Layout()) -> str:  # noqa: B008 - it is frozen
    """Return what `libpq` is told for one of the store's connections.

    Raises:
        DatabaseError: if it does not understand the address.
    """
    settings = {
        "search_path": address.schema,
        # Plans that fit every batch: planning each one anew costs more than running it. Not so with Citus, which must
        # see the shard to know where to send a statement.
        "plan_cache_mode": "auto" if layout.distributed else "force_generic_plan",
        # They are made when a table may be empty, and kept when it is not any more: always by an index, row by row.
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "default_transaction_isolation": r"read\ committed",
    }
    if not address.durable:
        settings["synchronous_commit"] = "off"
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    name = f"nurselog {role} {worker}"[:63]
    return conninfo_of(address.conninfo, options=options, application_name=name, **SETTINGS)


def conninfo_for_bodies(given: str, *, durable: bool = True) -> str:
    """Return what `libpq` is told for connections on which the application's transactions run: theirs are its settings.

    Raises:
        DatabaseError: if it does not understand the address.
    """
    options = {} if durable else {"options": "-c synchronous_commit=off"}
    return conninfo_of(given, application_name="nurselog transactions", **options, **SETTINGS)


def address_of(url: str) -> Address:
    """Return where an address points to.

    Raises:
        UsageError: if it points nowhere, or `libpq` does not understand it.
    """
    address = parse(url)
    try:
        conninfo_for(address, "", "")
    except DatabaseError as error:
        raise not_understood(url, address.shown, error) from None
    return address


def not_understood(url: str, shown: str, error: DatabaseError) -> UsageError:
    """Return the error for an address that `libpq` does not understand."""
    why = f": {error}".rstrip() if shown == url else "; why cannot be shown, since it quotes the password"
    return UsageError(f"{shown!r} is no address that PostgreSQL's client understands{why}")


@asynccontextmanager
async def connected(address: Address, role: str) -> AsyncGenerator[TrioConnection]:
    """Connect for something that needs no engine; what the database says comes out as the store's error.

    Raises:
        StoreError: what the database says.
    """
    try:
        connection = await connect(conninfo_for(address, "", role))
        try:
            yield connection
        finally:
            connection.discard()
    except DatabaseError as error:
        raise translate(error, address.shown) from error


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while it collides with somebody else's: each time, what it collided with is over."""
    for _ in range(TRIES - 1):
        try:
            return await call()
        except DatabaseError as error:
            if error.sqlstate != COLLISION:
                raise
    return await call()

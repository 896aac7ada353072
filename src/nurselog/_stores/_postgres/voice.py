"""How stores on one database tell each other that there is something to look at: LISTEN and NOTIFY.

Why not in the transaction that writes? A transaction with a notification takes a lock of the whole server from before
its commit until it is durable: all of them then wait for the disk one after another, and nothing can be committed in
groups any more. So it is said afterwards, by the connection that listens, in a transaction that has nothing to flush.
What gets lost on that way (a process that dies in between, a connection that breaks) is found by looking without
having been told, every few seconds.

There are two things to say. *Mail* is for the owner of a workflow, and is said and heard at once. *News* is for
everybody: something is due and has no owner, or has ended. It is said and heard at once, too, but then not again for a
moment, so that a busy engine does not keep the others busy.

The same connection holds the worker's beacon, by which others see that its process lives (see `workers`).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from contextlib import suppress

import trio

from .binary import column, int4, number, text, texts
from .driver import DatabaseError, TrioConnection
from .pool import connect

PAUSE = 0.05
"""Seconds from one piece of news to the next, said or heard."""

POLL = 5.0
"""Seconds after which one looks without having been told."""

_NEWS = "news"

_TELL = b"SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word"

_LIGHT = b"SELECT light_beacon($1, $2)"


class Voice:
    """Tells others, and hears them.

    Args:
        conninfo: what `libpq` is told.
        channel: the name under which the stores of one schema hear each other.
        worker: for whom mail is heard.
    """

    def __init__(self, conninfo: str, channel: str, worker: str) -> None:
        self._conninfo, self._channel, self._worker = conninfo, channel, worker
        self._connection: TrioConnection | None = None
        self.beacon: int = 0
        """The number of the lock that says that this process lives."""
        self.lit_since: int | None = None
        """When the server was started in which it is lit; None: it is not."""
        self._to_say: set[str] = set()
        self._told = self._heard = -math.inf
        """When news was said and heard last, by Trio's clock."""
        self._waiting: trio.CancelScope | None = None

    async def mail(self, connection: TrioConnection, worker: str) -> None:
        """Tell a worker that there is a message for a workflow that it owns.

        Somebody waits for it. So if the one who listens is busy elsewhere, it is told on another connection; if that
        breaks, later.
        """
        self._say(worker)
        if not self._waiting:
            with suppress(DatabaseError):
                await self._send(connection, [worker])
                self._to_say.discard(worker)

    def news(self) -> None:
        """Tell everybody that something is due, or has ended."""
        self._say(_NEWS, self._told + PAUSE)

    def _say(self, word: str, when: float = -math.inf) -> None:
        """Have it said, not before a time; a deadline that is moved wakes nobody for what cannot be said yet."""
        self._to_say.add(word)
        if self._waiting:
            self._waiting.deadline = min(self._waiting.deadline, when)

    async def wait(self) -> None:
        """Wait until there may be something to look at, and tell others what there is to tell meanwhile.

        A checkpoint. Cancelling it loses nothing.

        Raises:
            DatabaseError: if the connection was lost, and none can be made.
        """
        if self._connection is not None:
            try:
                await self._converse(self._connection)
            except DatabaseError:
                self.close()
            else:
                return
        await self.connect()  # whatever was said meanwhile, nobody has heard it: there may be something

    async def connect(self) -> None:
        """Connect, listen, and light the beacon.

        A checkpoint.

        Raises:
            DatabaseError: if that cannot be done.
        """
        connection = await connect(self._conninfo)
        try:
            await connection.run_script(f'LISTEN "{self._channel}"')
            self.beacon = secrets.randbits(31)
            lit = await connection.call(_LIGHT, [text(self._worker), int4(self.beacon)])
        except BaseException:
            connection.discard()
            raise
        [self.lit_since] = column(lit, 0, number)
        self._connection = connection

    async def _converse(self, connection: TrioConnection) -> None:
        pid = connection.info.backend_pid
        until, news = trio.current_time() + POLL, False
        while True:
            await self._tell(connection)
            now = trio.current_time()
            if news and now >= self._heard + PAUSE:
                self._heard = now
                return
            if now >= until:
                return
            # Not longer than until what has been held back may be said or heard.
            soon = min(self._told + PAUSE if self._to_say else math.inf, self._heard + PAUSE if news else math.inf)
            words: Sequence[str] = ()
            try:
                with trio.CancelScope(deadline=min(until, soon)) as self._waiting:
                    words = [word.payload for word in await connection.wait_notifies() if word.pid != pid]
            finally:
                self._waiting = None
            if self._worker in words:
                return
            news = news or _NEWS in words

    async def _tell(self, connection: TrioConnection) -> None:
        while ready := self._ready():
            self._to_say -= ready
            await self._send(connection, sorted(ready))

    def _ready(self) -> set[str]:
        """Return what may be said now."""
        now = trio.current_time()
        if _NEWS in self._to_say and now >= self._told + PAUSE:
            self._told = now
            return set(self._to_say)
        return self._to_say - {_NEWS}

    async def _send(self, connection: TrioConnection, words: Sequence[str]) -> None:
        await connection.call(_TELL, [text(self._channel), texts(words)])

    async def farewell(self, connection: TrioConnection) -> None:
        """Tell everybody that a worker has left, on another connection."""
        await self._send(connection, [_NEWS])

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.discard()
            self._connection = self.lit_since = None

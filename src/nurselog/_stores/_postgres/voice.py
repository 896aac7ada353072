"""How stores on one database tell each other that there is something to look at: LISTEN and NOTIFY.

Why not in the transaction that writes? A transaction with a notification takes a lock of the whole server from before
its commit until it is durable: all of them then wait for the disk one after another, and nothing can be committed in
groups any more. So it is said afterwards, by the connection that listens, in a transaction that has nothing to flush.
What gets lost on that way (a process that dies in between, a connection that breaks) is found by looking without
having been told, every few seconds.

There are two things to say. *Mail* is for the owner of a workflow, and is said and heard at once. *News* is for
everybody: something is due and has no owner, or has ended. It is said and heard at once, too, but then not again for a
moment, so that a busy engine does not keep the others busy; and it says which of the two, since who waits for no end
need not look.

The same connection holds the worker's beacon, by which others see that its process lives (see `workers`).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from contextlib import suppress

import trio

from ...abc import Change
from .binary import column, int4, number, text, texts
from .driver import DatabaseError, TrioConnection
from .pool import connect

PAUSE = 0.05
"""Seconds from one piece of news to the next, said or heard."""

POLL = 5.0
"""Seconds after which one looks without having been told."""

_NEWS = {change.value for change in Change if change is not Change.MESSAGE}

_TELL = b"SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word"

_LIGHT = b"SELECT light_beacon($1, $2)"


class Voice:
    """Tells others, and hears them.

    Args:
        conninfo: what `libpq` is told.
        channel: the name under which the stores of one schema hear each other.
        worker: for whom mail is heard, and whose beacon is lit; None: a guest, for whom there is none.
    """

    def __init__(self, conninfo: str, channel: str, worker: str | None) -> None:
        self._conninfo, self._channel = conninfo, channel
        self.worker: str | None = worker
        self._connection: TrioConnection | None = None
        self.beacon: int = 0
        """The number of the lock that says that this process lives."""
        self.lit_since: int | None = None
        """When the server was started in which it is lit; None: it is not."""
        self._to_say: set[str] = set()
        self._to_hear: set[Change] = set()
        self._told = self._heard = self._looked = -math.inf
        """When news was said and heard last, and when one last looked without having been told, by Trio's clock."""
        self._waiting: trio.CancelScope | None = None

    async def mail(self, connection: TrioConnection, workers: set[str]) -> None:
        """Tell workers that there are messages for workflows that they own.

        Somebody waits for them. So if the one who listens is busy elsewhere, it is told on another connection; if that
        breaks, later. This worker itself is not told: it has left them.
        """
        others = workers - {self.worker}
        if others and self._waiting:
            self._say(others, -math.inf)
        elif others:
            with suppress(DatabaseError):
                await self._send(connection, sorted(others))

    def news(self, changes: set[Change]) -> None:
        """Tell everybody that something is due, or has ended."""
        if changes:
            self._say({change.value for change in changes}, self._told + PAUSE)

    def _say(self, words: set[str], when: float) -> None:
        """Have words said, not before a time."""
        self._to_say |= words
        self._wake(when)

    def _wake(self, when: float) -> None:
        """Let the one who waits look at a time; a deadline that is moved wakes nobody for what cannot be done yet."""
        if self._waiting:
            self._waiting.deadline = min(self._waiting.deadline, when)

    async def wait(self) -> frozenset[Change]:
        """Wait until there may be something to look at, and tell others what there is to tell meanwhile.

        A checkpoint. Cancelling it loses nothing.

        Raises:
            DatabaseError: if the connection was lost, and none can be made.
        """
        if self._connection is not None:
            try:
                return await self._converse(self._connection)
            except DatabaseError:
                self.close()
        await self.connect()
        return frozenset(Change)  # whatever was said meanwhile, nobody has heard it

    async def connect(self) -> None:
        """Connect, listen, and light the beacon.

        A checkpoint.

        Raises:
            DatabaseError: if that cannot be done.
        """
        connection = await connect(self._conninfo)
        try:
            await connection.run_script(f'LISTEN "{self._channel}"')
            if self.worker is not None:
                self.beacon = secrets.randbits(31)
                lit = await connection.call(_LIGHT, [text(self.worker), int4(self.beacon)])
                [self.lit_since] = column(lit, 0, number)
        except BaseException:
            connection.discard()
            raise
        self._connection, self._looked = connection, trio.current_time()

    async def _converse(self, connection: TrioConnection) -> frozenset[Change]:
        pid = connection.info.backend_pid
        while True:
            await self._tell(connection)
            now = trio.current_time()
            if now >= self._looked + POLL:
                self._looked = now
                self._to_hear.update(Change)
            if Change.MESSAGE in self._to_hear or (self._to_hear and now >= self._heard + PAUSE):
                self._heard = now
                heard, self._to_hear = frozenset(self._to_hear), set()
                return heard
            # Not longer than until what has been held back may be said or heard.
            said = self._told + PAUSE if self._to_say else math.inf
            heard_again = self._heard + PAUSE if self._to_hear else math.inf
            try:
                with trio.CancelScope(deadline=min(self._looked + POLL, said, heard_again)) as self._waiting:
                    self._hear([word.payload for word in await connection.wait_notifies() if word.pid != pid])
            finally:
                self._waiting = None

    def _hear(self, words: Sequence[str]) -> None:
        self._to_hear.update(Change(word) for word in words if word in _NEWS)
        if self.worker in words:
            self._to_hear.add(Change.MESSAGE)

    async def _tell(self, connection: TrioConnection) -> None:
        while ready := self._ready():
            self._to_say -= ready
            await self._send(connection, sorted(ready))

    def _ready(self) -> set[str]:
        """Return what may be said now."""
        now = trio.current_time()
        if self._to_say & _NEWS and now >= self._told + PAUSE:
            self._told = now
            return set(self._to_say)
        return self._to_say - _NEWS

    async def _send(self, connection: TrioConnection, words: Sequence[str]) -> None:
        """Say words; those that are cut short are said later."""
        try:
            await connection.call(_TELL, [text(self._channel), texts(words)])
        except BaseException:
            self._say(set(words), -math.inf)
            raise

    async def farewell(self, connection: TrioConnection) -> None:
        """Tell everybody that a worker has left, on another connection; a guest tells what it has not told yet."""
        if words := self._to_say if self.worker is None else _NEWS:
            await self._send(connection, sorted(words))

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.discard()
            self._connection = self.lit_since = None

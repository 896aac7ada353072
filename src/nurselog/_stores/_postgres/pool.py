"""Connections to lend: few, made when they are needed, and let go of when one of them turns out to be broken.

Why not `psycopg_pool`? Its async half is asyncio's. And there is little to do: a semaphore, and a list.
"""

from __future__ import annotations

import trio

from .driver import TrioConnection


class Pool:
    """Lends connections, each to one task at a time.

    Args:
        conninfo: what `libpq` is told.
        size: how many there are at most.
    """

    def __init__(self, conninfo: str, size: int) -> None:
        self._conninfo = conninfo
        self._places = trio.Semaphore(size)
        self._idle: list[TrioConnection] = []
        self._closed = False

    async def take(self) -> TrioConnection:
        """Borrow a connection; whoever does must `give_back` it.

        A checkpoint only if it has to wait, and then it may be cancelled.

        Raises:
            DatabaseError: if there is none, and none can be made.
        """
        try:
            self._places.acquire_nowait()  # a checkpoint more would cost as much as all the rest of this
        except trio.WouldBlock:
            await self._places.acquire()
        if self._idle:
            return self._idle.pop()
        try:
            return await connect(self._conninfo)
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: TrioConnection) -> None:
        """Return a connection that was taken, in whatever state it is."""
        self._idle.append(connection)
        if self._closed or not connection.is_at_rest:
            # What broke it has probably broken the others, too: let no call find that out one by one.
            self._drop()
        self._places.release()

    def close(self) -> None:
        """Close what is not lent now, and what is when it is given back."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        while self._idle:
            self._idle.pop().discard()


async def connect(conninfo: str) -> TrioConnection:
    """Connect; each statement is a transaction by itself."""
    return await TrioConnection.connect(conninfo, autocommit=True, prepare_threshold=None)

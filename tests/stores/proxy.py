"""A network that fails where a test wants it to: a proxy that knows PostgreSQL's messages.

It passes on whole messages, and counts them in both directions. It can cut a connection before, within and behind any
of them, and it can hold a connection: nothing comes through any more, in either direction, and nobody is told. What was
held can be let go later, also when whoever sent it has given up and hung up: networks do deliver late.
"""

from __future__ import annotations

import enum
from contextlib import suppress
from functools import partial

import trio
from psycopg.conninfo import conninfo_to_dict


class Where(enum.Enum):
    """Where a connection is cut; the value is how much of the message comes through."""

    BEFORE = 0.0
    WITHIN = 0.5
    BEHIND = 1.0


class CutError(Exception):
    """This connection is over."""


class Link:
    """A connection through the proxy."""

    def __init__(self) -> None:
        self.free = trio.Event()
        """Unset while nothing comes through."""
        self.free.set()


class Proxy:
    """Lets messages through, but for those that a test has something against.

    Args:
        url: the server's address.
    """

    def __init__(self, url: str) -> None:
        told = conninfo_to_dict(url)
        self._host, self._port = str(told["host"]), int(str(told.get("port", 5432)))
        self._database, self._user = told["dbname"], told["user"]
        self._left: int | None = None
        self._where = Where.BEFORE
        self._links: set[Link] = set()
        self._own_port = 0

    @property
    def url(self) -> str:
        """The address of the database, through this proxy."""
        plain = "sslmode=disable&gssencmode=disable"
        return f"postgresql://{self._user}@127.0.0.1:{self._own_port}/{self._database}?{plain}"

    def cut(self, messages: int, where: Where) -> None:
        """Let so many messages through, and cut the connection at the next one."""
        self._left, self._where = messages, where

    def disarm(self) -> bool:
        """Cut nothing; return whether what was to be cut was."""
        left, self._left = self._left, None
        return left is None

    def hold(self) -> trio.Event:
        """Hold all connections that there are, until the event is set. Those that come later are not held."""
        free = trio.Event()
        for link in self._links:
            link.free = free
        return free

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever."""
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, self._connect, 0, host="127.0.0.1"))
            self._own_port = listener.socket.getsockname()[1]
            task_status.started()

    async def _connect(self, client: trio.SocketStream) -> None:
        link = Link()
        self._links.add(link)
        # Whoever is cut off or hangs up is told by the end of the connection, and so is the other side.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with client, await self._server() as server:
                with suppress(CutError):
                    await self._join(link, client, server)
        self._links.discard(link)

    async def _server(self) -> trio.SocketStream:
        if self._host.startswith("/"):
            return await trio.open_unix_socket(f"{self._host}/.s.PGSQL.{self._port}")
        return await trio.open_tcp_stream(self._host, self._port)

    async def _join(self, link: Link, client: trio.SocketStream, server: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, link, Messages(server, typed=True), client)
                await self._pump(link, Messages(client, typed=False), server)
                nursery.cancel_scope.cancel()
        except* (CutError, trio.BrokenResourceError):
            raise CutError from None

    async def _pump(self, link: Link, source: Messages, sink: trio.SocketStream) -> None:
        while (message := await source.next()) is not None:
            await link.free.wait()
            if self._left == 0:
                self._left = None
                await sink.send_all(message[: int(len(message) * self._where.value)])
                raise CutError
            if self._left:
                self._left -= 1
            await sink.send_all(message)


class Messages:
    """Takes what comes apart; a client's first message has no type, only a length."""

    def __init__(self, stream: trio.SocketStream, *, typed: bool) -> None:
        self._stream, self._typed = stream, typed
        self._data = b""

    async def next(self) -> bytes | None:
        """Return the next message; None: there is none any more."""
        while True:
            head = 5 if self._typed else 4
            if len(self._data) >= head:
                length = int.from_bytes(self._data[head - 4 : head], "big") + head - 4
                if len(self._data) >= length:
                    message, self._data, self._typed = self._data[:length], self._data[length:], True
                    return message
            piece = await self._stream.receive_some()
            if not piece:
                return None
            self._data += piece

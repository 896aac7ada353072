"""Three HTTP mirrors of a folder, on loopback, that misbehave as `temper` says.

A connection is a loop of h11 events over a Trio stream: one request, one answer, the next request. A fault that breaks
the protocol ends the connection, as it would in the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote

import h11
import trio

from .temper import TEMPERS, Fault, Temper, mood

_CHUNK = 65536


class Mirror:
    """One mirror of a folder.

    Attributes:
        served: requests by path.
        faults: answers by kind.
    """

    def __init__(self, root: Path, temper: Temper, seed: int) -> None:
        self.root: Path = root
        self.temper: Temper = temper
        self.seed: int = seed
        self.served: Counter[str] = Counter()
        self.faults: Counter[Fault] = Counter()

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port of loopback until cancelled; report the URL when connections are accepted."""
        async with trio.open_nursery() as nursery:
            listeners: Sequence[trio.SocketListener] = await nursery.start(
                partial(trio.serve_tcp, self.converse, 0, host="127.0.0.1")
            )
            task_status.started(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")

    async def converse(self, stream: trio.abc.Stream) -> None:
        """Answer one client's requests until it hangs up, or until a fault ends the connection."""
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _next_request(connection, stream)) is not None:
                if not await self._answer(connection, stream, request):
                    return
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.ProtocolError):
            return  # the client hung up: a cancelled download, or a killed worker

    async def _answer(self, connection: h11.Connection, stream: trio.abc.Stream, request: h11.Request) -> bool:
        """Answer one request; return whether the connection can serve another."""
        path = unquote(request.target.decode("ascii")).lstrip("/")
        file = self.root / path
        if ".." in Path(path).parts or not file.is_file():
            return await _send(connection, stream, HTTPStatus.NOT_FOUND, b"")
        self.served[path] += 1
        today = mood(self.temper, path, self.served[path], self.seed)
        self.faults[today.fault] += 1
        await trio.sleep(today.delay)
        return await _perform(connection, stream, today.fault, file.read_bytes())


async def _perform(connection: h11.Connection, stream: trio.abc.Stream, fault: Fault, body: bytes) -> bool:
    match fault:
        case Fault.REFUSE:
            return await _send(connection, stream, HTTPStatus.SERVICE_UNAVAILABLE, b"come back later")
        case Fault.CORRUPT:
            return await _send(connection, stream, HTTPStatus.OK, corrupt(body))
        case Fault.CUT:
            await _send_half(connection, stream, body)
            return False
        case Fault.STALL:
            await _send_half(connection, stream, body)
            await stream.receive_some(1)  # until the client hangs up: what it sends before is no concern
            return False
        case Fault.NONE:
            return await _send(connection, stream, HTTPStatus.OK, body)
        case _:
            assert_never(fault)


def corrupt(body: bytes) -> bytes:
    """Return other bytes than `body`, of the same length unless that is none."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else b"\0"


async def _next_request(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """Return the next request once it is complete; None if the client has gone."""
    request: h11.Request | None = None
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
            case h11.Request() as request:
                pass
            case h11.EndOfMessage():
                return request
            case h11.Data():
                pass
            case _:
                return None


async def _send(connection: h11.Connection, stream: trio.abc.Stream, status: HTTPStatus, body: bytes) -> bool:
    await _send_head(connection, stream, status, len(body))
    await stream.send_all(connection.send(h11.Data(data=body)) or b"")
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
    return connection.our_state is h11.DONE


async def _send_half(connection: h11.Connection, stream: trio.abc.Stream, body: bytes) -> None:
    """Promise the whole body and send half of it; of an empty one, promise a byte."""
    await _send_head(connection, stream, HTTPStatus.OK, max(len(body), 1))
    await stream.send_all(connection.send(h11.Data(data=body[: len(body) // 2])) or b"")


async def _send_head(connection: h11.Connection, stream: trio.abc.Stream, status: HTTPStatus, length: int) -> None:
    head = h11.Response(status_code=status, reason=status.phrase.encode(), headers=[("Content-Length", str(length))])
    await stream.send_all(connection.send(head) or b"")


async def start_mirrors(nursery: trio.Nursery, root: Path, seed: int) -> dict[str, str]:
    """Start all mirrors of `root` in `nursery`; return their URLs by name. They run until the nursery is cancelled."""
    return {temper.name: await nursery.start(Mirror(root, temper, seed).serve) for temper in TEMPERS}

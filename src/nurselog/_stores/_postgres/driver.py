"""psycopg under Trio. This module is the only one that knows how.

The problem: psycopg's `AsyncConnection` runs on asyncio. Its core does not: each exchange with the server is a
generator that yields what it waits for, the socket readable or writable, and somebody else waits.

What does not work:

- A thread for each statement: longer by a half for a single one, and a statement in a thread cannot be cancelled.
- asyncio beside Trio (`trio-asyncio`): half as fast. And asyncio's cancellation comes once and Trio's stays: what
  psycopg cleans up after a cancellation is cancelled in its turn, silently, and a rollback is never sent.
- `libpq` alone (`psycopg.pq`), with no `Connection`: the fastest, and nobody could be given a cursor on it.

The choice: `TrioConnection`, an `AsyncConnection` in which whatever touches asyncio is replaced: the lock, the wait,
connecting, cancelling. Cursors, adaptation, COPY, server cursors and pipelines are psycopg's own. Statements that are
hot go past the cursor (`call`), down to `libpq`: what a cursor does for each of them costs as much as the server does.

Some of what is replaced is not promised to stay: the constructor, `lock`, `wait(generator, ...)`, the generators'
protocol, `errors.error_from_result`. So the versions of psycopg have an upper bound, and a canary
test walks through all of it (`tests/stores/test_postgres_driver.py`).

**Cancellation.** A statement that is being waited for is on its way, and leaving the wait does not stop it: measured,
nearly all cancelled inserts had been committed. So when a wait is left, the server is asked to cancel, what it answers
is drained, and only then does the cancellation go on; the connection is idle again. All of that is shielded from the
very cancellation that it answers, and has a deadline, for a server may be silent; when it is over, or in pipeline mode,
where there is no telling which answer belongs to what, the connection is closed. Never is one left in doubt. What must
be caught is `BaseException`: groups of `Cancelled` come out of nurseries, and `except trio.Cancelled` lets them pass.

**Connecting** happens in a thread, by psycopg's sync class, whose `libpq` connection is then adopted. Doing it natively
(`connect_start`, `connect_poll`) looks better and is not: `libpq` looks names up, and reads password and service files,
in the calling thread; and what psycopg adds (several hosts, time limits) is behind asyncio. A store connects three
times in its life. It must be that class: `pq.PGconn.connect` holds the GIL until the server answers.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast

import psycopg
import trio
from psycopg import errors, pq
from psycopg.abc import AdaptContext, ConnParam
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import AsyncRowFactory, tuple_row

T = TypeVar("T")
C = TypeVar("C", bound="TrioConnection")
DatabaseError = psycopg.Error
"""What the database says, or that it says nothing any more; `sqlstate` says which, and is None for the latter."""

Exchange = Generator[int, int, T]
"""One of psycopg's generators: yields what it waits for, and wants to be told what is ready."""

READ, WRITE = 1, 2
"""Bits of what is waited for, and of what is ready; both is 3, nothing yet is 0."""

PATIENCE = 5.0
"""Seconds that the server has to answer a cancellation, or the end of a transaction."""

_TUPLES = cast("AsyncRowFactory[Any]", tuple_row)

_DONE = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class Sockets(Protocol):
    """How this module waits."""

    async def connect(self, connect: Callable[[], T]) -> T:
        """Run a function that blocks until there is a connection."""
        ...

    async def ready(self, fd: int, wanted: int) -> int:
        """Wait until a socket is readable or writable, and return which. A checkpoint."""
        ...


class TrioSockets:
    """Waits as Trio does."""

    async def connect(self, connect: Callable[[], T]) -> T:
        """Run it in a thread; when this is cancelled it is abandoned, and closed by whoever collects garbage."""
        return await trio.to_thread.run_sync(connect, abandon_on_cancel=True)

    async def ready(self, fd: int, wanted: int) -> int:
        """Wait until the socket is readable or writable."""
        if wanted == READ:
            await trio.lowlevel.wait_readable(fd)
            return READ
        # Nearly always it is writable at once, and two tasks for one wait are dear.
        ready = poll(fd, wanted)
        if ready:
            await trio.lowlevel.checkpoint()
        elif wanted == WRITE:
            await trio.lowlevel.wait_writable(fd)
            ready = WRITE
        else:
            await _wait_for_either(fd)
            ready = poll(fd, wanted)
        return ready


async def _wait_for_either(fd: int) -> None:
    async def first(wait: Callable[[int], Any]) -> None:
        await wait(fd)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first, trio.lowlevel.wait_readable)
        nursery.start_soon(first, trio.lowlevel.wait_writable)


def poll(fd: int, wanted: int, milliseconds: int = 0) -> int:
    """Return which of what is wanted is ready; a socket that has failed is readable."""
    look = select.poll()
    look.register(fd, (select.POLLIN if wanted & READ else 0) | (select.POLLOUT if wanted & WRITE else 0))
    events = dict(look.poll(milliseconds)).get(fd, 0)
    read = READ if events & ~select.POLLOUT else 0
    return (read | (WRITE if events & select.POLLOUT else 0)) & wanted


async def drive(exchange: Exchange[T], fd: int, sockets: Sockets) -> T:
    """Run one of psycopg's generators to its end; one that was left in the middle goes on. Always lets others run."""
    waited = False
    try:
        wanted = next(exchange)
        while True:
            ready = await sockets.ready(fd, wanted)
            waited = True
            wanted = exchange.send(ready)
    except StopIteration as end:
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return cast("T", end.value)


class TrioConnection(psycopg.AsyncConnection[Any]):
    """A connection whose cursors, transactions and pipelines are psycopg's, and whose waits are Trio's.

    Not constructed directly: use `await TrioConnection.connect(...)`.
    """

    sockets: Sockets = TrioSockets()
    """How it waits; tests in virtual time wait in another way."""
    patience: float | None = None
    """Seconds that the beginning and the end of a transaction may take; None: `PATIENCE`."""

    def __init__(self, pgconn: Any, row_factory: AsyncRowFactory[Any] = _TUPLES) -> None:
        super().__init__(pgconn, row_factory)
        self.lock: Any = trio.Lock()
        self._heard: list[psycopg.Notify] = []
        self._numbers = itertools.count()
        self._statements: dict[bytes, bytes] = {}
        self.add_notify_handler(self._heard.append)

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Any] | None = None,
        cursor_factory: Any = None,
        **kwargs: ConnParam,
    ) -> TrioConnection:
        """Connect to a server. See `psycopg.AsyncConnection.connect`, whose arguments these are.

        A checkpoint. When cancelled, the connection that may come of it is closed.

        Raises:
            psycopg.OperationalError: if that fails.
        """
        told = make_conninfo(conninfo, **kwargs)
        sync = partial(psycopg.Connection[Any].connect, told, context=context)
        self = cls(await cls.sockets.connect(partial(_adopt, sync)), row_factory or _TUPLES)
        if context:
            self._adapters = AdaptersMap(context.adapters)
        if cursor_factory:
            self.cursor_factory = cursor_factory
        self._autocommit = autocommit
        self.prepare_threshold = prepare_threshold
        return self

    # -- waiting -----------------------------------------------------------------------------------

    async def wait(self, gen: Any, *_: object, **__: object) -> Any:
        """Run an exchange with the server, as long as it takes. A checkpoint; see the module for cancellation."""

        async def listen() -> Any:
            await trio.lowlevel.checkpoint_if_cancelled()
            return await drive(gen, self.pgconn.socket, self.sockets)

        try:
            return await self._seen_through(listen)
        finally:
            # Where the connection was closed, nobody resumes it: the garbage collector would, and complain.
            with suppress(psycopg.Error):
                gen.close()

    async def _seen_through(self, listen: Callable[[], Awaitable[T]]) -> T:
        """Listen to the end of an answer; if that is broken off, come to rest by listening again, where it was left."""
        try:
            return await listen()
        except psycopg.Error:
            raise
        except BaseException:
            await self._settle(listen)
            raise

    async def _settle(self, listen: Callable[[], Awaitable[object]]) -> None:
        """Come to rest after a wait that was left: idle, or closed."""
        if self.pgconn.pipeline_status != pq.PipelineStatus.OFF:
            self.pgconn.finish()
        if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        with trio.move_on_after(PATIENCE, shield=True):
            try:
                await self._cancel_on_server()
                await listen()
            except psycopg.Error:
                pass  # that it was cancelled, as it should be; or worse, and then the status says so
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.pgconn.finish()

    async def _cancel_on_server(self) -> None:
        if not psycopg.capabilities.has_cancel_safe():
            await trio.to_thread.run_sync(self.pgconn.get_cancel().cancel, abandon_on_cancel=True)
            return
        request = self.pgconn.cancel_conn()
        request.start()
        while (status := request.poll()) not in {pq.PollingStatus.OK, pq.PollingStatus.FAILED}:
            await self.sockets.ready(request.socket, READ if status == pq.PollingStatus.READING else WRITE)
        request.finish()

    async def cancel_safe(self, *, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - psycopg's
        """Ask the server to cancel what this connection is doing. A checkpoint."""
        await trio.lowlevel.checkpoint()
        if self._should_cancel():
            with trio.fail_after(timeout):
                await self._cancel_on_server()

    # -- the end of transactions -------------------------------------------------------------------

    async def rollback(self) -> None:
        """Roll back; done even if cancelled, within `PATIENCE`. A checkpoint."""
        with trio.move_on_after(PATIENCE, shield=True):
            await super().rollback()

    @asynccontextmanager
    async def transaction(
        self,
        savepoint_name: str | None = None,
        force_rollback: bool = False,  # noqa: FBT001, FBT002 - psycopg's
    ) -> AsyncGenerator[psycopg.AsyncTransaction]:
        """Make the block a transaction, or a part of one.

        Its end is sent even if the block is cancelled, so that nothing of it stays open.
        """
        async with AsyncExitStack() as stack:
            if self._pipeline:  # what goes before the transaction is answered before it begins
                await self._pipeline.sync()
            yield await stack.enter_async_context(_Transaction(self, savepoint_name, force_rollback))

    # -- notifications -----------------------------------------------------------------------------

    async def wait_notifies(self) -> Sequence[psycopg.Notify]:
        """Wait for notifications on what this connection listens to, and return them; never none.

        A checkpoint. What has come is kept when this is cancelled.

        Raises:
            psycopg.OperationalError: if the connection is lost.
        """
        await trio.lowlevel.checkpoint()
        async with self.lock:
            while not self._take_notifies():
                await trio.lowlevel.wait_readable(self.pgconn.socket)
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def _take_notifies(self) -> bool:
        """Look for notifications that have come, also with the answers to statements."""
        self.pgconn.consume_input()
        while (found := self.pgconn.notifies()) is not None:
            encoding = self.info.encoding
            self._heard.append(
                psycopg.Notify(found.relname.decode(encoding), found.extra.decode(encoding), found.be_pid)
            )
        return bool(self._heard)

    def notifies(self, **_: object) -> NoReturn:
        """Not here: an async generator that waits is not at home in Trio. Use `wait_notifies`."""
        raise psycopg.NotSupportedError("use wait_notifies: an async generator that waits is not at home in Trio")

    # -- hot statements ----------------------------------------------------------------------------

    async def call(self, statement: bytes, parameters: Sequence[tuple[int, bytes | None]] = ()) -> pq.abc.PGresult:
        """Run one statement, prepared at its first use, without a cursor; everything goes and comes in binary.

        Args:
            statement: SQL with $1, $2 …
            parameters: the oid and the binary form of each; the oids must not change from call to call.

        A checkpoint.

        Raises:
            DatabaseError: what the server says.
        """
        # No `async with`, and no checkpoint where the lock is free: each would cost as much as the rest of this.
        try:
            self.lock.acquire_nowait()
        except trio.WouldBlock:
            await self.lock.acquire()
        try:
            name = self._statements.get(statement) or await self._prepare(statement, [oid for oid, _ in parameters])
            values = [data for _, data in parameters]
            formats = [pq.Format.BINARY] * len(values)
            return await self._ask(lambda: self.pgconn.send_query_prepared(name, values, formats, pq.Format.BINARY))
        finally:
            self.lock.release()

    async def _prepare(self, statement: bytes, types: Sequence[int]) -> bytes:
        # A new name for each try: one that was cancelled may have come to be all the same.
        name = b"nurselog_%d" % next(self._numbers)
        await self._ask(lambda: self.pgconn.send_prepare(name, statement, types))
        self._statements[statement] = name
        return name

    async def run_script(self, script: str) -> None:
        """Run several statements that have no parameters. A checkpoint.

        Raises:
            DatabaseError: what the server says; what stands behind that statement is not run.
        """
        async with self.lock:
            await self._ask(lambda: self.pgconn.send_query(script.encode()))

    async def _ask(self, send: Callable[[], None]) -> pq.abc.PGresult:
        """Send, unless this is cancelled already, and return the last result. A checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        send()
        result = await self._seen_through(self._listen)
        assert result is not None
        if result.status not in _DONE:
            raise errors.error_from_result(result, encoding=self.info.encoding)
        return result

    async def _listen(self) -> pq.abc.PGresult | None:
        """Listen until the server has said all that it has to say to what was sent; return the last result that came.

        The result of a statement comes before its commit: only when nothing comes any more is it certain.
        """
        pgconn, last = self.pgconn, cast("pq.abc.PGresult | None", None)
        while pgconn.flush():
            await self.sockets.ready(pgconn.socket, READ | WRITE)
            pgconn.consume_input()  # a server that cannot get rid of what it says does not listen
        while True:
            while pgconn.is_busy():
                await self.sockets.ready(pgconn.socket, READ)
                try:
                    pgconn.consume_input()
                except psycopg.Error:
                    if last is None or last.status != pq.ExecStatus.FATAL_ERROR:
                        raise
                    return last  # the server has said why, and hung up
            result = pgconn.get_result()
            if result is None:
                return last
            last = result

    @property
    def is_at_rest(self) -> bool:
        """Whether somebody else may use it: it is connected, and nothing is under way."""
        return (
            self.pgconn.status == pq.ConnStatus.OK
            and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
        )

    def twin(self, cls: type[C]) -> C:
        """Return another object for the same connection, with nothing of what was set in this one, until it unplugs."""
        twin = cls(self.pgconn)
        twin._autocommit = self._autocommit
        twin.prepare_threshold = self.prepare_threshold
        return twin

    def unplug(self) -> None:
        """Have nothing to do with the connection any more."""
        del self.pgconn

    def discard(self) -> None:
        """Close it at once."""
        self.pgconn.finish()


class _Transaction(psycopg.AsyncTransaction):
    """A transaction whose beginning and end are seen through: one that may have begun could not be ended by anybody."""

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint_if_cancelled()
        with _in_time("the beginning", self._patience):
            await super().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        with _in_time("the end", self._patience, error):
            return await super().__aexit__(kind, error, trace)

    @property
    def _patience(self) -> float:
        patience = cast("TrioConnection", self._conn).patience
        return PATIENCE if patience is None else patience


@contextmanager
def _in_time(what: str, patience: float, cause: BaseException | None = None) -> Generator[None]:
    with trio.move_on_after(patience, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise psycopg.OperationalError(f"the server does not answer: {what} of the transaction is unknown") from cause


def conninfo_of(given: str, **defaults: str) -> str:
    """Return what `libpq` is to be told: what was given, and what it leaves open; `options` are added to those given.

    Raises:
        DatabaseError: if `libpq` does not understand it.
    """
    known = {name: str(value) for name, value in conninfo_to_dict(given).items()}
    options = " ".join(filter(None, [known.pop("options", ""), defaults.pop("options", "")]))
    return make_conninfo("", **(defaults | known), options=options)


def _adopt(connect: Callable[[], psycopg.Connection[Any]]) -> Any:
    """Connect, and take what is `libpq`'s out of the object that did it."""
    connection = connect()
    pgconn = connection.pgconn
    pgconn.notice_handler = pgconn.notify_handler = None
    del connection.pgconn  # else it warns that it was not closed
    return pgconn

"""The application's transactions in SQLite: a connection for each, a thread for each body, one at a time.

SQLite lets one connection write. So transactions of one engine wait for each other here, in order and without a
thread, and only others' locks are waited for in SQLite. The store's own commits wait there for a body: it is to be
short.

A connection is opened for each (some hundred microseconds): what a body may leave behind in one is no end of things,
from a `row_factory` to an attached file. Not the store's own connection, then: its thread would do nothing else
meanwhile. But for a database in memory, which nobody else can open: there all happens in one go, in the calling task.

The body runs in a thread, and the commit in another turn of it, so that a cancellation is seen between the two, and
undoes all. A thread cannot be stopped, and who leaves memory does not wait for it: then it closes the connection by
itself, which undoes what it has done.

That a body does not end the transaction by itself an authorizer sees to, which SQLite asks about each statement.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, final

import trio

from ..._errors import TransactionEnded, WorkflowNotFound
from ...abc import Transaction
from ..faults import leaves
from .faults import PRIMARY, translate
from .schema import CHECKPOINT_PAGES, Location

PATIENCE = 1.0
"""Seconds that a transaction waits for the lock of another process, in a thread, before it makes a pause."""

_AT_ONCE = trio.CapacityLimiter(math.inf)
"""For threads that hold a lock already."""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Table(NamedTuple):
    """Where outcomes are kept."""

    setting: str
    """Of its connections."""
    create: str
    """Makes it where it is not there."""
    claim: str
    """Inserts a key that is not there."""
    find: str
    record: str


OWN = Table(
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "",
    "INSERT INTO transaction_key (workflow, key) SELECT workflow, :key FROM log WHERE workflow = :workflow "
    "AND seq = (SELECT max(seq) FROM log WHERE workflow = :workflow) AND writer = :writer ON CONFLICT DO NOTHING",
    "SELECT outcome FROM transaction_key WHERE workflow = :workflow AND key = :key",
    "UPDATE transaction_key SET outcome = :outcome WHERE workflow = :workflow AND key = :key",
)
"""In the store's own database, as long as there is the workflow, and nobody else has taken it over."""

FOREIGN = Table(
    "",
    "CREATE TABLE IF NOT EXISTS nurselog_transaction (key TEXT PRIMARY KEY, workflow TEXT NOT NULL, outcome BLOB)",
    "INSERT INTO nurselog_transaction (key, workflow) VALUES (:key, :id) ON CONFLICT DO NOTHING",
    "SELECT outcome FROM nurselog_transaction WHERE key = :key",
    "UPDATE nurselog_transaction SET outcome = :outcome WHERE key = :key",
)
"""In another database, which may serve several stores."""


class _FoundError(Exception):
    """There is an outcome already."""

    def __init__(self, outcome: bytes) -> None:
        self.outcome: bytes = outcome


@final
class SqliteDatabase:
    """A `Database` in SQLite.

    Args:
        location: where it is.
        table: where outcomes are kept.
        inline: whether all happens in the calling task.
        store: gives the store's own connection, for a database in memory.
    """

    is_async = False

    def __init__(
        self,
        location: Location,
        table: Table,
        *,
        inline: bool = False,
        store: Callable[[], sqlite3.Connection] | None = None,
    ) -> None:
        self._location, self._table = location, table
        self._inline = inline or location.path is None
        self._store = store
        self._memory: sqlite3.Connection | None = None
        """A database in memory that is not the store's: it lasts as long as this."""
        self._turn = trio.Lock()

    async def transact(self, transaction: Transaction) -> bytes:
        """Run a body in a transaction that records its outcome under the key; return the outcome."""
        async with self._turn:
            attempt = _Attempt(self._connect, self._location, self._table, transaction)
            try:
                return attempt.run() if self._inline else await _in_thread(attempt, transaction)
            except _FoundError as found:
                return found.outcome
            finally:
                attempt.leave()

    def _connect(self) -> tuple[sqlite3.Connection, bool]:
        """Return a connection, and whether it is to be closed."""
        if self._location.path is not None:
            return _connect(self._location), True
        if self._store is not None:
            return self._store(), False
        self._memory = self._memory or _connect(self._location)
        return self._memory, False

    async def close(self) -> None:
        """Let everything go. A checkpoint."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        await trio.lowlevel.checkpoint()


async def _in_thread(attempt: _Attempt, transaction: Transaction) -> bytes:
    await transaction.in_thread(attempt.begin)
    outcome = transaction.encode(attempt.value)
    # Not where bodies wait for a place: all others would wait for this one's lock meanwhile, the log first.
    await trio.to_thread.run_sync(attempt.commit, outcome, limiter=_AT_ONCE)
    return outcome


def _connect(location: Location) -> sqlite3.Connection:
    connection = sqlite3.connect(
        location.path or ":memory:", timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA synchronous = {location.synchronous.value}")
    except BaseException:
        connection.close()
        raise
    return connection


class _Attempt:
    """One transaction on one connection. Its parts run in a thread, which may be left alone, or in the calling task."""

    _connection: sqlite3.Connection

    def __init__(
        self,
        connect: Callable[[], tuple[sqlite3.Connection, bool]],
        location: Location,
        table: Table,
        transaction: Transaction,
    ) -> None:
        self._connect, self._location, self._table, self._transaction = connect, location, table, transaction
        self._opened = self._closes = False
        self.value: Any = None
        """What the body has returned: not to be returned through a thread, which takes exception to coroutines."""
        self._denied = False
        """Whether the body wanted to end the transaction."""
        self._working = False
        self._left = False
        """Nobody waits for a thread any more. Of the two who set these flags, one sees both set, and closes."""

    def run(self) -> bytes:
        """Do all of it, from the beginning to the commit."""
        self.begin()
        outcome = self._transaction.encode(self.value)
        self.commit(outcome)
        return outcome

    def begin(self) -> None:
        """Begin the transaction, and run the body."""
        with self._at_work():
            with self._translated():
                self._connection, self._closes = self._connect()
                self._opened = True
                self._claim()
            self.value = self._body()

    def commit(self, outcome: bytes) -> None:
        """Record the outcome and commit."""
        with self._at_work(), self._translated():
            self._connection.execute(self._table.record, self._names | {"outcome": outcome})
            self._connection.execute("COMMIT")
            self._close()

    def leave(self) -> None:
        """See that nothing stays open: nobody waits for this any more."""
        self._left = True
        if not self._working:
            self._close()

    @contextlib.contextmanager
    def _at_work(self) -> Generator[None]:
        self._working = True
        try:
            yield
        except BaseException:
            self._close()
            raise
        finally:
            self._working = False
            if self._left:
                self._close()

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self._location.url) from error

    @property
    def _names(self) -> dict[str, Any]:
        return {name: getattr(self._transaction, name) for name in ("key", "workflow", "writer", "id")}

    def _claim(self) -> None:
        """Put the key in, which says that the body is under way; under the write lock nobody else is."""
        execute = self._connection.execute
        execute(self._table.setting)
        execute("BEGIN IMMEDIATE")
        execute(self._table.create)
        if execute(self._table.claim, self._names).rowcount:
            return
        row = execute(self._table.find, self._names).fetchone()
        if row is None:
            raise WorkflowNotFound(self._transaction.id)
        if row[0] is None:
            raise TransactionEnded(self._transaction.name, done=True)
        raise _FoundError(row[0])

    def _body(self) -> Any:
        connection, name = self._connection, self._transaction.name
        factories = connection.row_factory, connection.text_factory
        connection.set_authorizer(self._authorize)
        try:
            value = self._transaction.body(connection)
        except Exception as error:
            if self._denied:
                raise TransactionEnded(name, done=False) from error
            for one in leaves(error):
                if isinstance(one, sqlite3.Error) and _code(one) in _BUSY:
                    raise translate(one, self._location.url) from error
            raise
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # the body has closed it
                connection.set_authorizer(None)
            connection.row_factory, connection.text_factory = factories
        if self._denied or not self._is_open():
            raise TransactionEnded(name, done=not self._denied)
        return value

    def _authorize(self, action: int, *_: object) -> int:
        if action != sqlite3.SQLITE_TRANSACTION:
            return sqlite3.SQLITE_OK
        self._denied = True
        return sqlite3.SQLITE_DENY

    def _is_open(self) -> bool:
        """Whether the transaction is: SQLite undoes it by itself when the disk is full, and a body may go on then."""
        try:
            return self._connection.in_transaction
        except sqlite3.ProgrammingError:
            return False

    def _close(self) -> None:
        if self._opened and self._closes:
            self._connection.close()
        elif self._opened:
            if self._is_open():
                self._connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.ProgrammingError):  # the body has closed it
                self._connection.isolation_level = None  # in the middle of a transaction it would commit


def _code(error: sqlite3.Error) -> int:
    """Return the primary code; an error that the sqlite3 module raises by itself has none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & PRIMARY

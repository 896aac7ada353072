"""The application's transactions in PostgreSQL: connections of their own, lent to one body at a time.

Who comes first inserts the key, and who comes second waits there until the first one has ended, however that goes: then
the key is there, with the outcome, or the insertion succeeds. So an owner that was taken over, and the one that took
over, may both be at it; one of them writes.

The connections are not the store's. Those have settings for plans that suit the store's few statements, and search
the store's schema first; and a body may take its time. After each body its connection is made as good as new, on both
sides: DISCARD ALL for the server, and another object for Python, since a body may have set a `row_factory`, or kept the
thing.

That a body does not commit by itself psycopg sees to, as long as it is asked to commit; `execute("COMMIT")` it does not
notice. So the id of the transaction is compared: one that was ended, whatever has begun after it, has another.
"""

from __future__ import annotations

import enum
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, final

import psycopg
import trio
from psycopg import pq, sql
from psycopg.rows import tuple_row

from ..._errors import StoreUnavailable, TransactionEnded, UsageError, WorkflowNotFound
from ...abc import CommitUnanswered, Isolation, Transaction
from ..faults import leaves
from .driver import PATIENCE, DatabaseError, TrioConnection
from .faults import translate
from .pool import Pool
from .session import shard_of_key

MOST = 10
"""Connections for each database: so many bodies run at once."""

COMMIT_PATIENCE = 30.0
"""Seconds that a commit may take: deferred triggers, a standby that must have it. What is given up is tried again."""

_ISOLATION = {
    Isolation.READ_COMMITTED: psycopg.IsolationLevel.READ_COMMITTED,
    Isolation.REPEATABLE_READ: psycopg.IsolationLevel.REPEATABLE_READ,
    Isolation.SERIALIZABLE: psycopg.IsolationLevel.SERIALIZABLE,
}

_CONFLICTS = frozenset({"40001", "40P01"})
"""Others were in the way: a serialization failure, a deadlock."""

_LOOK = sql.SQL(
    "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE pg_class.oid = to_regclass('nurselog_transaction')"
)

_CREATE = """
    SELECT pg_advisory_xact_lock(hashtextextended('nurselog_transaction', 0));
    CREATE TABLE IF NOT EXISTS nurselog_transaction (
        key text COLLATE "C" PRIMARY KEY, workflow text NOT NULL, outcome bytea
    )"""

Query = sql.SQL | sql.Composed


class Table(NamedTuple):
    """Where outcomes are kept, as statements."""

    claim: Query
    """Inserts a key that is not there, and returns the transaction's id then."""
    find: Query
    record: Query
    """Adds the outcome, if the transaction is still that one."""


def own_table(schema: str) -> Table:
    """Return the one in the store's schema. A row is made while there is the workflow, and nobody has taken it over.

    So an old owner that comes late does nothing, as it writes nothing: the new one may know the outcome already.
    """
    names = {
        "table": sql.Identifier(schema, "transaction_key"),
        "log": sql.Identifier(schema, "log"),
        "row": sql.SQL("shard = %(shard)s AND workflow = %(workflow)s AND key = %(key)s"),
    }
    return Table(
        sql.SQL(
            "INSERT INTO {table} (shard, workflow, key) SELECT shard, workflow, %(key)s::text FROM {log} "
            "WHERE shard = %(shard)s AND workflow = %(workflow)s AND writer = %(writer)s AND seq = "
            "(SELECT max(seq) FROM {log} WHERE shard = %(shard)s AND workflow = %(workflow)s) "
            "ON CONFLICT (shard, workflow, key) DO NOTHING RETURNING pg_current_xact_id()::text"
        ).format(**names),
        sql.SQL("SELECT outcome FROM {table} WHERE {row}").format(**names),
        sql.SQL(
            "UPDATE {table} SET outcome = %(outcome)s WHERE {row} AND pg_current_xact_id()::text = %(number)s"
        ).format(**names),
    )


def foreign_table(schema: str) -> Table:
    """Return the one in another database, which may serve several stores."""
    table = sql.Identifier(schema, "nurselog_transaction")
    return Table(
        sql.SQL(
            "INSERT INTO {} (key, workflow) VALUES (%(key)s, %(id)s) ON CONFLICT (key) DO NOTHING "
            "RETURNING pg_current_xact_id()::text"
        ).format(table),
        sql.SQL("SELECT outcome FROM {} WHERE key = %(key)s").format(table),
        sql.SQL(
            "UPDATE {} SET outcome = %(outcome)s WHERE key = %(key)s AND pg_current_xact_id()::text = %(number)s"
        ).format(table),
    )


@final
class PostgresDatabase:
    """A `Database` in PostgreSQL.

    Args:
        shown: the address, fit to be shown.
        conninfo: what `libpq` is told.
        table: where outcomes are kept; None: in a table of the user's schema, which is made if it is not there.
    """

    is_async = True

    def __init__(self, shown: str, conninfo: str, table: Table | None) -> None:
        self._shown = shown
        self._pool = Pool(conninfo, MOST)
        self._table = table

    async def transact(self, transaction: Transaction) -> bytes:
        """Run a body in a transaction that records its outcome under the key; return the outcome."""
        try:
            wire = await self._pool.take()
            try:
                self._table = table = self._table or await _prepare(wire)
            except BaseException:
                self._pool.give_back(wire)
                raise
        except DatabaseError as error:
            raise translate(error, self._shown) from error
        connection = wire.twin(LentConnection)
        connection.name = transaction.name
        try:
            return await _Attempt(connection, table, transaction, self._shown).run()
        finally:
            connection.unplug()
            await _renew(wire)
            self._pool.give_back(wire)

    async def close(self) -> None:
        """Let everything go. A checkpoint."""
        self._pool.close()
        await trio.lowlevel.checkpoint()


async def _prepare(connection: TrioConnection) -> Table:
    """Make sure that there is a table; whoever finds one needs no right to make it."""
    found = await (await connection.execute(_LOOK)).fetchone()
    if found is None:
        await connection.run_script(_CREATE)
        return await _prepare(connection)
    return foreign_table(found[0])


async def _renew(wire: TrioConnection) -> None:
    """Make a connection as good as new for the next one: settings, locks, temporary tables, prepared statements."""
    if wire.is_at_rest:
        with trio.move_on_after(PATIENCE, shield=True), suppress(DatabaseError):
            await wire.run_script("DISCARD ALL")


class LentConnection(TrioConnection):
    """What a body gets: it ends no transaction."""

    patience = COMMIT_PATIENCE
    name: str
    """The transaction's."""

    async def commit(self) -> NoReturn:
        """Refuse: nurselog commits, when the body has returned."""
        raise TransactionEnded(self.name, done=False)

    async def rollback(self) -> NoReturn:
        """Refuse: an error that the body raises undoes all."""
        raise TransactionEnded(self.name, done=False)


class _Place(enum.Enum):
    """How far an attempt has come."""

    BEGINNING = enum.auto()
    BODY = enum.auto()
    RECORDING = enum.auto()
    COMMIT = enum.auto()


class _Attempt:
    """One transaction on one connection."""

    def __init__(self, connection: LentConnection, table: Table, transaction: Transaction, shown: str) -> None:
        self._connection, self._table, self._transaction, self._shown = connection, table, transaction, shown
        self._place = _Place.BEGINNING
        self._names: dict[str, Any] = {
            "shard": shard_of_key(transaction.workflow),
            "workflow": transaction.workflow,
            "id": transaction.id,
            "writer": transaction.writer,
            "key": transaction.key,
        }

    async def run(self) -> bytes:
        """Do all of it; what others are to blame for comes out as the store's error."""
        try:
            return await self._run()
        except Exception as error:
            found = self._fault(error)
            if found is None:
                raise
            raise found from error

    async def _run(self) -> bytes:
        await self._connection.set_isolation_level(_ISOLATION[self._transaction.isolation])
        async with self._connection.transaction():
            return await self._outcome()

    async def _outcome(self) -> bytes:
        """Return the outcome that is there, or do all that is to be committed."""
        found = await self._claim()
        if found is not None:
            return found
        self._place = _Place.BODY
        outcome = self._transaction.encode(await self._body())
        self._place = _Place.RECORDING
        self._check_status()
        self._names["outcome"] = outcome
        if not (await self._execute(self._table.record)).rowcount:
            raise TransactionEnded(self._transaction.name, done=True)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._place = _Place.COMMIT
        return outcome

    async def _claim(self) -> bytes | None:
        """Put the key in, which says that the body is under way; return the outcome if there is one already."""
        claimed = await (await self._execute(self._table.claim)).fetchone()
        if claimed is not None:
            self._names["number"] = claimed[0]
            return None
        row = await (await self._execute(self._table.find)).fetchone()
        if row is None:
            raise WorkflowNotFound(self._transaction.id)
        if row[0] is None:
            raise TransactionEnded(self._transaction.name, done=True)
        return bytes(row[0])

    async def _body(self) -> Any:
        try:
            return await self._transaction.body(self._connection)
        except psycopg.Rollback as error:
            raise UsageError(
                f"transaction {self._transaction.name!r} has raised psycopg.Rollback, which says nothing of what the "
                "outcome is. All is undone; raise an error of your own"
            ) from error
        except Exception as error:
            if self._connection.pgconn.transaction_status == pq.TransactionStatus.IDLE:
                raise TransactionEnded(self._transaction.name, done=True) from error
            raise

    def _check_status(self) -> None:
        """See that the transaction is still open, and may be committed."""
        connection, status = self._connection, self._connection.pgconn.transaction_status
        if connection.broken:
            raise psycopg.OperationalError("the connection was lost, and the body has returned all the same")
        if status == pq.TransactionStatus.INERROR:
            raise UsageError(
                f"the body of transaction {self._transaction.name!r} has gone on after an error of the database, which "
                "undoes all of the transaction. Let the error out; or put what may fail into a savepoint: "
                "async with connection.transaction()"
            )
        if status != pq.TransactionStatus.INTRANS:
            raise TransactionEnded(self._transaction.name, done=True)

    def _fault(self, error: Exception) -> Exception | None:
        """Return what an error is to whoever wants the transaction; None: what it is."""
        said = [one for one in leaves(error) if isinstance(one, DatabaseError)]
        conflicts = [one for one in said if one.sqlstate in _CONFLICTS]
        if conflicts:
            return translate(conflicts[0], self._shown)
        if not said:
            return None
        if self._place is _Place.COMMIT and (self._connection.broken or said[0].sqlstate is None):
            return CommitUnanswered(f"{self._shown}: COMMIT was not answered ({said[0]})")
        if self._connection.broken:
            return StoreUnavailable(f"{self._shown}: the connection was lost ({said[0]})")
        ours = self._place in {_Place.BEGINNING, _Place.RECORDING}
        return translate(said[0], self._shown) if ours else None

    async def _execute(self, query: Query) -> psycopg.AsyncCursor[Any]:
        cursor = psycopg.AsyncCursor(self._connection, row_factory=tuple_row)
        return await cursor.execute(query, self._names, prepare=False, binary=True)

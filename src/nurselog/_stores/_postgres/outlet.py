"""Workflows and messages on a psycopg connection of the application's, sync or async, in its own transaction.

Each is one call of a function in the store's schema: `sql/postgres_0001.sql` says what these bring along. The cursors
are psycopg's plain ones, whatever kind the application makes by default, and errors of the database are left as they
are: whoever has a transaction knows them, and tries again after the one or the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.rows import tuple_row

from ..._errors import StoreError, StoreTooNew
from ...abc import Addressed, Creation, Posted
from ..outlet import Holder, Left
from .address import check_schema
from .binary import without_nul
from .migrations import load_migrations
from .session import hash_of_family

T = TypeVar("T")

Connection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]


class PostgresOutlet:
    """The way into a store, on one connection.

    Args:
        connection: the application's.
        schema: the store's.
    """

    def __init__(self, connection: Connection, schema: str) -> None:
        check_schema(schema)
        self._connection, self._schema = connection, schema
        self._shown = f"schema {schema} of database {connection.info.dbname}"

    def create(self, creation: Creation, then: Callable[[Holder | None], T]) -> T | Awaitable[T]:
        """Make a workflow that nobody owns."""
        [row] = creation.rows
        made = (creation.id, creation.name, creation.version, creation.digest, creation.at)
        begun = (row.after, row.writer, row.format, row.event.decode(), row.value)

        def read(fresh: bool, *holder: Any) -> T:  # noqa: FBT001 - a column
            return then(None if fresh else Holder(*holder))

        return self._call("outbox_create", creation.id, (*made, *begun), read)

    def leave(self, message: Addressed, then: Callable[[Left | None], T]) -> T | Awaitable[T]:
        """Leave a message, and make its receiver due."""

        def read(posted: str | None, status: str) -> T:
            return then(None if posted is None else Left(Posted(posted), status))

        given = (message.id, message.kind, message.body, message.once, message.most)
        return self._call("outbox_leave", message.id, given, read)

    def _call(self, function: str, id: str, given: tuple[Any, ...], read: Callable[..., T]) -> T | Awaitable[T]:
        texts = [without_nul(one) if isinstance(one, str) else one for one in given]
        arguments = [len(load_migrations()), hash_of_family(id), *texts]
        statement = sql.SQL("SELECT * FROM {}({})").format(
            sql.Identifier(self._schema, function), sql.SQL(", ").join(sql.Placeholder() * len(arguments))
        )
        if isinstance(self._connection, psycopg.Connection):
            with self._missed(), psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
                return self._read(cursor.execute(statement, arguments).fetchone(), read)
        return self._later(self._connection, statement, arguments, read)

    async def _later(
        self,
        connection: psycopg.AsyncConnection[Any],
        statement: sql.Composed,
        arguments: list[Any],
        read: Callable[..., T],
    ) -> T:
        with self._missed():
            async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
                await cursor.execute(statement, arguments)
                return self._read(await cursor.fetchone(), read)

    def _read(self, answer: tuple[Any, ...] | None, read: Callable[..., T]) -> T:
        assert answer is not None
        needs, *rest = answer
        if needs > len(load_migrations()):
            raise StoreTooNew(self._shown, needs, len(load_migrations()))
        return read(*rest)

    @contextmanager
    def _missed(self) -> Generator[None]:
        try:
            yield
        except (errors.InvalidSchemaName, errors.UndefinedFunction) as error:
            raise StoreError(
                f"{self._shown}: there is no store of this release here; open an engine on it first, or run "
                "`nurselog migrate`; another schema's name goes to nurselog.Outbox(schema=...)"
            ) from error


def find_outlet(connection: object, schema: str) -> PostgresOutlet | None:
    """Return the way into a store on a connection; None if it is none of psycopg's."""
    if isinstance(connection, psycopg.Connection | psycopg.AsyncConnection):
        return PostgresOutlet(connection, schema)  # pyright: ignore[reportUnknownArgumentType]  # of rows of any kind
    return None

"""Workflows and messages on a connection of the application's, in its own transaction.

The connection is as the application likes it. Rows and texts may come in forms of its own, so ours are asked for, for
the moment. And who begins its transactions, Python or the application, is seen by what a write makes of it: the first
statement changes nothing, but begins where the application's own would, and has the write lock, so that nothing moves
between a look and a write. If nothing has begun by then, the connection commits each statement by itself, and what is
done here is one. A savepoint around it all leaves nothing half done behind for an application that catches the error.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Generator
from typing import TypeVar

from ..._errors import StoreError
from ...abc import Addressed, Creation, Posted
from ..outlet import Holder, Left
from .bulk import insert_lines, transaction
from .creations import create
from .early import post_of
from .mail import leave
from .queries import find_by_id
from .schema import check_version, load_migrations, recognise

T = TypeVar("T")

_BEGIN = "UPDATE workflow SET due_at = due_at WHERE FALSE"


class SqliteOutlet:
    """The way into a store, on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def create(self, creation: Creation, then: Callable[[Holder | None], T]) -> T:
        """Make a workflow that nobody owns."""
        connection = self._connection
        with _ours(connection):
            [created], beginnings = create(connection, [creation])
            insert_lines(connection, [line for part in beginnings for line in part.lines()])
            if created.new:
                return then(None)
            found = created.workflow
            [(data,)] = connection.execute("SELECT value FROM log WHERE workflow = ? AND seq = 1", (found.key,))
            return then(Holder(found.name, found.digest, data))

    def leave(self, message: Addressed, then: Callable[[Left | None], T]) -> T:
        """Leave a message, and make its receiver due."""
        connection = self._connection
        with _ours(connection):
            found = find_by_id(connection, [message.id])
            if not found:
                return then(None)
            [receiver] = found
            [posted] = map(Posted.of, leave(connection, [post_of(message, receiver.key)]))
            return then(Left(posted, receiver.status.value))


@contextlib.contextmanager
def _ours(connection: sqlite3.Connection) -> Generator[None]:
    """Make a connection ours, and what happens inside a whole: done, or not done."""
    rows, texts = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        _recognise(connection)
        connection.execute(_BEGIN)
        with _savepoint(connection) if connection.in_transaction else transaction(connection):
            yield
    finally:
        connection.row_factory, connection.text_factory = rows, texts


def _recognise(connection: sqlite3.Connection) -> None:
    [place] = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    where, known = f"the SQLite database {place or 'in memory'}", len(load_migrations())
    recognise(connection, where)
    if check_version(connection, where, known) < known:
        raise StoreError(f"{where}: there is no store of this release here; open an engine on it first")


@contextlib.contextmanager
def _savepoint(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("SAVEPOINT nurselog")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite rolls all of it back when the disk is full
            connection.execute("ROLLBACK TO nurselog")
            connection.execute("RELEASE nurselog")
        raise
    connection.execute("RELEASE nurselog")

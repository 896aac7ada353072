"""Many rows in few steps: the statements that the store's speed rests on.

The problem is the GIL, not SQLite. The store's thread gives the GIL up for each `sqlite3_step` and wants it back
after it; while Trio's thread computes, getting it back takes up to the switch interval, 5 ms. `executemany` makes a
step for each row, and so does reading a result row by row. Measured beside a main thread that only computes, on two
cores with nothing else to do: 1,000 rows by `executemany` 2,540 ms, by one statement 25 ms; 12,000 rows read by
`fetchall` 9,750 ms, in the way below 150 ms. The price: beside an idle main thread inserting takes up to half as long
again, the fence included, and reading one to three times as long, some tens of milliseconds for 12,000 rows. (Where
other processes fill both cores, the threads do not meet like that, and the plain ways are the faster ones.) So what
counts here is the number of steps, not of rows:

- Log rows and messages are inserted by one `INSERT` with many `VALUES`. The statement cache goes by the text, and
  compiling costs as much as running, so there are only a few sizes, powers of two, and the places left over are filled
  with NULL rows, which the statement drops. (Sizes that add up to the number would be several steps.)
- What has no bytes in it goes in as one JSON array, and the statement takes it apart (`json_each`).
- Queries give one JSON text for each row (which msgspec decodes into records), and these are joined in SQL into buckets
  of about a megabyte: one step for each bucket. Not one text for all, because SQLite's texts end at a gigabyte.
- A statement that is a whole transaction by itself needs no BEGIN and COMMIT, which would be two steps more.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Generator, Sequence
from itertools import chain, repeat
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from ..._log.lifecycle import Status

T = TypeVar("T")

CHUNK = 2048
"""The most rows in one statement: 2,048 rows of 9 places stay below SQLite's limit of 32,766 variables."""

BUCKET = 1_000_000
"""Characters."""


class LogLine(NamedTuple):
    """A row of `log`, as it is inserted; `first` is the seq of the first row of the same append."""

    workflow: int
    seq: int
    at: int
    after: int
    writer: int
    format: int
    event: str
    value: bytes | None
    first: int


class MessageLine(NamedTuple):
    """A row of `message`, as it is inserted; `place` is where it stands among those that are inserted with it."""

    workflow: int
    kind: str
    body: bytes
    place: int


class Query(Generic[T]):
    """A SELECT whose result is read in few steps.

    Args:
        decoder: makes records of the JSON array that the rows are joined to.
        item: a SQL expression, the JSON text of one record.
        source: what stands behind FROM.
    """

    def __init__(self, decoder: msgspec.json.Decoder[list[T]], item: str, source: str) -> None:
        self._decoder = decoder
        self._sql = f"""
            SELECT '[' || group_concat(item) || ']'
            FROM (
                SELECT item, sum(length(item)) OVER (ROWS UNBOUNDED PRECEDING) / {BUCKET} AS bucket
                FROM (SELECT {item} AS item FROM {source})
            )
            GROUP BY bucket"""  # noqa: S608 - all parts are constants

    def fetch(self, connection: sqlite3.Connection, **parameters: str | int | None) -> list[T]:
        """Return all records; their order is not defined."""
        buckets = connection.execute(self._sql, parameters).fetchall()
        return list(chain.from_iterable(self._decoder.decode(text) for (text,) in buckets))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Make what happens inside one transaction that has the write lock from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def as_json(values: object) -> str:
    """Return `values` as the parameter of a statement that takes it apart by `json_each`."""
    return msgspec.json.encode(values).decode()


FINAL = as_json([status.value for status in Status if status.final])
"""The statuses of workflows that have ended, as a parameter."""


def insert_lines(connection: sqlite3.Connection, lines: Sequence[LogLine]) -> int:
    """Insert the lines that the fence lets through, and return how many these were.

    The fence: the last row of the workflow's log is of the same writer (so nobody has taken it over), and reaches up
    to the append (so there is no gap); or the log is empty, the append is its beginning, and the workflow is there.
    SQLite looks at all lines before it inserts the first, so an append is let through whole or not at all. Lines that
    are there already are the writer's own, and are left as they are.
    """
    return sum(done.rowcount for done in _insert(connection, _log_rows, len(LogLine._fields), lines))


def insert_messages(connection: sqlite3.Connection, lines: Sequence[MessageLine]) -> range:
    """Insert messages, numbered in the order in which they are given; return the numbers."""
    last = _insert(connection, _message_rows, len(MessageLine._fields), lines)[-1].lastrowid or 0
    return range(last - len(lines) + 1, last + 1)


def _insert(
    connection: sqlite3.Connection, sql: Callable[[str], str], width: int, lines: Sequence[tuple[Any, ...]]
) -> list[sqlite3.Cursor]:
    """Insert lines by as few statements as may be; return what became of each statement."""
    done: list[sqlite3.Cursor] = []
    for start in range(0, len(lines), CHUNK):
        chunk = lines[start : start + CHUNK]
        size = 1 << (len(chunk) - 1).bit_length()
        places = chain.from_iterable(chain(chunk, repeat((None,) * width, size - len(chunk))))
        done.append(connection.execute(_statement(sql, width, size), tuple(places)))
    return done


@functools.cache
def _statement(sql: Callable[[str], str], width: int, size: int) -> str:
    line = f"({', '.join('?' * width)})"
    return sql(f"(VALUES {', '.join([line] * size)}) WHERE column1 IS NOT NULL")


def _log_rows(lines: str) -> str:
    return f"""
        INSERT INTO log (workflow, seq, at, after, writer, format, event, value)
        SELECT column1, column2, column3, column4, column5, column6, column7, column8
        FROM {lines} AND coalesce((
            SELECT writer = column5 AND seq >= column9 - 1 FROM log WHERE workflow = column1 ORDER BY seq DESC LIMIT 1
        ), column9 = 1 AND EXISTS (SELECT 1 FROM workflow WHERE key = column1))
        ON CONFLICT (workflow, seq) DO NOTHING"""  # noqa: S608 - all parts are constants


def _message_rows(lines: str) -> str:
    return f"""
        INSERT INTO message (workflow, kind, body)
        SELECT column1, column2, column3 FROM {lines} ORDER BY column4"""  # noqa: S608 - all parts are constants

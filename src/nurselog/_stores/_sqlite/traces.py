"""Which values in a file speak of something outside of it."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing

from ..._errors import StoreError
from ..traces import LENGTH, Traces
from .faults import translate
from .schema import Location, connect

_VALUES = """
    SELECT substr(value, 1, :length) FROM log WHERE substr(value, 1, length(:mark)) = :mark
    UNION ALL
    SELECT substr(outcome, 1, :length) FROM transaction_key WHERE substr(outcome, 1, length(:mark)) = :mark"""

_BODIES = """
    SELECT body FROM message WHERE instr(body, :encoded)
    UNION ALL
    SELECT body FROM early_message WHERE instr(body, :encoded)"""


def find_traces(location: Location, mark: bytes) -> Traces:
    """Return what begins with a mark; on a connection of its own, beside which others write.

    Raises:
        StoreError: if there is no file, or it cannot be read.
    """
    if location.path is None or not location.path.is_file():  # opening it would make it
        raise StoreError(f"{location.url}: there is no file that could be looked at")
    known = {"mark": mark, "encoded": base64.b64encode(mark), "length": LENGTH}
    try:
        with closing(connect(location)) as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            values, bodies = ([data for (data,) in connection.execute(query, known)] for query in (_VALUES, _BODIES))
    except sqlite3.Error as error:
        raise translate(error, location.url) from error
    return Traces(values, bodies)

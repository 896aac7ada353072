"""Which values in a schema speak of something outside of it."""

from __future__ import annotations

import base64

from ..._errors import StoreError
from ..traces import LENGTH, Traces
from .binary import BYTEA, Parameter, int4, raw, truth
from .migrations import load_migrations
from .schema import look
from .session import address_of, connected

# One statement, so that all of it is as of one moment.
_TRACES = b"""
    SELECT FALSE, substring(value FROM 1 FOR $3) FROM log WHERE substring(value FROM 1 FOR length($1)) = $1
    UNION ALL
    SELECT FALSE, substring(outcome FROM 1 FOR $3) FROM transaction_key
    WHERE substring(outcome FROM 1 FOR length($1)) = $1
    UNION ALL
    SELECT TRUE, body FROM message WHERE position($2 IN body) > 0
    UNION ALL
    SELECT TRUE, body FROM early_message WHERE position($2 IN body) > 0"""


async def find_traces(url: str, mark: bytes) -> Traces:
    """Return what begins with a mark. A checkpoint.

    Raises:
        UsageError: if the address is none.
        StoreError: if there is no store, or it cannot be read.
    """
    address, known = address_of(url), len(load_migrations())
    async with connected(address, "sweep") as connection:
        if (await look(connection, address, known)).version < known:
            raise StoreError(f"{address.shown}: there is no store of this release; open an engine on it first")
        parameters = [Parameter(BYTEA, mark), Parameter(BYTEA, base64.b64encode(mark)), int4(LENGTH)]
        found = await connection.call(_TRACES, parameters)
    values: list[bytes] = []
    bodies: list[bytes] = []
    for row in range(found.ntuples):
        (bodies if truth(found.get_value(row, 0)) else values).append(raw(found.get_value(row, 1)))
    return Traces(values, bodies)

"""Starting workflows and sending messages inside the application's own transactions, from any kind of program.

`submit(connection, workflow, ...)` and `send(connection, id, topic, value)` write on a connection to the store's
database: of sqlite3, or of psycopg, sync or async. What they write is committed, or rolled back, with all else that is
in the connection's transaction. Where the store's schema, codec or limits are not the default ones, an `Outbox` that
says so has the same methods.
"""

from __future__ import annotations

from ._engine.outbox import Outbox as Outbox

_plain = Outbox()
submit = _plain.submit
send = _plain.send

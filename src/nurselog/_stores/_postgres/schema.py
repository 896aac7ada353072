"""Opening a database: whose schema it is, which version it has, bringing it up to date.

A schema is looked at before anything in it is changed: one of another application stays as it is. Migrations go forward
only, each in a transaction, under a lock of the schema's own; whoever needs none of them needs no right to make any.

Releases may work on one schema at the same time, so that processes can be updated one after another: a schema says
which version one must know at least, and a migration leaves that as it is unless older releases could not go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..._errors import StoreCorrupt, StoreError, StoreTooNew, UsageError
from .address import Address
from .binary import column, number, string, text, truth
from .driver import TrioConnection
from .migrations import Layout, lock, step

OLDEST = 140000
"""The oldest PostgreSQL, as it says it itself."""

_LOOK = b"""
    SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
        (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1::text)),
        (SELECT count(*) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
            WHERE relnamespace = to_regnamespace($1::text) AND relname = 'about'
            AND attname IN ('version', 'oldest', 'shards', 'distributed')),
        (SELECT count(*) FROM pg_proc WHERE proname = 'create_distributed_table')"""

_COLUMNS = 4
"""Of ours in a table `about`, which others may have, too. The catalogue shows them to a role without any rights."""

_ABOUT = b"SELECT version, oldest, shards, distributed FROM about"


class About(NamedTuple):
    """What a schema says of itself."""

    version: int
    """0: it is not there yet."""
    oldest: int
    """The version that one must know at least."""
    layout: Layout


async def prepare(
    connection: TrioConnection, address: Address, migrations: Sequence[str], *, distribute: bool = False
) -> About:
    """Make sure that the schema is ours and bring it up to date; return what it says of itself then.

    Args:
        connection: a connection.
        address: says which schema, and how many shards it must have.
        migrations: the scripts; see `load_migrations`.
        distribute: whether it must be distributed.

    Raises:
        StoreTooNew: if a newer nurselog has written it.
        StoreCorrupt: if it belongs to another application.
        UsageError: if it was made in another way than is asked for.
        StoreError: if the server is too old, or its encoding is not UTF-8.
    """
    about = await look(connection, address, len(migrations), distribute=distribute)
    while about.version < len(migrations):
        async with connection.transaction():
            await connection.run_script(lock(address.schema))
            # Another process may have been faster: only under the lock the version is certain.
            if await look(connection, address, len(migrations), distribute=distribute) == about:
                script = migrations[about.version]
                await connection.run_script(step(address.schema, about.layout, about.version + 1, script))
        about = await look(connection, address, len(migrations), distribute=distribute)
    return about


async def look(connection: TrioConnection, address: Address, known: int, *, distribute: bool = False) -> About:
    """Return what the schema says of itself, or what will be true of it once it is made.

    Raises:
        StoreError: if it cannot be used; see `prepare`.
        UsageError: see `prepare`.
    """
    found = await connection.call(_LOOK, [text(address.schema)])
    [server], [encoding], [things], [ours], [citus] = (
        column(found, 0, number),
        column(found, 1, string),
        column(found, 2, number),
        column(found, 3, number),
        column(found, 4, number),
    )
    if server < OLDEST:
        raise StoreError(f"{address.shown}: nurselog needs PostgreSQL 14 or newer, and this is {server // 10000}")
    if encoding != "UTF8":
        raise StoreError(f"{address.shown}: nurselog needs a database whose encoding is UTF8, and this is {encoding}")
    if ours == _COLUMNS:
        return await _read(connection, address, known, distribute=distribute)
    if things:
        raise StoreCorrupt(
            f"{address.shown}: schema {address.schema!r} belongs to another application; choose one by schema="
        )
    layout = Layout(address.shards or 1, distribute)
    if distribute and layout.shards == 1:
        raise UsageError(f"{address.shown}: one shard cannot be distributed; say how many there are to be")
    if distribute and not citus:
        raise UsageError(f"{address.shown}: this database has no Citus; run CREATE EXTENSION citus in it first")
    return About(0, 1, layout)


async def _read(connection: TrioConnection, address: Address, known: int, *, distribute: bool) -> About:
    row = await connection.call(_ABOUT)
    if not row.ntuples:
        raise StoreCorrupt(
            f"{address.shown}: schema {address.schema!r} is not whole: its table about is empty. Was it copied without "
            "its rows?"
        )
    [version], [oldest], [shards], [distributed] = (
        column(row, 0, number),
        column(row, 1, number),
        column(row, 2, number),
        column(row, 3, truth),
    )
    if oldest > known:
        raise StoreTooNew(address.shown, oldest, known)
    if address.shards not in {None, shards}:
        raise UsageError(
            f"{address.shown}: this store was made with shards={shards}, which is for good; leave that out, or write "
            "the same"
        )
    if distribute and not distributed:
        raise UsageError(f"{address.shown}: this store was made without distributing it, which is for good")
    return About(version, oldest, Layout(shards, distributed))

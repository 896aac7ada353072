"""Opening a database: whose schema it is, which version it has, bringing it up to date.

A schema is looked at before anything in it is changed: one of another application stays as it is. Migrations go forward
only, each in a transaction, under a lock of the schema's own; whoever needs none of them needs no right to make any.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Sequence
from typing import NamedTuple

from ..._errors import StoreCorrupt, StoreError, StoreTooNew, UsageError
from .address import Address
from .binary import column, number, string, text
from .driver import TrioConnection

OLDEST = 140000
"""The oldest PostgreSQL, as it says it itself."""

_LOOK = b"""
    SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
        (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1::text)),
        (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1::text) AND relname = 'about')"""

_ABOUT = b"SELECT version, shards FROM about"

_LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended('nurselog ' || $1::text, 0))"


class About(NamedTuple):
    """What a schema says of itself."""

    version: int
    """0: it is not there yet."""
    shards: int


async def prepare(connection: TrioConnection, address: Address, migrations: Sequence[str]) -> int:
    """Make sure that the schema is ours, bring it up to date, and return how many shards it has.

    Raises:
        StoreTooNew: if a newer nurselog has written it.
        StoreCorrupt: if it belongs to another application.
        UsageError: if it has another number of shards than the address says.
        StoreError: if the server is too old, or its encoding is not UTF-8.
    """
    about = await look(connection, address, len(migrations))
    while about.version < len(migrations):
        async with connection.transaction():
            await connection.call(_LOCK, [text(address.schema)])
            # Another process may have been faster: only under the lock the version is certain.
            if await look(connection, address, len(migrations)) == about:
                await _apply(connection, address, about.version, migrations[about.version])
        about = await look(connection, address, len(migrations))
    if about.shards != address.shards:
        raise UsageError(
            f"{address.shown}: this store was made with {about.shards} shards, which is for good; write shards="
            f"{about.shards}"
        )
    return about.shards


async def look(connection: TrioConnection, address: Address, known: int) -> About:
    """Return what the schema says of itself.

    Raises:
        StoreError: if it cannot be used; see `prepare`.
    """
    found = await connection.call(_LOOK, [text(address.schema)])
    [server], [encoding], [things], [ours] = (
        column(found, 0, number),
        column(found, 1, string),
        column(found, 2, number),
        column(found, 3, number),
    )
    if server < OLDEST:
        raise StoreError(f"{address.shown}: nurselog needs PostgreSQL 14 or newer, and this is {server // 10000}")
    if encoding != "UTF8":
        raise StoreError(f"{address.shown}: nurselog needs a database whose encoding is UTF8, and this is {encoding}")
    if not ours:
        if things:
            raise StoreCorrupt(
                f"{address.shown}: schema {address.schema!r} belongs to another application; choose one by schema="
            )
        return About(0, address.shards)
    about = await connection.call(_ABOUT)
    [version], [shards] = column(about, 0, number), column(about, 1, number)
    if version > known:
        raise StoreTooNew(address.shown, version, known)
    return About(version, shards)


async def _apply(connection: TrioConnection, address: Address, version: int, script: str) -> None:
    # Not IF NOT EXISTS: that asks for the right to make schemas even where there is nothing to make.
    there = f"to_regnamespace('{address.schema}') IS NULL"
    await connection.run_script(
        f"DO $$ BEGIN IF {there} THEN CREATE SCHEMA {address.schema}; END IF; END $$;\n{script}"
    )
    about = f"UPDATE about SET version = {version + 1}"  # noqa: S608 - a number
    if not version:
        about = f"INSERT INTO about VALUES (1, {address.shards})"  # noqa: S608 - a number
    await connection.run_script(about)


@functools.cache
def load_migrations() -> tuple[str, ...]:
    """Return the migrations' scripts; each brings a schema to the version that is its place, from 1."""
    scripts = importlib.resources.files("nurselog._stores").joinpath("sql").iterdir()
    ours = sorted((s for s in scripts if s.name.startswith("postgres_")), key=lambda script: script.name)
    return tuple(script.read_text("utf-8") for script in ours)

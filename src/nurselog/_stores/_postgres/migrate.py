"""Bringing a schema up to date before an engine opens it, or showing how: what `nurselog migrate` does."""

from __future__ import annotations

from ..._errors import UsageError
from .address import MOST_SHARDS, Address
from .migrations import Layout, load_migrations, transaction
from .schema import look, prepare
from .session import address_of, connected


async def migrate(url: str, shards: int | None = None, *, distribute: bool = False) -> str:
    """Bring the schema at an address up to date, and return a sentence on what was done.

    Args:
        url: the address.
        shards: how many it must have; None: what the address says.
        distribute: whether it must be distributed by Citus.

    Raises:
        UsageError: if the address is none, or the schema was made in another way than is asked for.
        StoreError: if the database cannot be used.
    """
    address, migrations = _address(url, shards), load_migrations()
    async with connected(address, "migrate") as connection:
        before = await look(connection, address, len(migrations), distribute=distribute)
        after = await prepare(connection, address, migrations, distribute=distribute)
    place = f"schema {address.schema}, {_described(after.layout)}"
    if before.version == after.version:
        return f"{place}: has version {after.version}; there was nothing to do"
    if not before.version:
        return f"{place}: made, version {after.version}"
    return f"{place}: from version {before.version} to version {after.version}"


async def pending(url: str, shards: int | None = None, *, distribute: bool = False) -> str:
    """Return the SQL that `migrate` would run, and change nothing. The arguments are the same."""
    address, migrations = _address(url, shards), load_migrations()
    async with connected(address, "migrate") as connection:
        about = await look(connection, address, len(migrations), distribute=distribute)
    steps = [
        transaction(address.schema, about.layout, version, migrations[version - 1])
        for version in range(about.version + 1, len(migrations) + 1)
    ]
    return "\n".join(steps) or f"-- schema {address.schema} has version {about.version}: there is nothing to do\n"


async def find_version(url: str) -> int:
    """Return the version of the schema at an address; 0 if there is none.

    Raises:
        UsageError: if the address is none.
        StoreError: if the database cannot be used, or the schema is another application's.
    """
    address = address_of(url)
    async with connected(address, "migrate") as connection:
        return (await look(connection, address, len(load_migrations()))).version


def _address(url: str, shards: int | None) -> Address:
    address = address_of(url)
    if shards is None:
        return address
    if shards > MOST_SHARDS:
        raise UsageError(f"a store has {MOST_SHARDS} shards at most")
    if address.shards not in {None, shards}:
        raise UsageError(f"{address.shown} says shards={address.shards}, and not {shards}")
    return address._replace(shards=shards)


def _described(layout: Layout) -> str:
    if layout.distributed:
        return f"{layout.shards} shards distributed by Citus"
    return "1 shard" if layout.shards == 1 else f"{layout.shards} shards in partitions"

"""`nurselog migrate`: the schema of a store in PostgreSQL, made or brought up to date by whoever may do that."""

from __future__ import annotations

import argparse

import trio

from .. import UsageError
from .._stores import needing_psycopg
from .command import Command, positive


def _declare_migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="URL", help="the store, for instance postgresql://user@host/database")
    parser.add_argument("--shards", type=positive, metavar="N", help="make it with N shards (default: 1); for good")
    parser.add_argument("--distribute", action="store_true", help="let Citus distribute the shards; for good")
    parser.add_argument("--print", action="store_true", help="print the SQL, and change nothing")


def _migrate(chosen: argparse.Namespace) -> int:
    if str(chosen.store).startswith("sqlite:"):
        raise UsageError("a SQLite store is brought up to date whenever it is opened; migrate is for PostgreSQL")
    with needing_psycopg():
        from .._stores._postgres.migrate import migrate, pending  # noqa: PLC0415 - an extra: most have no need of it

    async def run() -> str:
        call = pending if chosen.print else migrate
        return await call(chosen.store, chosen.shards, distribute=chosen.distribute)

    print(trio.run(run).rstrip("\n"))
    return 0


MIGRATE = Command("migrate", "Make a store's schema in PostgreSQL, or bring it up to date.", _declare_migrate, _migrate)

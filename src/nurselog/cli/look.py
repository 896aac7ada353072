"""`nurselog list`, `log` and `export`: a look into a store, with an engine that has no workflows to run."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from .. import Engine, Status, StoreError, open_engine
from .._stores import needing_psycopg
from .._stores._postgres.address import hide
from .._stores.sqlite import parse_url
from .._tree import Line, draw_entry, draw_log, printable
from ..lowlevel import LogEntry
from .command import Command, positive

T = TypeVar("T")


def _declare_list(parser: argparse.ArgumentParser) -> None:
    _declare_store(parser)
    parser.add_argument("--limit", type=positive, metavar="N", default=100, help="at most N workflows (default: 100)")


def declare_workflow(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which workflow of which store."""
    _declare_store(parser)
    parser.add_argument("id", metavar="ID", help="the workflow's id")


def _declare_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="URL", help="the store, for instance sqlite:///quotes.db")


def _declare_log(parser: argparse.ArgumentParser) -> None:
    declare_workflow(parser)
    parser.add_argument("--follow", action="store_true", help="print its rows as they are written, until it has ended")


def _declare_export(parser: argparse.ArgumentParser) -> None:
    declare_workflow(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that is written, for instance golden/1.json")
    parser.add_argument(
        "--redact",
        action="append",
        metavar="FIELD",
        help="cross out the texts in fields of this name, and in errors; '*' means all; may be given several times",
    )


def _list(chosen: argparse.Namespace) -> int:
    for found in ask(chosen.store, lambda engine: engine.list(limit=chosen.limit)):
        reason, _, _ = str(found.problem).partition("\n")
        problem = f"  {reason}" if found.status is Status.STUCK else ""
        line = f"{found.created:%Y-%m-%d %H:%M:%S}  {found.status.value:<10}  {found.name}  {found.id}{problem}"
        print(printable(line))
    return 0


def _log(chosen: argparse.Namespace) -> int:
    if chosen.follow:
        ask(chosen.store, partial(_follow, chosen.id))
    else:
        log, status = ask(chosen.store, partial(_log_and_status, chosen.id))
        for line in draw_log(chosen.id, log):
            _print(line)
        if status is Status.STUCK:
            print("It is stuck: `nurselog list` says why.")
    return 0


async def _read_log(id: str, engine: Engine) -> Sequence[LogEntry]:
    return await (await engine.get(id)).log()


async def _log_and_status(id: str, engine: Engine) -> tuple[Sequence[LogEntry], Status]:
    handle = await engine.get(id)
    return await handle.log(), await handle.status()


async def _follow(id: str, engine: Engine) -> None:
    origin: int | None = None
    async for entry in (await engine.get(id)).follow_log():
        origin = entry.at if origin is None else origin
        _print(draw_entry(entry, origin))


def _print(line: Line) -> None:
    print(line.mark.paint(line.text) if sys.stdout.isatty() else line.text, flush=True)


def _export(chosen: argparse.Namespace) -> int:
    from ..testing import redact, save_log  # noqa: PLC0415 - all other commands start without what tests need

    log, name = ask(chosen.store, partial(_read_log, chosen.id)), {"id": chosen.id}
    if chosen.redact:
        with warnings.catch_warnings(record=True, action="always") as caught:
            log, name = redact(log, chosen.redact), {}
        for warning in caught:
            print(f"nurselog: {warning.message}", file=sys.stderr)
    save_log(log, chosen.file, **name)
    return 0


def ask(store: str, question: Callable[[Engine], Awaitable[T]]) -> T:
    """Return an engine's answer; it runs no workflows."""
    path = parse_url(store).path if store.startswith("sqlite:") else None
    if path and not path.is_file():  # opening it would create it
        raise StoreError(f"there is no file {path}")
    if path and not path.stat().st_size:  # opening it would make it a database
        raise StoreError(f"{path} is empty")
    if store.startswith("postgres"):
        _refuse_nothing(store)

    async def ask() -> T:
        async with open_engine(store, workflows=()) as engine:
            return await question(engine)

    return trio.run(ask)


def _refuse_nothing(store: str) -> None:
    """Refuse a database without a store: opening it would make one."""
    with needing_psycopg():
        from .._stores._postgres.migrate import find_version  # noqa: PLC0415 - it is an extra
    if not trio.run(find_version, store):
        raise StoreError(f"{hide(store)}: there is no store; `nurselog migrate` or whoever opens it makes one")


LIST = Command("list", "List a store's workflows, the newest first.", _declare_list, _list)
EXPORT = Command("export", "Write a workflow's log into a file, for tests to replay.", _declare_export, _export)
LOG = Command("log", "Draw a workflow's log as a tree.", _declare_log, _log)

"""The command `nurselog`: a table of subcommands.

`list` and `log` look into a store through the public interface, with an engine that has no workflows to run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import trio

from . import Engine, NurselogError, Status, StoreError, open_engine
from ._stores.sqlite import parse_url
from .demo.tree import draw_log, printable
from .lowlevel import LogEntry

T = TypeVar("T")

_INTERRUPTED = 130
"""The exit code that a shell gives to a program that SIGINT has ended."""


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    name: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    """Adds its arguments to a parser."""
    run: Callable[[argparse.Namespace], int]
    """Does it; returns the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (default: the program's own) ask for; return the exit code."""
    chosen = _parser().parse_args(arguments)
    code = _INTERRUPTED
    try:
        _prepare_output()
        code = _run(chosen)
        sys.stdout.flush()
    except* BrokenPipeError:  # `| head`: whoever reads has seen enough
        _drop_output()
    except* OSError as group:  # a disk that is full
        _drop_output()
        print(f"nurselog: {group.exceptions[0]}", file=sys.stderr)
        code = 1
    except* KeyboardInterrupt:  # in a group, if it came while Trio ran
        print("nurselog: interrupted", file=sys.stderr)
    return code


def _prepare_output() -> None:
    """See that there is an output, and that it takes every character, if only as its number."""
    if sys.stdout is None:  # closed by whoever started the program
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end, as an output is
    output: object = sys.stdout
    if isinstance(output, io.TextIOWrapper):  # what a caller has put in its place may be none
        cast("io.TextIOWrapper", output).reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let what is still to be written go nowhere, or Python would complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nurselog", description="Durable workflows for Trio.")
    parser.add_argument("--version", action="version", version=f"nurselog {_version()}")
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = choices.add_parser(command.name, help=command.summary, description=command.summary)
        command.declare(sub)
        sub.set_defaults(run=command.run)
    return parser


def _run(chosen: argparse.Namespace) -> int:
    try:
        return int(chosen.run(chosen))
    except NurselogError as exc:
        print(f"nurselog: {exc}", file=sys.stderr)
        return 1


def _version() -> str:
    try:
        return importlib.metadata.version("nurselog")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


# -- demo ----------------------------------------------------------------------------------------


def _declare_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=_positive, metavar="N", help="mirror N files only, drawn by the seed")
    parser.add_argument("--kills", type=_natural, metavar="N", default=5, help="kill the worker N times (default: 5)")
    parser.add_argument("--seed", type=int, metavar="S", default=1, help="of the mirrors' faults and the kills")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="do it in DIR, a new folder, and leave it there")


def _demo(chosen: argparse.Namespace) -> int:
    missing = [name for name in ("httpx", "h11", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"The demo needs {', '.join(missing)}. Run: pip install 'nurselog[demo]'", file=sys.stderr)
        return 2
    from .demo.run import Settings, run  # noqa: PLC0415 - what it needs is not there without the extra

    return run(Settings(files=chosen.files, kills=chosen.kills, seed=chosen.seed, keep=chosen.keep))


# -- looking into a store ------------------------------------------------------------------------


def _declare_list(parser: argparse.ArgumentParser) -> None:
    _declare_store(parser)
    parser.add_argument("--limit", type=_positive, metavar="N", default=100, help="at most N workflows (default: 100)")


def _declare_log(parser: argparse.ArgumentParser) -> None:
    _declare_store(parser)
    parser.add_argument("id", metavar="ID", help="the workflow's id")


def _declare_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="URL", help="the store, for instance sqlite:///quotes.db")


def _list(chosen: argparse.Namespace) -> int:
    for found in _ask(chosen.store, lambda engine: engine.list(limit=chosen.limit)):
        reason, _, _ = str(found.problem).partition("\n")
        problem = f"  {reason}" if found.status is Status.STUCK else ""
        line = f"{found.created:%Y-%m-%d %H:%M:%S}  {found.status.value:<10}  {found.name}  {found.id}{problem}"
        print(printable(line))
    return 0


def _log(chosen: argparse.Namespace) -> int:
    async def read(engine: Engine) -> Sequence[LogEntry]:
        return await (await engine.get(chosen.id)).log()

    for line in draw_log(chosen.id, _ask(chosen.store, read)):
        print(line.mark.paint(line.text) if sys.stdout.isatty() else line.text)
    return 0


def _ask(store: str, question: Callable[[Engine], Awaitable[T]]) -> T:
    """Return an engine's answer; it runs no workflows."""
    path = parse_url(store).path if store.startswith("sqlite:") else None
    if path and not path.is_file():  # opening it would create it
        raise StoreError(f"there is no file {path}")
    if path and not path.stat().st_size:  # opening it would make it a database
        raise StoreError(f"{path} is empty")

    async def ask() -> T:
        async with open_engine(store, workflows=()) as engine:
            return await question(engine)

    return trio.run(ask)


# -- arguments -----------------------------------------------------------------------------------


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _natural(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


COMMANDS = (
    Command("demo", "Mirror the standard library through faulty mirrors and killed processes.", _declare_demo, _demo),
    Command("list", "List a store's workflows, the newest first.", _declare_list, _list),
    Command("log", "Draw a workflow's log as a tree.", _declare_log, _log),
)
"""All subcommands."""


if __name__ == "__main__":
    sys.exit(main())

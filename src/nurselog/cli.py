"""The command `nurselog`: a table of subcommands.

None of them changes a store; `log` and `list` read one through the public interface.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


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
    parser = argparse.ArgumentParser(prog="nurselog", description="Durable workflows for Trio.")
    parser.add_argument("--version", action="version", version=f"nurselog {_version()}")
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = choices.add_parser(command.name, help=command.summary, description=command.summary)
        command.declare(sub)
        sub.set_defaults(run=command.run)
    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


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
)
"""All subcommands."""


if __name__ == "__main__":
    sys.exit(main())

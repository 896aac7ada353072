"""The command `nurselog`: a table of subcommands."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from .. import NurselogError
from .check import CHECK
from .command import BROKEN, INTERRUPTED, exit_code
from .delete import DELETE
from .demo import DEMO
from .look import EXPORT, LIST, LOG
from .migrate import MIGRATE
from .sweep import SWEEP
from .worker import WORKER

COMMANDS = (CHECK, DELETE, DEMO, EXPORT, LIST, LOG, MIGRATE, SWEEP, WORKER)
"""All subcommands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (default: the program's own) ask for; return the exit code."""
    chosen = _parser().parse_args(arguments)
    code = INTERRUPTED
    try:
        _prepare_output()
        code = _run(chosen)
        sys.stdout.flush()
    except* BrokenPipeError:  # `| head`: whoever reads has seen enough
        _drop_output()
    except* OSError as group:  # a disk that is full
        _drop_output()
        print(f"nurselog: {group.exceptions[0]}", file=sys.stderr)
        code = BROKEN
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
        return exit_code(exc)


def _version() -> str:
    try:
        return importlib.metadata.version("nurselog")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"

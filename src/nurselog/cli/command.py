"""What a subcommand is, and how its arguments are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from .. import NurselogError, UsageError

BROKEN, MISUSED = 1, 2
"""Exit codes: something went wrong; one was told what cannot be, as argparse has it, too."""

INTERRUPTED = 130
"""The exit code that a shell gives to a program that SIGINT has ended."""


def exit_code(error: NurselogError) -> int:
    """Return the exit code for an error: trying once more does not help whoever was told what cannot be."""
    return MISUSED if isinstance(error, UsageError) else BROKEN


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    name: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    """Adds its arguments to a parser."""
    run: Callable[[argparse.Namespace], int]
    """Does it; returns the exit code."""


def positive(text: str) -> int:
    """Read a number that is at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def natural(text: str) -> int:
    """Read a number that is at least 0."""
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number

"""What a subcommand is, and how its arguments are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

INTERRUPTED = 130
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

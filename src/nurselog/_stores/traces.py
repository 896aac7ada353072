"""Where in a store something is spoken of that is outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Traces(NamedTuple):
    """What a store has that may speak of it, all as of one moment."""

    values: Sequence[bytes]
    """The beginnings of values that begin with the mark."""
    bodies: Sequence[bytes]
    """The bodies of messages that have the mark in base 64."""


LENGTH = 256
"""Bytes of a value that are looked at."""

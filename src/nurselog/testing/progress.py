"""How far a search has come: a line on the terminal, and the end of the time that it may take."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Self

MOMENT = 1.0
"""Seconds; what takes no longer needs no line."""
OFTEN = 0.2
"""Seconds from one line to the next."""


class Progress:
    """A line that is written over, and taken away at the end; and whether there is time for more.

    Args:
        name: the workflow's.
        rounds: how many there will be, of which each has its share of the time.
        seconds: how long all may take; None: as long as it takes.
    """

    def __init__(self, name: str, rounds: int, seconds: float | None) -> None:
        self._name, self._rounds, self._seconds = name, rounds, seconds
        self._began = monotonic()
        self._next = self._began + MOMENT if sys.stderr.isatty() else float("inf")
        self._shown = False
        self._round = self._done = self._total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\033[K")

    def begin(self, moments: int) -> None:
        """A round begins, in which so much is to be tried; those to come are taken to be like it."""
        self._total = self._done + moments * (self._rounds - self._round)
        self._round += 1

    @property
    def late(self) -> bool:
        """Whether the round's time is over."""
        return self._seconds is not None and monotonic() - self._began >= self._seconds * self._round / self._rounds

    def step(self) -> None:
        """Something more has been tried."""
        self._done += 1
        if (now := monotonic()) >= self._next:
            self._next, self._shown = now + OFTEN, True
            left = (now - self._began) / self._done * (self._total - self._done)
            sys.stderr.write(f"\r\033[K{self._name}: {self._done:,} of {self._total:,} tried, {left:,.0f} s left")
            sys.stderr.flush()

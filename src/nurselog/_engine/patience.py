"""What everybody does while the store is unavailable (locked, full, unreachable): wait, and try again.

An outage is in the log with its first sentence, with each other one, and with its end: one that lasts for an hour must
not fill a disk.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from .._errors import StoreUnavailable

logger = logging.getLogger("nurselog")

T = TypeVar("T")

_LONGEST = 2.0
"""Seconds: the longest wait before a call is made again."""

_FIRST = 1 / 40
"""What part of it the first one is; each is twice the one before."""


class Outage:
    """Says what keeps somebody from the store, each reason once.

    Args:
        what: the sentence's beginning.
    """

    def __init__(self, what: str = "the store is unavailable") -> None:
        self._what = what
        self._said: set[str] = set()

    def say(self, error: StoreUnavailable) -> None:
        """Say it, unless it was said before."""
        reason = str(error)
        if reason not in self._said:
            self._said.add(reason)
            logger.warning("%s: %s", self._what, reason)

    def over(self) -> None:
        """Say that it is over, if there was one."""
        if self._said:
            self._said.clear()
            logger.info("the store is available again")


async def patiently(call: Callable[[], Awaitable[T]], outage: Outage | None = None, *, longest: float = _LONGEST) -> T:
    """Make a call to the store; while the store is unavailable, try again.

    Args:
        call: what is tried; it must be safe to make it again when an answer was lost.
        outage: says why one must wait; one of the call's own unless told.
        longest: seconds between two calls at most.
    """
    outage = outage or Outage()
    pause = longest * _FIRST
    while True:
        try:
            answer = await call()
        except StoreUnavailable as exc:
            outage.say(exc)
            await trio.sleep(pause)
            pause = min(2 * pause, longest)
        else:
            outage.over()
            return answer

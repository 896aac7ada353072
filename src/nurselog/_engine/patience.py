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

_BACKOFF = (0.05, 2.0)
"""Seconds: the first and the longest wait before a call is made again."""


class Outage:
    """Says what keeps somebody from the store, once.

    Args:
        what: the sentence's beginning.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._said: str | None = None

    def say(self, error: StoreUnavailable) -> None:
        """Say it, unless it was said before."""
        if str(error) != self._said:
            self._said = str(error)
            logger.warning("%s: %s", self._what, error)

    def over(self) -> None:
        """Say that it is over, if there was one."""
        if self._said is not None:
            logger.info("the store is available again")


async def patiently(call: Callable[[], Awaitable[T]], what: str = "the store is unavailable") -> T:
    """Make a call to the store; while the store is unavailable, try again.

    Args:
        call: what is tried; it must be safe to make it again when an answer was lost.
        what: the beginning of the sentence that the log gets.
    """
    outage = Outage(what)
    pause, longest = _BACKOFF
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

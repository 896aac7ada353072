"""Ends what does not end by itself: code that moves without virtual time would go on for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import trio

PATIENCE = 120
"""Seconds of the wall clock."""


class Hang(BaseException):
    """Something does not end."""


@contextmanager
def watchdog() -> Iterator[None]:
    """Raise `Hang` in what runs in the block for longer than it may."""

    def bark(number: int, frame: FrameType | None) -> NoReturn:
        raise Hang(f"still running after {PATIENCE} s, at {frame and frame.f_code}")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        vars(trio._core._run.GLOBAL_RUN_CONTEXT).clear()  # what has hung has left it as it was

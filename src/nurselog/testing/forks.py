"""Work that is shared among several processes.

Each is a fork of this one, so nothing need be sent to it: it has the fakes, the workflow and all that was lived so far.
What comes back is sent, and so must be plain. Whatever a child cannot do (its answer has no form, somebody stopped it,
its work raised) the parent does itself, and sees what comes of it.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any, TypeVar

T = TypeVar("T")


def processors() -> int:
    """Return among how many processes work may be shared; 1: not at all.

    A fork has one thread, and the locks of all: where there are several, it may wait for one that nobody will release.
    """
    if threading.active_count() > 1 or multiprocessing.current_process().daemon or not hasattr(os, "sched_getaffinity"):
        return 1
    return len(os.sched_getaffinity(0))


def shared(items: Sequence[int], work: Callable[[int], T], count: int) -> Iterator[tuple[int, T]]:
    """Do work on items in several processes; yield each item with its result, as they come; some may not come."""
    forks: dict[Any, ForkProcess] = {}
    try:
        for number in range(count):
            near, process = _fork(items[number::count], work)
            forks[near] = process
        working = set(forks)
        while working:
            ready: Any
            for ready in wait(working):
                try:
                    yield ready.recv()
                except (EOFError, OSError):  # it has ended, or was ended in the middle of an answer
                    working.discard(ready)
    finally:
        for near, process in forks.items():
            process.terminate()
            process.join()
            near.close()


def _fork(items: Sequence[int], work: Callable[[int], object]) -> tuple[Any, ForkProcess]:
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=work_off, args=(far, items, work), daemon=True)
    process.start()
    far.close()
    return near, process


def work_off(far: Any, items: Sequence[int], work: Callable[[int], object]) -> None:
    """Do work on items, and send what comes of it, until something goes wrong or nobody is left who wants it."""
    parent = os.getppid()
    with far, suppress(BaseException):
        for item in items:
            if os.getppid() != parent:
                break
            far.send((item, work(item)))

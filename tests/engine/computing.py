"""Steps that compute in worker processes, which find them here by their names."""

from __future__ import annotations

import functools
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nurselog import step


@step(process=True)
def total(count: int, *, times: int = 1) -> int:
    return sum(range(count)) * times


@step(process=True)
def pid() -> int:
    return os.getpid()


class Odd(Exception):
    """Pickle cannot make it again: its constructor takes something else."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Unheard(Exception):
    """The log cannot make it again either."""

    def __init__(self, what: object) -> None:
        super().__init__("unheard of")
        self.what = what


@step(process=True)
def fail(how: str) -> None:
    if how == "plain":
        raise KeyError("which")
    if how == "odd":
        raise Odd(1, 2) from OSError("disk")
    if how == "group":
        raise ExceptionGroup("both", [Odd(1, 2), ValueError("no")])
    if how == "unheard":
        raise Unheard(threading.Lock())
    if how == "large":
        raise ValueError("x" * 5000)


@step(process=True)
def die(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)


@step(process=True)
def get_terminated() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    return "went on"


@step(process=True, check_arguments=False)
def give(what: Callable[[], object]) -> object:
    return what()


class Unloadable:
    """It goes out of a process, and not into another one."""

    def __reduce__(self) -> Any:
        return _only_in, (os.getpid(),)


def _only_in(number: int) -> None:
    if os.getpid() != number:
        raise ValueError("not here")


def unloadable() -> object:
    return Unloadable()


@step(process=True)
def spin(file: str) -> None:
    """Compute for ever; say who does."""
    Path(file).write_text(str(os.getpid()), "ascii")
    while True:
        pass


@step(process=True, name="brief")
def brief(file: str) -> str:
    """Add a line, and take a moment."""
    with Path(file).open("a", encoding="ascii") as lines:
        lines.write("began\n")
    time.sleep(0.3)
    with Path(file).open("a", encoding="ascii") as lines:
        lines.write("ended\n")
    return "done"


@step(process=True)
def leave_a_thread() -> None:
    """Leave something that keeps the process from ending."""
    threading.Thread(target=time.sleep, args=(60,)).start()


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    @step(process=True)
    def after(self, steps: int) -> int:
        return self.start + steps


factorial = step(process=True, name="factorial")(math.factorial)
power = step(process=True, name="power")(functools.partial(total.fn, times=3))

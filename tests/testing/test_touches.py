"""What workflow code touches that no log has is found where it is, and nothing that others touch."""

from __future__ import annotations

import datetime as dt
import gc
import importlib
import inspect
import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from time import time as what_time
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
import trio

import nurselog
from nurselog import Workflow, now, open_nursery, rng, sleep, step, workflow
from nurselog.testing import (
    Kind,
    Touch,
)
from tests.testing.watched import Moment, everything, seen

FILE = Path(__file__)


# -- what is found -------------------------------------------------------------------------------

TOUCHING: list[tuple[Workflow[..., Any], Kind, str]] = []
ours = random.Random(1)


def touching(kind: Kind, name: str) -> Callable[[Any], None]:
    def enter(fn: Any) -> None:
        TOUCHING.append((workflow(name=f"touching: {fn.__name__}")(fn), kind, name))

    return enter


@touching(Kind.CLOCK, "time.time")
async def a_clock() -> None:
    time.time()  # here


@touching(Kind.CLOCK, "time.time")
async def a_clock_under_another_name() -> None:
    what_time()  # here


@touching(Kind.CLOCK, "time.perf_counter_ns")
async def a_clock_after_a_wait() -> None:
    await sleep(1)
    time.perf_counter_ns()  # here


@touching(Kind.CLOCK, "datetime.datetime.now")
async def a_date() -> None:
    dt.datetime.now(dt.UTC)  # here


@touching(Kind.CLOCK, "datetime.datetime.now")
async def a_date_of_another_class() -> None:
    Moment.now(dt.UTC)  # here


@touching(Kind.CLOCK, "datetime.date.today")
async def a_day() -> None:
    dt.date.today()  # here  # noqa: DTZ011 - it is to be seen


@touching(Kind.CLOCK, "trio.current_time")
async def trios_clock() -> None:
    trio.current_time()  # here


@touching(Kind.CLOCK, "time.monotonic")
async def a_clock_in_a_branch() -> None:
    async def branch() -> None:
        await sleep(1)
        time.monotonic()  # here

    async with open_nursery() as nursery:
        nursery.go(branch, name="branch")


@touching(Kind.CLOCK, "time.monotonic")
async def a_clock_in_a_plain_task() -> None:
    async def task() -> None:
        time.monotonic()  # here

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)


@touching(Kind.CLOCK, "anyio._core._eventloop.current_time")
async def a_clock_by_way_of_a_library() -> None:
    anyio.current_time()  # here


@touching(Kind.RANDOM, "random.random")
async def a_number() -> None:
    random.random()  # here


@touching(Kind.RANDOM, "random.Random.randint")
async def a_whole_number() -> None:
    random.randint(1, 6)  # here


@touching(Kind.RANDOM, "random.Random.getrandbits")
async def a_number_of_a_generator_that_is_not_its_own() -> None:
    ours.getrandbits(8)  # here


@touching(Kind.RANDOM, "random.Random.seed")
async def a_seed_for_all() -> None:
    random.seed(7)  # here


@touching(Kind.RANDOM, "random.Random")
async def a_generator_without_a_seed() -> None:
    random.Random()  # here


@touching(Kind.RANDOM, "uuid.uuid4")
async def a_uuid() -> None:
    uuid.uuid4()  # here


@touching(Kind.CLOCK, "uuid.uuid1")
async def a_uuid_of_a_time() -> None:
    uuid.uuid1()  # here


@touching(Kind.RANDOM, "os.urandom")
async def noise() -> None:
    os.urandom(8)  # here


@touching(Kind.RANDOM, "secrets.token_hex")
async def a_secret() -> None:
    secrets.token_hex()  # here


@touching(Kind.ENVIRONMENT, "os.environ")
async def a_variable() -> None:
    os.environ.get("HOME")  # here


@touching(Kind.ENVIRONMENT, "os.getenv")
async def a_variable_by_a_function() -> None:
    os.getenv("HOME")  # here


@touching(Kind.ENVIRONMENT, "os.getpid")
async def a_process_id() -> None:
    os.getpid()  # here


@touching(Kind.FILE, "open")
async def a_file() -> None:
    open(os.devnull).close()  # here  # noqa: ASYNC230, PTH123 - it is to be seen


@touching(Kind.FILE, "os.stat")
async def whether_there_is_a_file() -> None:
    os.stat(os.devnull)  # here  # noqa: PTH116 - it is to be seen


@touching(Kind.FILE, "os.listdir")
async def a_folder() -> None:
    os.listdir(b"/")  # here  # noqa: PTH208 - it is to be seen


@touching(Kind.NETWORK, "socket.connect")
async def a_socket() -> None:
    with socket.socket() as mine:
        mine.connect_ex(("127.0.0.1", 1))  # here


@touching(Kind.PROCESS, "subprocess.run")
async def a_process() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)  # here  # noqa: ASYNC221 - it is to be seen


@pytest.mark.parametrize(("touching", "kind", "name"), [pytest.param(*one, id=one[0].name) for one in TOUCHING])
def test_a_touch_is_found_where_it_is(touching: Workflow[..., Any], kind: Kind, name: str) -> None:
    lines, first = inspect.getsourcelines(touching.fn)
    [line] = [first + place for place, line in enumerate(lines) if "# here" in line]
    assert list(seen(touching)) == [Touch(kind, name, str(FILE), line)]


@workflow
async def touches_often() -> None:
    for _ in range(3):
        time.time()
    time.time()


def test_a_place_is_told_once() -> None:
    first = inspect.getsourcelines(touches_often.fn)[1]
    touches = seen(touches_often, touches_often)
    assert [touch.line - first for touch in touches] == [3, 4]
    assert str(touches[0]) == f"a clock (time.time) at {FILE}:{first + 3}"


# -- no false alarm ------------------------------------------------------------------------------

RIGHT: list[Workflow[..., Any]] = []


def right(fn: Any) -> None:
    RIGHT.append(workflow(name=f"right: {fn.__name__}")(fn))


@step
def everything_in_a_thread() -> int:
    time.time()
    open(os.devnull).close()  # noqa: PTH123 - it is to be seen
    return 1


class Slow(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        time.time()


class Left:
    def __del__(self) -> None:
        time.time()


@right
async def steps() -> None:
    await everything()
    async with open_nursery() as nursery:
        nursery.go(everything)
    await everything_in_a_thread()


@right
async def what_nurselog_has() -> None:
    now()
    rng().random()
    rng().shuffle([1, 2, 3])
    nurselog.uuid4()
    with nurselog.move_on_after(5):
        await sleep(1)


@right
async def what_trio_does() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)
    with trio.CancelScope():
        await trio.lowlevel.checkpoint()


@right
async def a_generator_of_its_own() -> None:
    mine = random.Random(5)
    mine.random()
    mine.choice("abc")
    mine.seed("again")
    mine.random()


@right
async def a_log_of_its_own() -> None:
    logger = logging.getLogger("workflow")
    logger.addHandler(handler := Slow())
    logger.error("something")
    logger.removeHandler(handler)


@right
async def a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn("something", stacklevel=1)


@right
async def a_traceback() -> None:
    try:
        raise ValueError
    except ValueError:
        traceback.format_exc()


@right
async def an_import() -> None:
    sys.modules.pop("wave", None)
    importlib.import_module("wave")


@right
async def an_assertion_that_fails() -> None:
    try:
        assert [1, 2] == [1, 3]
    except AssertionError as exc:
        str(exc)


@right
async def a_time_zone() -> None:
    now().astimezone(ZoneInfo.no_cache("Asia/Tokyo"))


@right
async def a_finalizer() -> None:
    Left()


@right
async def a_garbage_collection() -> None:
    """It looks at the clock as some libraries do, to know how long it takes."""

    def measures(*_: object) -> None:
        time.time()

    gc.callbacks.append(measures)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(measures)


@right
async def a_signal() -> None:
    def measures(*_: object) -> None:
        time.time()

    before = signal.signal(signal.SIGTERM, measures)
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@right
async def dates_that_are_computed() -> None:
    dt.datetime.fromtimestamp(0, dt.UTC)
    dt.datetime.fromisoformat("2030-01-01")
    time.gmtime(0)
    uuid.UUID(int=5)


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in RIGHT])
def test_no_alarm_is_raised(one: Workflow[..., Any]) -> None:
    assert list(seen(one)) == []

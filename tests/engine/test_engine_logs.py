"""What workflows log: each line once, with the workflow's id."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from nurselog import LogFilter, expose, open_engine, open_nursery, sleep, step, workflow
from nurselog._flow import strand
from nurselog._flow.strand import logger as own
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock
logger = logging.getLogger("tests.logs")


class Keeper(logging.Handler):
    """Keeps lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"workflows": {"()": "nurselog.LogFilter"}},
        "formatters": {"plain": {"format": "%(workflow_id)s|%(workflow_path)s|%(workflow_step)s|%(message)s"}},
        "handlers": {"keep": {"()": Keeper, "filters": ["workflows"], "formatter": "plain"}},
        "loggers": {name: {"handlers": ["keep"], "level": "INFO"} for name in ("tests.logs", "nurselog")},
    }
    logging.config.dictConfig(config)
    [handler] = logger.handlers
    assert isinstance(handler, Keeper)
    yield handler.lines
    for name in ("tests.logs", "nurselog"):
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(logging.NOTSET)


@step(name="logs.nap")
async def nap(seconds: float) -> None:
    logger.info("naps")
    await trio.sleep(seconds)


@step(name="logs.dig")
def dig() -> None:
    logger.info("digs")


async def branch() -> None:
    logger.info("branches")
    await nap(1)


@workflow(name="logs.talking")
async def talking() -> None:
    logger.info("begins")
    expose(None)
    await nap(1)
    logger.info("goes on")
    async with open_nursery() as nursery:
        nursery.go(branch)
    await nap(5)
    logger.info("ends")


@workflow(name="logs.closing")
async def closing() -> None:
    try:
        await sleep(1)
    finally:
        logger.info("is closed")


@talking.query
def state(state: None) -> str:
    logger.info("is asked")
    return str(state)


WHOLE = [
    "one|||begins",
    "one|1|logs.nap|naps",
    "one|||goes on",
    "one|3||branches",
    "one|3.1|logs.nap|naps",
    "one|4|logs.nap|naps",
    "one|||ends",
]


async def test_each_line_says_whose_it_is(autojump_clock: Clock, lines: list[str]) -> None:
    async with in_memory(workflows=[talking]) as engine:
        await engine.run(talking, id="one")
    assert lines == WHOLE
    logger.info("outside")
    assert lines[-1] == "|||outside"


async def test_a_replay_is_silent(autojump_clock: Clock, tmp_path: Path, lines: list[str]) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", talking, clock=clock) as engine:
        await engine.submit(talking, id="one")
        await trio.sleep(4)
    assert lines == WHOLE[:-1]
    async with on_file(tmp_path / "log.db", talking, clock=clock) as engine:
        await (await engine.get("one")).result()
    assert lines == [*WHOLE[:-1], "one|4|logs.nap|naps", "one|||ends"], "the step has begun again"


async def test_what_waited_for_its_first_engine_is_no_replay(
    autojump_clock: Clock, tmp_path: Path, lines: list[str]
) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", talking, clock=clock, max_running=1) as engine:
        await engine.submit(talking, id="zero")
        await engine.submit(talking, id="one")
    lines.clear()
    async with on_file(tmp_path / "log.db", talking, clock=clock) as engine:
        await (await engine.get("one")).result()
    assert [line for line in lines if line.startswith("one")] == WHOLE


async def test_queries_and_forks_are_silent_where_they_replay(autojump_clock: Clock, lines: list[str]) -> None:
    async with in_memory(workflows=[talking]) as engine:
        await engine.run(talking, id="one")
        lines.clear()
        assert await engine.query("one", state) == "None"
        assert lines == ["|||is asked"]
        await (await engine.fork("one", at=2, new_id="two")).result()
    assert "two|||begins" not in lines
    assert "two|||ends" in lines


async def test_what_is_logged_on_the_way_out_of_memory_has_not_happened(
    autojump_clock: Clock, tmp_path: Path, lines: list[str]
) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", closing, clock=clock) as engine:
        await engine.submit(closing, id="one")
        await trio.sleep(0.5)
    assert lines == []
    async with on_file(tmp_path / "log.db", closing, clock=clock) as engine:
        await (await engine.get("one")).result()
    assert lines == ["one|||is closed"]


async def test_queries_are_silent_where_the_log_has_only_just_begun(
    autojump_clock: Clock, tmp_path: Path, lines: list[str]
) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", talking, clock=clock, max_running=1) as engine:
        await engine.submit(talking, id="zero")
        await engine.submit(talking, id="one")
        lines.clear()
        assert await engine.query("one", state) == "None"
    assert [line for line in lines if not line.startswith("zero")] == ["|||is asked"]


async def test_steps_in_threads(lines: list[str]) -> None:
    @workflow(name="logs.digging")
    async def digging() -> None:
        await dig()

    async with open_engine("sqlite://", [digging]) as engine:
        await engine.run(digging, id="one")
    assert lines == ["one|1|logs.dig|digs"]


async def test_what_nurselog_says_is_never_dropped(
    autojump_clock: Clock, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", talking, clock=clock) as engine:
        await engine.submit(talking, id="one")
        await trio.sleep(1.5)
    lines.clear()
    monkeypatch.setattr(strand, "LONG_TURN", -1.0)
    async with on_file(tmp_path / "log.db", talking, clock=clock):
        await trio.sleep(0.1)
    assert own.name == "nurselog"
    assert any("held up its whole process" in line for line in lines)
    assert not any("begins" in line for line in lines)


def test_it_is_a_filter() -> None:
    record = logging.makeLogRecord({"msg": "x"})
    assert LogFilter().filter(record)
    assert record.__dict__["workflow_id"] == ""

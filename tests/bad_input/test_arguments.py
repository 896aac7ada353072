"""Arguments that are not what their annotations say: each is refused where it is given, and in words."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    RegistrationError,
    Retry,
    Status,
    UsageError,
    WorkflowNotFound,
    WorkflowStuck,
    open_engine,
    step,
    workflow,
)
from nurselog._stores import open_store
from nurselog.lowlevel import JsonCodec
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file, sql

Clock = trio.testing.MockClock

HALF = "half of a character: \ud800"


@step
async def quick(n: int = 1) -> int:
    return n


@workflow
async def running(n: int = 1) -> int:
    return await quick(n)


# -- decorators ----------------------------------------------------------------------------------


async def plain() -> None: ...


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("version", [2, b"two", HALF])
def test_a_version_is_a_text(version: Any) -> None:
    with pytest.raises(RegistrationError, match="workflow 'plain': the version"):
        workflow(version=version)(plain)


@pytest.mark.parametrize("name", [5, b"name", "", "a\nb", HALF])
def test_a_name_is_a_printable_text(name: Any) -> None:
    for refused in (workflow(name=name), step(name=name), lambda _: quick.using(name=name)):
        with pytest.raises(RegistrationError, match="1 to 200 printable characters"):
            refused(plain)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retry": 3}, "step 'plain': retry must be a nurselog.Retry, not 3"),
        ({"timeout": "5"}, "step 'plain': timeout must be a number of seconds, more than 0, not '5'"),
        ({"timeout": timedelta(seconds=1)}, "step 'plain': timeout must be a number"),
        ({"attempt_timeout": True}, "step 'plain': attempt_timeout must be a number"),
    ],
)
def test_options_of_a_step(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        step(**options)(plain)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (running, "is a workflow"),
        (Path, "is a class"),
        (generator, "is a generator"),
        (async_generator, "is a generator"),
    ],
)
def test_what_is_no_step(wrong: Any, said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        step(name="x")(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": "3"},
        {"attempts": 2.5},
        {"attempts": math.inf},
        {"attempts": True},
        {"delay": math.nan},
        {"delay": "1"},
        {"max_delay": math.nan},
        {"factor": math.inf},
        {"jitter": math.nan},
        {"when": "OSError"},
        {"when": int},
        {"when": (OSError, "x")},
        {"when": None},
    ],
)
def test_a_retry_of_nonsense(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(UsageError, match=f"{name} must be"):
        Retry(**wrong)


# -- open_engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_running": 1.5}, "max_running must be a whole number, 1 or more, or math.inf, not 1.5"),
        ({"max_running": "many"}, "max_running must be"),
        ({"max_threads": 0.5}, "max_threads must be"),
        ({"max_processes": "all"}, "max_processes must be"),
        ({"max_inbox": math.inf}, "max_inbox must be a whole number, 1 or more, not inf"),
        ({"lease": None}, "lease must be a number of seconds, more than 0, not None"),
        ({"codec": 5}, r"codec must have the interface of nurselog.abc.Codec: 5 has no check, encode, decode"),
        ({"codec": JsonCodec}, "codec must have .* is a class, not an object"),
        ({"clock": 5}, "clock must have the interface of nurselog.abc.Clock"),
        ({"workflows": running}, "workflows must be a list of them"),
        ({"workflows": 5}, "workflows must be a list of them"),
    ],
)
async def test_options_of_an_engine(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        async with open_engine("sqlite://", **{"workflows": ()} | options):
            pytest.fail("it must not open")


async def test_no_limit_is_a_limit(autojump_clock: Clock) -> None:
    async with in_memory(max_running=math.inf, max_threads=math.inf, max_payload=math.inf) as engine:
        assert await engine.run(running) == 1


@pytest.mark.parametrize("store", [Path("store.db"), None, 5])
async def test_what_is_no_store(store: Any) -> None:
    with pytest.raises(UsageError, match=r"store, unless it is an address such as .* has no shared, "):
        async with open_engine(store, ()):
            pytest.fail("it must not open")
    with pytest.raises(UsageError, match="no address of a store"):
        open_store(store, clock=VirtualClock())


@pytest.mark.parametrize("name", ["/", "", "store\udcff.db"])
async def test_an_address_without_a_file_name(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path}/{name}" if "." in name else f"sqlite:///{name}"
    with pytest.raises(UsageError, match="no address of a SQLite store"):
        async with open_engine(url, ()):
            pytest.fail("it must not open")


# -- an engine's calls ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": "x"}, "limit must be a whole number, 0 or more, not 'x'"),
        ({"limit": 1.5}, "limit must be"),
        ({"limit": -1}, "limit must be"),
        ({"status": "running"}, "status must be a list of nurselog.Status, not 'running'"),
        ({"status": Status.RUNNING}, "status must be"),
        ({"status": ["running"]}, "status must be"),
        ({"status": 5}, "status must be"),
        ({"name": 5}, "name must be a str"),
        ({"name": HALF}, "name has a character"),
        ({"prefix": HALF}, "prefix has a character"),
        ({"before": "one"}, "before must be a WorkflowInfo"),
    ],
)
async def test_what_list_refuses(autojump_clock: Clock, arguments: dict[str, Any], said: str) -> None:
    async with in_memory() as engine:
        with pytest.raises(UsageError, match=said):
            await engine.list(**arguments)


async def test_what_list_takes(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(running, id="one")
        for arguments in ({"limit": 2**70}, {"status": iter([Status.COMPLETED])}, {"status": [*Status]}):
            [found] = await engine.list(**arguments)  # type: ignore[arg-type]  # of several types
            assert found.id == "one"
        assert await engine.list(status=[]) == []


@pytest.mark.parametrize("id", [HALF, 5, None, b"one"])
@pytest.mark.parametrize("call", [Engine.get, Engine.cancel, Engine.kill, Engine.resume])
async def test_what_is_no_id(autojump_clock: Clock, call: Any, id: Any) -> None:
    async with in_memory() as engine:
        with pytest.raises(UsageError, match="a workflow's id"):
            await call(engine, id)
        with pytest.raises(WorkflowNotFound):
            await call(engine, "of/none")


@pytest.mark.parametrize("at", [True, 1.5, "1", None])
async def test_a_fork_is_cut_at_a_number(autojump_clock: Clock, at: Any) -> None:
    async with in_memory() as engine:
        await engine.run(running, id="one")
        with pytest.raises(UsageError, match="at must be a whole number"):
            await engine.fork("one", at=at)
        assert await engine.run(running) == 1


async def test_a_fork_of_what_cannot_be_read_is_stuck(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is found out when it is durable already: nobody else must pay for it."""
    path = tmp_path / "log.db"
    async with on_file(path, running) as engine:
        await engine.run(running, id="one")
        sql(path, "UPDATE log SET event = json_set(event, '$.version', 2) WHERE seq = 1")
        fork = await engine.fork("one", at=1)
        with pytest.raises(WorkflowStuck, match="cannot be read by this release"):
            await fork.result()
        assert await engine.run(running, 5) == 5

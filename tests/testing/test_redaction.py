"""Logs whose texts are crossed out: what is left of them, and that the code still follows."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from nurselog import (
    Engine,
    Retry,
    UsageError,
    WorkflowHandle,
    open_engine,
    open_stream,
    publish,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog.lowlevel import Answered, Claimed, Emitted, LogEntry, Published, Received, decode_error
from nurselog.testing import Hangs, Script, VirtualClock, fakes, redact, replay


@step
async def ask(question: str) -> str:
    raise AssertionError("the real one")


def recorded(flow: Any, *args: Any, answers: Any, seconds: float = 1, then: Callable[..., Any] | None = None) -> Any:
    """Return the log of a run, as it is after so many virtual seconds, or after what is done with the engine then."""

    async def main() -> list[LogEntry]:
        with fakes({ask: Script(*answers)}):
            async with open_engine("sqlite://", [flow], clock=VirtualClock()) as engine:
                handle = await engine.submit(flow, *args, id="ada@example.org")
                await trio.sleep(seconds)
                if then is not None:
                    handle = await then(engine, handle)
                    await trio.sleep(1)
                return list(await handle.log())

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_redaction() -> None:
    @step(name="person")
    async def person(name: str) -> dict[str, Any]:
        return {"name": name, "age": 40, "pets": [{"name": "Rex", "kind": "dog"}]}

    @workflow(name="meet")
    async def meet(name: str) -> str:
        found = await person(name)
        with pytest.raises(ExceptionGroup):
            await ask("why?")
        return f"{found['name']} {len(found['pets'])}"

    error = ExceptionGroup("secret", [ValueError("secret")])
    log = recorded(meet, "Ada", answers=(error,))
    named = redact(log, ["name"])
    assert b'{"age":40,"name":"xxx","pets":[{"kind":"dog","name":"xxx"}]}' in [one.value for one in named]
    assert b'{"name":"xxx"}' in [one.value for one in named], "the input"
    everything = redact(log)
    assert b'{"age":40,"name":"xxx","pets":[{"kind":"xxx","name":"xxx"}]}' in [one.value for one in everything]
    assert all(b"secret" not in (one.value or b"") for one in (*named, *everything))
    assert replay(meet, everything).ahead, "the code can still follow it"


def test_redaction_of_a_cancelled_run_with_retries() -> None:
    @workflow(name="insist")
    async def insist() -> None:
        await ask.using(retry=Retry(attempts=3, delay=60))("why?")

    error = ValueError("secret")
    error.__cause__ = KeyError("secret", 5)

    async def cancel(engine: Any, handle: Any) -> Any:
        await engine.cancel(handle.id, "secret")
        return handle

    log = redact(recorded(insist, answers=(error, Hangs()), seconds=100, then=cancel))
    assert "secret" not in repr(log)
    assert "xxxxxx" in repr(log)
    replay(insist, log)


class Colour(enum.Enum):
    RED = "red"


class Refusal(Exception):
    """An error that holds more than its arguments."""

    def __init__(self, code: int, who: str) -> None:
        super().__init__(f"{who} was refused")
        self.code = code
        self.who = who
        self.names = ("secret", frozenset({1}), {"key": ["secret", 2.5]})
        self.kind = Refusal
        self.inner = ValueError("secret", 7)
        self.when = datetime(2030, 1, 1)  # noqa: DTZ001 - the test is about texts
        self.number = uuid.UUID(int=7)
        self.colour = Colour.RED


def test_errors_keep_what_they_hold_and_is_no_text() -> None:
    @workflow(name="refused")
    async def refused() -> int:
        with pytest.raises(Refusal) as caught:
            await ask("may I?")
        error = caught.value
        await sleep(error.code)
        assert error.kind is Refusal
        assert error.inner.args[1] == 7
        assert len(error.names[2]["key"]) == len(error.who) - 1
        return 0

    log = recorded(refused, answers=(Refusal(3, "Ada"),), seconds=10)
    bare = redact(log)
    replay(refused, log)
    assert replay(refused, bare).ahead, "the code can still follow it, to its end"
    [value] = [one.value for one in bare if one.value and b"Refusal" in one.value]
    assert b"secret" not in value
    record = decode_error(value)
    assert record.args == ["xxxxxxxxxxxxxxx"]
    assert record.attributes["who"] == "xxx"
    assert record.attributes["code"] == 3
    assert record.attributes["when"] is record.attributes["colour"] is record.attributes["number"] is None


def test_an_error_whose_classes_are_not_here() -> None:
    log = recorded(_asking, answers=(Refusal(3, "Ada"),))
    elsewhere = [replace(one, value=one.value and one.value.replace(b":Colour", b":Gone")) for one in log]
    assert b"Gone" not in b"".join(one.value or b"" for one in redact(elsewhere))


@workflow(name="asking")
async def _asking() -> str:
    await sleep(1)
    return await ask("why?")


def test_where_a_fork_is_from() -> None:
    async def fork(engine: Any, handle: Any) -> Any:
        return await engine.fork(handle.id, at=3)

    log = recorded(_asking, answers=("so",), seconds=3, then=fork)
    assert "ada@example.org" in repr(log)
    assert "ada@example.org" not in repr(redact(log))
    replay(_asking, redact(log))


def test_who_took_it_over() -> None:
    claimed = LogEntry(1, 0, 0, Claimed(worker="ada's laptop"), None)
    assert [one.event for one in redact([claimed])] == [Claimed(worker="xxxxxxxxxxxx")]


def test_fields_that_are_nowhere() -> None:
    log = recorded(_meeting, "Ada", answers=("Grace",))
    with pytest.warns(UserWarning, match="no value of the log has a field 'nmae', 'what'") as caught:
        redact(log, ["who", "nmae", "what"])
    assert caught[0].filename == __file__


@workflow(name="meeting")
async def _meeting(who: str) -> str:
    return await ask(who)


def test_what_cannot_be_redacted() -> None:
    log = recorded(_meeting, "Ada", answers=("Grace",))
    with pytest.raises(UsageError, match="is no JSON"):
        redact([replace(log[0], value=b"\xff")])


def test_a_text_is_no_list_of_fields() -> None:
    with pytest.raises(UsageError, match=r"write \['card'\]"):
        redact([], "card")


@step
async def progress() -> None:
    async with open_stream("progress") as stream:
        await stream.send({"name": "Ada", "percent": 100})


@workflow
async def tells_names() -> None:
    publish("who", {"name": "Ada"})
    await progress()
    await sleep(10)


def test_what_was_published_is_redacted_and_replayed() -> None:
    log = recorded(tells_names, answers=("unused",))
    redacted = redact(log)
    values = [one.value for one in redacted if isinstance(one.event, Published | Emitted)]
    assert values == [b'{"name":"xxx"}', b'{"name":"xxx","percent":100}', None]
    replay(tells_names, log)
    replay(tells_names, redacted)


@workflow
async def asked_by_name() -> None:
    for _ in range(2):
        one = await updates("who", str).receive()
        if one.key.startswith("Ada"):
            one.reject(PermissionError("not Ada"))
        else:
            one.answer(f"hello {one.value}")
    await sleep(10)


async def ask_by_name(engine: Engine, handle: WorkflowHandle[Any]) -> WorkflowHandle[Any]:
    with pytest.raises(PermissionError):
        await engine.update(handle.id, "who", "Ada", key="Ada 1")
    await engine.update(handle.id, "who", "Bob", key="Bob 1")
    return handle


def test_updates_are_redacted_with_their_keys() -> None:
    """A key is in two rows, and the same in both."""
    log = recorded(asked_by_name, answers=("unused",), then=ask_by_name)
    replay(asked_by_name, log)
    redacted = [one for one in redact(log) if isinstance(one.event, Received | Answered)]
    assert [getattr(one.event, "update", None) or getattr(one.event, "key", None) for one in redacted] == ["xxxxx"] * 4
    assert [one.value for one in redacted if isinstance(one.event, Received)] == [b'"xxx"', b'"xxx"']
    error, answer = [one.value or b"" for one in redacted if isinstance(one.event, Answered)]
    assert decode_error(error).message == "xxxxxxx"
    assert answer == b'"xxxxxxxxx"'

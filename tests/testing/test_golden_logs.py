"""Logs of real runs as files, and the code of today that follows them, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from nurselog import Retry, UsageError, Workflow, open_engine, sleep, step, workflow
from nurselog.lowlevel import Ended, JsonCodec, LogEntry, Result, Started
from nurselog.testing import Broken, Hangs, Law, Script, VirtualClock, fakes, load_log, redact, replay, save_log
from nurselog.testing.golden import workflow_of


@step
async def ask(question: str) -> str:
    raise AssertionError("the real one")


@workflow
async def talk(topic: str) -> str:
    one = await ask(topic)
    await sleep(3600)
    return one + await ask("and?")


def changed(fn: Any) -> Workflow[..., Any]:
    """Make it the code of tomorrow: it has the name in the log."""
    return Workflow(fn, "talk", None)


def record(flow: Any, *args: Any, seconds: float = 7200, answers: Any = ("yes", "no"), **options: Any) -> Any:
    """Return the log of a run, as it is after so many virtual seconds."""

    async def main() -> list[LogEntry]:
        with fakes({ask: Script(*answers)}):
            async with open_engine("sqlite://", [flow], clock=VirtualClock(), **options) as engine:
                handle = await engine.submit(flow, *args)
                await trio.sleep(seconds)
                return list(await handle.log())

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_file_has_the_log(tmp_path: Path) -> None:
    log = record(talk, "rain")
    save_log(log, tmp_path / "log.json")
    assert load_log(tmp_path / "log.json") == log
    text = (tmp_path / "log.json").read_text("utf-8")
    assert '"topic": "rain"' in text, "people can read it"
    assert replay(talk, tmp_path / "log.json").begun_with == len(log) - 1
    replay(talk, str(tmp_path / "log.json"))


class Backwards(JsonCodec):
    def encode(self, value: Any, annotation: Any) -> bytes:
        return super().encode(value, annotation)[::-1]

    def decode(self, data: bytes, annotation: Any) -> Any:
        return super().decode(data[::-1], annotation)


class Spacious(JsonCodec):
    def encode(self, value: Any, annotation: Any) -> bytes:
        return super().encode(value, annotation) + b" "


@pytest.mark.parametrize("codec", [Backwards(), Spacious()])
def test_what_a_codec_of_ones_own_writes_is_kept(tmp_path: Path, codec: JsonCodec) -> None:
    log = record(talk, "rain", codec=codec)
    save_log(log, tmp_path / "log.json")
    assert load_log(tmp_path / "log.json") == log


def test_a_log_without_an_end_is_followed_to_its_last_row() -> None:
    for seconds in (0.5, 1800):
        log = record(talk, "rain", seconds=seconds, answers=("yes",))
        life = replay(talk, log)
        assert life.ahead or seconds == 0.5


def test_a_step_under_way_does_not_run() -> None:
    log = record(talk, "rain", seconds=0)
    assert not replay(talk, log).ahead


def test_code_that_has_changed() -> None:
    log = record(talk, "rain", seconds=1800)

    async def inserted(topic: str) -> str:
        await ask("first")  # here
        return await ask(topic)

    with pytest.raises(Broken, match=r"test_golden_logs.py:\d+.*other arguments") as caught:
        replay(changed(inserted), log)
    assert caught.value.report.findings[0].law is Law.FOLLOWS


def test_code_that_has_changed_behind_the_last_row() -> None:
    async def longer(topic: str) -> str:
        one = await ask(topic)
        await sleep(3600)
        return one + await ask("and then?")

    replay(changed(longer), record(talk, "rain", seconds=1800))
    with pytest.raises(Broken, match="other arguments"):
        replay(changed(longer), record(talk, "rain"))


@pytest.mark.parametrize(("answers", "end"), [(("yes", "no"), "value"), (("yes", ValueError("none")), "error")])
def test_code_that_comes_to_another_end(answers: Any, end: str) -> None:
    async def louder(topic: str) -> str:
        one = await ask(topic)
        await sleep(3600)
        try:
            return one + (await ask("and?")).upper()
        except ValueError as exc:
            raise ValueError("loudly") from exc

    log = record(talk, "rain", answers=answers)
    replay(talk, log)
    with pytest.raises(Broken, match=f"The log ends with .*{end}") as caught:
        replay(changed(louder), log)
    assert caught.value.report.findings[0].law is Law.REPLAYS


def test_code_that_does_not_come_to_its_end() -> None:
    async def waiting(topic: str) -> str:
        one = await ask(topic)
        await sleep(3600)
        await ask("and?")
        await ask("and then?")
        return one

    with pytest.raises(Broken, match="waits for something"):
        replay(changed(waiting), record(talk, "rain"))


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
    log = record(meet, "Ada", answers=(error,))
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

    async def main() -> Any:
        with fakes({ask: Script(error, Hangs())}):
            async with open_engine("sqlite://", [insist], clock=VirtualClock()) as engine:
                handle = await engine.submit(insist)
                await trio.sleep(100)
                await engine.cancel(handle.id, "secret")
                await trio.sleep(1)
                return await handle.log()

    log = redact(trio.run(main, clock=MockClock(autojump_threshold=0)))
    assert "secret" not in repr(log)
    assert "xxxxxx" in repr(log)
    replay(insist, log)


def test_a_killed_run_has_no_end_of_its_own() -> None:
    log = record(talk, "rain", seconds=1800)
    killed = LogEntry(len(log) + 1, log[-1].at, log[-1].after, Ended(result=Result.KILLED), None)
    replay(talk, [*log, killed])


def test_what_cannot_be_redacted() -> None:
    log = record(talk, "rain")
    with pytest.raises(UsageError, match="is no JSON"):
        redact([replace(log[0], value=b"\xff")])


def test_the_workflow_of_a_log() -> None:
    log = record(talk, "rain")
    assert workflow_of(log) is talk
    with pytest.raises(UsageError, match="none has that name"):
        workflow_of([LogEntry(1, 0, 0, Started(name="nobody", seed=""), b"{}")])
    other = workflow(name="talk")(_other)
    with pytest.raises(UsageError, match="2 have that name"):
        workflow_of(log)
    assert other.name == "talk"


async def _other(topic: str) -> str:
    return topic


def test_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"rows": 3}')
    with pytest.raises(UsageError, match="has no log"):
        replay(talk, tmp_path / "log.json")
    with pytest.raises(UsageError, match="begins with the start"):
        replay(talk, [])
    with pytest.raises(UsageError, match="one of workflow 'talk', and not of 'other'"):
        replay(Workflow(talk.fn, "other", None), record(talk, "rain"))

"""Logs of real runs as files, and the code of today that follows them, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nurselog import (
    UsageError,
    Workflow,
    mailbox,
    open_engine,
    promise,
    send,
    sleep,
    step,
    workflow,
    workflow_id,
)
from nurselog.lowlevel import Ended, JsonCodec, LogEntry, Result, Started
from nurselog.testing import Broken, Law, Script, VirtualClock, fakes, load_log, replay, save_log
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


def record(
    flow: Any, *args: Any, id: str | None = None, seconds: float = 7200, answers: Any = ("yes", "no"), **options: Any
) -> Any:
    """Return the log of a run, as it is after so many virtual seconds."""

    async def main() -> list[LogEntry]:
        with fakes({ask: Script(*answers)}):
            async with open_engine("sqlite://", [flow], clock=VirtualClock(), **options) as engine:
                handle = await engine.submit(flow, *args, id=id)
                await trio.sleep(seconds)
                return list(await handle.log())

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_folders_are_made(tmp_path: Path) -> None:
    save_log(record(talk, "rain"), tmp_path / "logs" / "of talks" / "log.json")
    assert load_log(tmp_path / "logs" / "of talks" / "log.json")


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


@workflow
async def tell() -> None:
    """Tell a step how this workflow is called, and a promise of it."""
    await ask(f"{workflow_id()} {promise().id}")
    await send(workflow_id(), "topic", 1)
    await mailbox("topic").receive()


def test_code_that_tells_its_id_is_replayed_under_the_same(tmp_path: Path) -> None:
    log = record(tell, id="order-4711")
    save_log(log, tmp_path / "log.json", id="order-4711")
    replay(tell, tmp_path / "log.json")
    replay(tell, log, id="order-4711")
    with pytest.raises(Broken, match="other arguments"):
        replay(tell, log)


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


def test_a_killed_run_has_no_end_of_its_own() -> None:
    log = record(talk, "rain", seconds=1800)
    killed = LogEntry(len(log) + 1, log[-1].at, log[-1].after, Ended(result=Result.KILLED), None)
    replay(talk, [*log, killed])


def test_the_workflow_of_a_log() -> None:
    log = record(talk, "rain")
    assert workflow_of(log) is talk
    with pytest.raises(
        UsageError, match=r"of workflow 'nobody', version '3', which none of all workflows [^.]* take up$"
    ):
        workflow_of([LogEntry(1, 0, 0, Started(name="nobody", version="3", seed=""), b"{}")])
    other = workflow(name="talk", version="2")(_other)
    assert workflow_of(log) is talk, "the other one is of another version"
    assert other.name == "talk"
    other = workflow(name="talk")(_other)
    with pytest.raises(UsageError, match=r"which 2 of all .* There is workflow 'talk' in \S+, workflow 'talk' in \S+$"):
        workflow_of(log)


def test_the_workflow_of_a_log_that_only_other_versions_have() -> None:
    workflow(name="versioned", version="2")(_other)
    with pytest.raises(UsageError, match=r"version '1', which none .* There is workflow 'versioned', version '2' in "):
        workflow_of([LogEntry(1, 0, 0, Started(name="versioned", version="1", seed=""), b"{}")])


def test_code_of_another_version_does_not_replay_a_log() -> None:
    """It was taken for one that waits: an engine would not have taken the log up."""
    with pytest.raises(UsageError, match="is one of workflow 'talk', and not of workflow 'talk', version '2'"):
        replay(Workflow(talk.fn, "talk", "2"), record(talk, "rain", seconds=1800))


async def _other(topic: str) -> str:
    return topic


def test_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"rows": 3}')
    with pytest.raises(UsageError, match="has no log"):
        replay(talk, tmp_path / "log.json")
    (tmp_path / "newer.json").write_text('{"nurselog": 2, "rows": []}')
    with pytest.raises(UsageError, match=r"newer\.json has a log in form 2, and this nurselog reads form 1"):
        replay(talk, tmp_path / "newer.json")
    with pytest.raises(UsageError, match="begins with the start"):
        replay(talk, [])
    with pytest.raises(UsageError, match="one of workflow 'talk', and not of workflow 'other'"):
        replay(Workflow(talk.fn, "other", None), record(talk, "rain"))


def test_code_that_goes_in_a_circle_is_found_though_the_log_has_no_end() -> None:
    async def circle(topic: str) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Broken, match="goes in a circle"):
        replay(changed(circle), record(talk, "tea")[:1])


def test_a_file_that_is_no_text_has_no_log(tmp_path: Path) -> None:
    file = tmp_path / "log.json"
    file.write_bytes(b'{"nurselog": 1, "rows": "\xff"}')
    with pytest.raises(UsageError, match="has no log"):
        load_log(file)

"""What is counted, from a log and a trace written by hand."""

from __future__ import annotations

from nurselog.demo.job import Body
from nurselog.demo.report import Fact, choose_log, count_log, count_trace
from nurselog.lowlevel import (
    Cause,
    Claimed,
    Ended,
    Result,
    ScopeCancelled,
    Started,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
)
from tests.demo.records import START, log_of

LIMIT = TimerSet(path="1.1", name="scope", due=START + 2_000_000)
LATE = ScopeCancelled(path="1.1", by=Cause.DEADLINE)
WON = ScopeCancelled(path="1.2", by=Cause.EXPLICIT)
STARTED = Started(name="mirror_package", seed="s")
ENDED = Ended(result=Result.VALUE)


def wait(path: str) -> TimerSet:
    return TimerSet(path=path, name="sleep", due=START + 1000)


def body(workflow: str = "json", attempt: int = 1, pid: int = 1) -> Body:
    return Body(workflow=workflow, step="download", key="k", attempt=attempt, pid=pid, at=START)


def download(path: str, result: Result, scope: str | None = None) -> StepEnded:
    return StepEnded(path=path, name="download", result=result, scope=scope)


def test_a_race_that_was_won_has_losers_of_two_kinds() -> None:
    facts = count_log(
        log_of(
            STARTED, LIMIT, wait("1.3.1"), wait("1.4.1"), wait("1.5.1"),
            TimerFired(path="1.3.1", due=START), TimerFired(path="1.4.1", due=START),
            StepRetried(path="1.3.2", name="download", attempt=1, due=START),
            download("1.3.2", Result.VALUE), WON, download("1.4.2", Result.CANCELLED, "1.2"),
            StepEnded(path="1.4.4", name="discard", result=Result.VALUE), ENDED,
        )
    )  # fmt: skip
    assert +facts == {
        Fact.WORKFLOWS: 1, Fact.ROWS: 13, Fact.RACES: 1, Fact.RETRIES: 1,
        Fact.UNSTARTED: 1, Fact.LOSERS: 1, Fact.CLEANUPS: 1,
    }  # fmt: skip


def test_downloads_that_a_time_limit_has_cancelled_are_no_losers() -> None:
    facts = count_log(log_of(STARTED, LIMIT, LATE, download("1.3.2", Result.CANCELLED, "1.1"), ENDED))
    assert (facts[Fact.LATE], facts[Fact.LOSERS]) == (1, 0)


def test_each_takeover_replays_the_steps_recorded_before_it() -> None:
    claimed = Claimed(worker="w")
    one = download("1", Result.VALUE)
    facts = count_log(log_of(STARTED, claimed, one, claimed, one, one, claimed, ENDED))
    assert (facts[Fact.TAKEOVERS], facts[Fact.REPLAYED]) == (2, 1 + 3)


def test_a_claim_that_its_worker_has_made_once_more_is_one_takeover() -> None:
    mine, other, one = Claimed(worker="w"), Claimed(worker="v"), download("1", Result.VALUE)
    assert count_log(log_of(STARTED, mine, mine, one, ENDED))[Fact.TAKEOVERS] == 0
    facts = count_log(log_of(STARTED, mine, one, other, other, mine, ENDED))
    assert (facts[Fact.TAKEOVERS], facts[Fact.REPLAYED]) == (2, 1 + 1)


def test_an_attempt_that_began_twice_was_run_again_and_a_second_attempt_was_not() -> None:
    facts = count_trace([body(attempt=attempt) for attempt in (1, 1, 2)], {1: 0})
    assert (facts[Fact.BODIES], facts[Fact.REPEATED]) == (3, 1)


def test_a_workflow_has_moved_if_another_worker_goes_on_with_it_and_not_if_its_successor_does() -> None:
    workers = {1: 0, 2: 0, 3: 1}
    assert count_trace([body(pid=1), body(pid=2), body("other", pid=3)], workers)[Fact.MOVED] == 0
    assert count_trace([body(pid=1), body(pid=3), body(pid=3), body(pid=2)], workers)[Fact.MOVED] == 2


def test_the_log_that_is_drawn_fits_on_a_page_and_has_most_to_see() -> None:
    lost = download("1.4.2", Result.CANCELLED, "1.2")
    logs = {
        "dull": log_of(STARTED, ENDED),
        "good": log_of(STARTED, WON, lost, ENDED),
        "long": log_of(STARTED, WON, lost, LATE, *[lost] * 60, ENDED),
    }
    assert choose_log(logs) == "good"
    assert choose_log({"long": logs["long"]}) == "long"

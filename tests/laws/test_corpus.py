"""The laws on every workflow of the corpus: killed, closed, broken, cancelled and crowded at every event."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.laws.checks import (
    check_log,
    check_replay,
    check_resumed,
    finished,
    sample,
)
from tests.laws.corpus.registry import Case, corpus
from tests.laws.harness import Recording, Unfinished, resume, run_live, tally

for _file in sorted((Path(__file__).parent / "corpus").glob("*.py")):
    importlib.import_module(f"tests.laws.corpus.{_file.stem}")

SEEDS = (0, 1)

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus.items()])


def live(case: Case, seed: int, **plan: object) -> Recording:
    tally["runs"] += 1
    return finished(run_live(case.workflow, case.args, seed=seed, threads=case.threads, **plan))


def go_on(case: Case, before: Recording, cut: int, **plan: object) -> Recording:
    """Kill the process of `before` when `cut` of its rows were durable, and go on to the end."""
    tally["cuts"] += 1
    after = finished(resume(case.workflow, before.rows[:cut], threads=case.threads, **plan))
    check_resumed(before, after)
    return after


def cuts(case: Case, recording: Recording) -> list[int]:
    return [1 + cut for cut in sample(len(recording.rows) - 1, case.cuts)]


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus) >= 40


@each_case
@pytest.mark.parametrize("seed", SEEDS)
def test_crash_at_every_event(case: Case, seed: int) -> None:
    recording = live(case, seed)
    check_replay(recording, seed=seed + 10, threads=case.threads)
    for cut in cuts(case, recording):
        after = go_on(case, recording, cut, seed=seed + cut)
        check_replay(after, seed=seed, threads=case.threads)


@each_case
def test_crash_of_a_second_life(case: Case) -> None:
    recording = live(case, 2)
    for cut in sample(len(recording.rows), min(case.cuts, 8))[1:]:
        second = go_on(case, recording, cut, seed=cut, downtime=0.003)
        third = go_on(case, second, (cut + len(second.rows)) // 2, seed=cut + 1, downtime=100)
        check_replay(third, threads=case.threads)


@each_case
def test_closed_at_every_event(case: Case) -> None:
    """The engine is closed after the n-th move, and the workflow goes on in another one."""
    recording = live(case, 3)
    for moves in sample(recording.moves, min(case.cuts, 12)):
        tally["suspensions"] += 1
        first = run_live(case.workflow, case.args, seed=3 + moves, close_after=moves, threads=case.threads)
        check_log(first)
        if isinstance(first.outcome, Unfinished):
            check_replay(go_on(case, first, len(first.rows), seed=moves), threads=case.threads)


@each_case
def test_closed_after_each_event(case: Case) -> None:
    """Every life makes one move, and is closed: there are as many lives as moves."""
    life = run_live(case.workflow, case.args, seed=4, close_after=0, threads=case.threads)
    lives = 0
    while isinstance(life.outcome, Unfinished) and lives < case.cuts:
        tally["suspensions"] += 1
        lives += 1
        following = resume(case.workflow, life.rows, seed=lives, close_after=1, threads=case.threads)
        check_resumed(life, following)
        life = following
    if isinstance(life.outcome, Unfinished):
        life = go_on(case, life, len(life.rows), seed=lives)
    check_replay(life, threads=case.threads)


@each_case
def test_the_store_breaks(case: Case) -> None:
    """The engine ends with an error; what was appended after a commit is lost, or an answer to a commit."""
    moves = live(case, 5).moves
    for count in sample(moves, min(case.cuts, 5)):
        broken = run_live(case.workflow, case.args, seed=5 + count, break_after=1 + count, threads=case.threads)
        if isinstance(broken.outcome, Unfinished):
            check_replay(go_on(case, broken, len(broken.rows), seed=count), threads=case.threads)


@each_case
def test_cancelled_from_outside(case: Case) -> None:
    """At random moments, live and in the middle of a replay."""
    moves = live(case, 6).moves
    for after in sample(moves, min(case.cuts, 4)):
        cancelled = live(case, 6 + after, cancel_after=after)
        check_replay(cancelled, threads=case.threads)
        rows = len(cancelled.rows)
        for cut in sample(rows - 1, min(case.cuts, 5)):
            check_replay(go_on(case, cancelled, 1 + cut, seed=cut), threads=case.threads)
    recording = live(case, 7)
    for cut in sample(len(recording.rows) - 1, min(case.cuts, 5)):
        check_replay(go_on(case, recording, 1 + cut, seed=cut, cancel_after=0), threads=case.threads)


@each_case
def test_evicted_and_overdue(case: Case) -> None:
    """Workflows that only wait leave memory; after a long downtime all timers are overdue."""
    rows = live(case, 8).rows
    duration = (rows[-1].at - rows[0].at) / 1e6
    recording = live(case, 8, evict_after=max(0.5, duration / 50))
    check_replay(recording, threads=case.threads)
    for cut in sample(len(recording.rows) - 1, min(case.cuts, 6)):
        check_replay(go_on(case, recording, 1 + cut, seed=cut, downtime=86400 * 100), threads=case.threads)


@each_case
def test_crowded(case: Case) -> None:
    """An idle task more in every plain nursery changes no path, and nothing that the code sees."""
    recording = live(case, 9)
    crowded = live(case, 9, crowd=True)
    check_replay(crowded, crowd=True, threads=case.threads)
    for cut in sample(len(crowded.rows) - 1, min(case.cuts, 5)):
        check_replay(go_on(case, crowded, 1 + cut, seed=cut, crowd=True), crowd=True, threads=case.threads)
    if any("t" in event.path for event in recording.events):
        return  # the children of plain nurseries do durable things, and are counted among themselves
    check_replay(recording, crowd=True, threads=case.threads)
    check_replay(crowded, threads=case.threads)
    for cut in sample(len(recording.rows) - 1, min(case.cuts, 5)):
        check_replay(go_on(case, recording, 1 + cut, seed=cut, crowd=True), threads=case.threads)

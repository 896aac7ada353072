"""The laws on every workflow of the corpus: killed, closed, broken, cancelled and crowded at every event.

What is meant by the laws stands in `checks`. Each test takes the corpus through one kind of misfortune.
"""

from __future__ import annotations

import random

import pytest

from nurselog.lowlevel import is_delivered
from nurselog.testing.life import Closed, Stuck
from tests.laws.checks import check_log, check_mail, check_replay, check_resumed, finished, sample
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import Recording, as_workflow, resume, run_live, tally

corpus = whole_corpus()
tally["workflows"] = len(corpus)

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus.items()])
each_quick_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in corpus.items() if not case.slow]
)


def live(case: Case, seed: int, **plan: object) -> Recording:
    """Run a workflow of the corpus to its end."""
    recording = finished(run_live(case.workflow, case.args, seed=seed, **plan))
    check_mail(recording)
    return recording


def go_on(case: Case, before: Recording, cut: int, **plan: object) -> Recording:
    """Kill the process of `before` when `cut` of its rows were durable, and go on to the end."""
    tally["cuts"] += 1
    after = finished(resume(case.workflow, before.rows[:cut], before.mail_at(cut), **plan))
    check_resumed(before, after)
    return after


def replay(case: Case, recording: Recording, **plan: object) -> None:
    check_replay(recording, **plan)


def cuts(case: Case, recording: Recording, most: int) -> list[int]:
    """Return where to cut a log: after each of its rows but the last, or after some of them."""
    return [1 + cut for cut in sample(len(recording.rows) - 1, min(case.cuts, most))]


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus) >= 40


@each_case
def test_crash_at_every_event(case: Case, seeds: range) -> None:
    for seed in seeds:
        recording = live(case, seed)
        replay(case, recording, seed=seed + 10)
        for cut in cuts(case, recording, 40):
            replay(case, go_on(case, recording, cut, seed=seed + cut), seed=seed)


@each_quick_case
def test_crash_in_a_second_life(case: Case, seeds: range) -> None:
    for seed in seeds:
        recording = live(case, 20 + seed)
        for cut in cuts(case, recording, 5):
            second = go_on(case, recording, cut, seed=seed + cut, downtime=0.003)
            third = go_on(case, second, (cut + len(second.rows)) // 2, seed=cut + 1, downtime=100)
            replay(case, third)


@each_case
def test_closed_at_every_event(case: Case, seeds: range) -> None:
    """The engine is closed after the n-th move, and another one goes on."""
    for seed in seeds:
        for moves in sample(live(case, 30 + seed).moves, min(case.cuts, 8)):
            tally["suspensions"] += 1
            first = run_live(case.workflow, case.args, seed=30 + seed + moves, close_after=moves)
            check_log(first)
            if isinstance(first.outcome, Closed):
                replay(case, go_on(case, first, len(first.rows), seed=moves))


@each_case
def test_closed_after_each_event(case: Case, seeds: range) -> None:
    """Every life makes one move, and is closed: there are as many lives as moves."""
    for seed in seeds:
        life = run_live(case.workflow, case.args, seed=40 + seed, close_after=0)
        for turn in range(case.cuts):
            if not isinstance(life.outcome, Closed):
                break
            tally["suspensions"] += 1
            following = resume(case.workflow, life.rows, life.mail, seed=seed + turn, close_after=1)
            check_resumed(life, following)
            life = following
        if isinstance(life.outcome, Closed):
            life = go_on(case, life, len(life.rows), seed=seed)
        replay(case, life)


@each_quick_case
def test_the_store_breaks(case: Case, seeds: range) -> None:
    """The engine ends with an error; what was appended after a commit is lost, or the answer to a commit."""
    for seed in seeds:
        for count in sample(live(case, 50 + seed).moves, min(case.cuts, 4)):
            plan = {"seed": 50 + seed + count, "break_after": 1 + count}
            broken = run_live(case.workflow, case.args, **plan)
            check_log(broken)
            if isinstance(broken.outcome, Closed):
                replay(case, go_on(case, broken, len(broken.rows), seed=count))


@each_case
def test_cancelled_from_outside(case: Case, seeds: range) -> None:
    """Live, after some moves; each of the resulting logs is cut in turn."""
    for seed in seeds:
        for after in sample(live(case, 60 + seed).moves, min(case.cuts, 4)):
            cancelled = live(case, 60 + seed + after, cancel_after=after)
            replay(case, cancelled)
            for cut in cuts(case, cancelled, 3):
                replay(case, go_on(case, cancelled, cut, seed=cut))


@each_quick_case
def test_cancelled_while_nobody_was_there(case: Case, seeds: range) -> None:
    """The cancellation waits in the store when the workflow is taken up, and comes in the middle of a replay."""
    for seed in seeds:
        recording = live(case, 70 + seed)
        for cut in cuts(case, recording, 5):
            replay(case, go_on(case, recording, cut, seed=cut, cancel_after=0))


@each_quick_case
def test_cancelled_while_it_follows_its_log(case: Case, seeds: range) -> None:
    """And the process dies once more, when any number of the rows were durable that this life has written."""
    for seed in seeds:
        recording = live(case, 120 + seed)
        for cut in cuts(case, recording, 4):
            recorded = sum(map(is_delivered, recording.events[:cut]))
            for after in sample(recorded, 3):
                second = go_on(case, recording, cut, seed=cut, cancel_replay=1 + after)
                for again in sample(len(second.rows) - cut - 1, 3):
                    go_on(case, second, 1 + cut + again, seed=again)


@each_quick_case
def test_killed(case: Case, seeds: range) -> None:
    """It ends at once, its code sees nothing more, and the log says so."""
    for seed in seeds:
        for after in sample(live(case, 110 + seed).moves, min(case.cuts, 3)):
            killed = live(case, 110 + seed + after, kill_after=after)
            if killed.is_killed:  # else it has ended at the same moment
                replay(case, go_on(case, killed, len(killed.rows) - 1, seed=seed))  # as if nobody had


@each_quick_case
def test_evicted_and_overdue(case: Case, seeds: range) -> None:
    """A workflow that only waits leaves memory meanwhile; after a long downtime all its timers are overdue."""
    for seed in seeds:
        rows = live(case, 80 + seed).rows
        duration = (rows[-1].at - rows[0].at) / 1e6
        recording = live(case, 80 + seed, evict_after=max(0.5, duration / 50))
        replay(case, recording)
        for cut in cuts(case, recording, 4):
            replay(case, go_on(case, recording, cut, seed=cut, downtime=86400 * 100))


def test_there_are_crowds() -> None:
    before = tally["crowds"]
    live(corpus["inner_nursery_cancelled"], 90, crowd=True)
    assert tally["crowds"] > before


@each_quick_case
def test_crowded(case: Case, seeds: range) -> None:
    """An idle task more in every plain nursery changes no path, and nothing that the code sees."""
    for seed in seeds:
        recording = live(case, 90 + seed)
        crowded = live(case, 90 + seed, crowd=True)
        replay(case, crowded, crowd=True)
        for cut in cuts(case, crowded, 3):
            go_on(case, crowded, cut, seed=cut, crowd=True)
        if any("t" in event.path for event in recording.events):
            continue  # the children of plain nurseries do durable things, and are counted among themselves
        replay(case, recording, crowd=True)
        replay(case, crowded)
        for cut in cuts(case, recording, 3):
            go_on(case, recording, cut, seed=cut, crowd=True)


@each_quick_case
def test_the_code_of_another_workflow(case: Case, seeds: range) -> None:
    """Code that has nothing to do with the log is stuck before it spoils it: with the right code it goes on."""
    for seed in seeds:
        recording = live(case, 100 + seed)
        chance = random.Random(f"{case.name} {seed}")
        for stranger in chance.sample([other for other in corpus.values() if not other.args], 2):
            wrong = as_workflow(case.workflow.name, stranger.workflow.fn)
            cut = chance.randint(1, len(recording.rows) - 1)
            life = resume(wrong, recording.rows[:cut], recording.mail_at(cut), seed=seed)
            if isinstance(life.outcome, Stuck):
                tally["strangers"] += 1
                replay(case, finished(resume(case.workflow, life.rows, life.mail, stuck=True)))

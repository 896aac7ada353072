"""A sample of the laws on PostgreSQL: what holds in memory must not depend on the store."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

from nurselog.abc import Clock, Store
from tests import inline
from tests.laws import harness
from tests.laws.checks import check_replay, check_resumed, finished, sample
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import Unfinished, resume, run_live, tally
from tests.laws.programs.examine import examine
from tests.laws.programs.scenario import Scenario
from tests.laws.programs.strategies import scenarios

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    from nurselog._stores._postgres.driver import TrioConnection

quick = {name: case for name, case in whole_corpus().items() if not (case.slow or case.threads)}
PLACE = Path("laws")


@pytest.fixture(autouse=True)
def _on_postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = False

    def new_store(clock: Clock) -> Store:
        nonlocal made
        if made:
            inline.empty(postgres_url, PLACE)
        made = True
        tally["lives on PostgreSQL"] += 1
        return inline.store_at(postgres_url, PLACE, clock)

    monkeypatch.setattr(harness, "new_store", new_store)
    monkeypatch.setattr(TrioConnection, "sockets", inline.BlockingSockets())
    before = tally["lives on PostgreSQL"]
    yield
    assert tally["lives on PostgreSQL"] > before


@pytest.mark.parametrize("part", range(4))
def test_the_corpus(part: int, scale: int) -> None:
    """Crashed at some events, cancelled after some, closed after some; the case and the places are drawn."""
    chance = random.Random(part)
    for name in chance.sample(sorted(quick), min(len(quick), 5 * scale)):
        crash_and_cancel(quick[name], chance, name)


def crash_and_cancel(case: Case, chance: random.Random, name: str) -> None:
    recording = finished(run_live(case.workflow, case.args, seed=chance.randrange(1000)))
    check_replay(recording)
    for cut in sample(len(recording.rows) - 1, 3):
        after = finished(resume(case.workflow, recording.rows[: cut + 1], seed=chance.randrange(1000)))
        check_resumed(recording, after)
        check_replay(after)
    if recording.moves:
        moves = chance.randint(1, recording.moves)
        check_replay(finished(run_live(case.workflow, case.args, seed=chance.randrange(1000), cancel_after=moves)))
        first = run_live(case.workflow, case.args, seed=chance.randrange(1000), close_after=moves)
        if isinstance(first.outcome, Unfinished):  # else it has ended at the same moment
            check_resumed(first, finished(resume(case.workflow, first.rows, downtime=chance.choice([0, 86400]))))


def test_generated_programs(scale: int) -> None:
    @seed(4711)
    @settings(max_examples=3 * scale, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(scenarios)
    def hold(scenario: Scenario) -> None:
        examine(scenario, cuts=2)

    hold()

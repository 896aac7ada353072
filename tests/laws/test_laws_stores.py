"""The laws on all stores: what holds in memory must not depend on where the log is.

A sample of the product of workflows, misfortunes and stores; `nox -s product` tries all of it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import Clock, Store
from nurselog.testing.corpus.cases import cases_of
from nurselog.testing.corpus.workflows import conversations
from nurselog.testing.life import Closed
from tests import inline
from tests.laws import harness
from tests.laws.checks import check_replay, check_resumed, finished, sample
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import resume, run_live, tally
from tests.laws.programs.examine import examine
from tests.laws.programs.scenario import Scenario
from tests.laws.programs.strategies import scenarios

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    from nurselog._stores._postgres.driver import TrioConnection

quick = {name: case for name, case in whole_corpus().items() if not (case.slow or case.threads)}
PLACE = Path("laws")
PARTS = 4


def on_files(folder: Path) -> Callable[[Clock], Store]:
    """Return what makes stores in files, without threads."""
    numbers = count()

    def new_store(clock: Clock) -> Store:
        location = parse_url(f"sqlite:///{folder}/{next(numbers)}.db?synchronous=normal")
        return SqliteStore(location, InlineExecutor(), clock)

    return new_store


def on_postgres(url: str, shards: int) -> Callable[[Clock], Store]:
    """Return what makes stores in one database, one after the other; each finds it empty."""
    lives = count()

    def new_store(clock: Clock) -> Store:
        if next(lives):
            inline.empty(url, PLACE)
        return inline.store_at(url, PLACE, clock, shards)

    return new_store


@pytest.fixture(params=["file", "postgres", "shards"], autouse=True)
def _store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "file":
        make = on_files(request.getfixturevalue("tmp_path"))
    else:
        make = on_postgres(request.getfixturevalue("postgres_url"), 8 if request.param == "shards" else 1)
        monkeypatch.setattr(TrioConnection, "sockets", inline.BlockingSockets())
    kind = f"lives on {request.param}"

    def new_store(clock: Clock) -> Store:
        tally[kind] += 1
        return make(clock)

    monkeypatch.setattr(harness, "new_store", new_store)
    before = tally[kind]
    yield
    assert tally[kind] > before


@pytest.mark.parametrize("part", range(PARTS))
def test_the_corpus(part: int, scale: int) -> None:
    """Crashed at some events, cancelled after some, closed after some; the case and the places are drawn."""
    chance = random.Random(part)
    names = sorted(quick)[part::PARTS]
    for name in chance.sample(names, min(len(names), 2 * scale)):
        crash_and_cancel(quick[name], chance, places=3 * scale)


def test_conversations(scale: int) -> None:
    """Of those that are sent messages, which stores keep, some more."""
    chance = random.Random(PARTS)
    cases = cases_of(conversations)
    for case in chance.sample(cases, min(len(cases), 2 * scale)):
        crash_and_cancel(case, chance, places=3 * scale)


def crash_and_cancel(case: Case, chance: random.Random, places: int) -> None:
    draw = partial(chance.randrange, 1000)
    recording = finished(run_live(case.workflow, case.args, seed=draw()))
    check_replay(recording)
    for cut in sample(len(recording.rows) - 1, min(places, case.cuts)):
        after = finished(resume(case.workflow, recording.rows[: cut + 1], recording.mail_at(cut + 1), seed=draw()))
        check_resumed(recording, after)
        check_replay(after)
    moves = range(1, recording.moves + 1)
    for after_moves in chance.sample(moves, min(len(moves), places // 3, case.cuts)):
        check_replay(finished(run_live(case.workflow, case.args, seed=draw(), cancel_after=after_moves)))
        first = run_live(case.workflow, case.args, seed=draw(), close_after=after_moves)
        if isinstance(first.outcome, Closed):  # else it has ended at the same moment
            downtime = chance.choice([0, 86400])
            check_resumed(first, finished(resume(case.workflow, first.rows, first.mail, downtime=downtime)))


def test_generated_programs(scale: int) -> None:
    @seed(4711)
    @settings(max_examples=2 * scale, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(scenarios)
    def hold(scenario: Scenario) -> None:
        examine(scenario, cuts=2)

    hold()

"""All workflows of the corpus in one engine: none may disturb another, and each log replays by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from nurselog import WorkflowHandle, open_engine
from nurselog.lowlevel import Row, open_store
from nurselog.testing import VirtualClock
from tests.laws.checks import check_log, check_replay, finished
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import Recording, end_of, in_a_world, resume, tally


async def run_together(cases: list[Case], max_running: int) -> dict[str, tuple[Row, ...]]:
    """Run workflows in one engine; return their logs."""
    clock = VirtualClock()
    store = open_store("sqlite://", clock=clock)
    workflows = [case.workflow for case in cases]
    async with open_engine(store, workflows, clock=clock, max_running=max_running, evict_after=86400) as engine:
        async with trio.open_nursery() as nursery:
            for case in cases:
                nursery.start_soon(_end, await engine.submit(case.workflow, *case.args, id=case.name))
        rows = await store.find([case.name for case in cases])
        return {row.id: tuple(await store.read(row.key)) for row in rows}


async def _end(handle: WorkflowHandle[Any]) -> None:
    with suppress(Exception):  # what became of it is in the log
        await handle.result()


@pytest.mark.parametrize("max_running", [1000, 3])
def test_side_by_side(max_running: int, seeds: range) -> None:
    cases = [case for case in whole_corpus().values() if not case.slow and not case.threads]
    for seed in seeds:
        logs, _ = in_a_world(lambda _: run_together(cases, max_running), seed)
        assert len(logs) == len(cases)
        for case in cases:
            rows = logs[case.name]
            end = end_of(rows, case.workflow)
            assert end
            recording = Recording(rows=rows, begun_with=0, outcome=end, workflow=case.workflow)
            check_log(finished(recording))
            again = finished(resume(case.workflow, rows[:-1], seed=seed, id=case.name))
            assert again.bodies == ()
            assert again.outcome == recording.outcome
            assert len(again.rows) == len(rows) + 1
            check_replay(again, id=case.name)
            tally["side by side"] += 1

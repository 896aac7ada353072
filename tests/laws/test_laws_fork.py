"""A fork at any event has the log up to there, the same chance, and a life of its own from there on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from nurselog import WorkflowHandle, open_engine
from nurselog._log.identity import step_key
from nurselog.lowlevel import Ended, Forked, Row, StepEnded, decode_event, open_store, parse_path
from nurselog.testing import VirtualClock
from nurselog.testing.corpus.cases import cases_of
from nurselog.testing.corpus.workflows import answering, conversations
from tests.laws.checks import finished, first_difference, sample
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import in_a_world, resume, tally

talks = cases_of(conversations, answering)
"""Not these: what is on its way to the original does not come to a fork, which may then wait for ever."""
corpus = [case for case in whole_corpus().values() if not (case.threads or case.slow or case in talks)]


async def fork_everywhere(case: Case, most: int) -> list[tuple[Row, ...]]:
    """Run a workflow, and a fork of it at each of its events; return all logs, the original's first."""
    clock = VirtualClock()
    store = open_store("sqlite://", clock=clock)
    async with open_engine(store, [case.workflow], clock=clock, evict_after=1e9) as engine:
        original = await engine.submit(case.workflow, *case.args, id="original")
        await _end(original)
        names = ["original"]
        for cut in sample(len(await original.log()) - 1, most):
            fork = await engine.fork("original", at=1 + cut, new_id=f"fork {1 + cut}")
            await _end(fork)
            names.append(fork.id)
        keys = {row.id: row.key for row in await store.find(names)}
        return [tuple(await store.read(keys[name])) for name in names]


async def _end(handle: WorkflowHandle[Any]) -> None:
    with suppress(Exception):  # what became of it is in the log
        await handle.result()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in corpus])
def test_forks(case: Case, seeds: range) -> None:
    for seed in seeds:
        (original, *forks), world = in_a_world(lambda _: fork_everywhere(case, 6), seed)
        bodies = {key for key, _ in world.bodies}
        for fork in forks:
            tally["forks"] += 1
            events = [decode_event(row.event) for row in fork]
            at = next(i for i, event in enumerate(events) if isinstance(event, Forked))
            assert fork[:at] == original[:at], first_difference(fork, original)
            recorded = [event.path for event in events[:at] if isinstance(event, StepEnded)]
            assert isinstance(events[-1], Ended), events
            assert bodies.isdisjoint(step_key(f"fork {at}", parse_path(path)) for path in recorded)
            again = finished(resume(case.workflow, fork[:-1], seed=seed))
            assert again.bodies == ()
            assert len(again.rows) == len(fork) + 1

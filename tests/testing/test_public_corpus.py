"""The public corpus: whose it is, what it needs, and that it is the same each time."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from nurselog._flow.workflow import registry
from nurselog.testing import Life, crash_everywhere
from nurselog.testing.corpus import CORPUS, Case, World, case, chance, note, watched
from nurselog.testing.corpus.workflows.steps import fetch, flaky

BY_NAME = {case.name: case for case in CORPUS}


def test_the_workflows_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(CORPUS) >= 100
    assert len({case.workflow.name for case in CORPUS}) == len(CORPUS)
    assert all(str(case) == case.name and case.workflow.name == f"corpus.{case.name}" for case in CORPUS)


def test_no_engine_takes_them_for_the_application_s() -> None:
    workflows = {id(case.workflow) for case in CORPUS}
    assert not workflows & {id(found) for found in registry.values()}


def test_each_says_what_it_is_there_for() -> None:
    assert [case.name for case in CORPUS if not case.workflow.fn.__doc__] == []


@pytest.mark.parametrize("package", ["nurselog.testing", "nurselog.testing.stores", "nurselog.testing.corpus"])
def test_the_kit_needs_no_pytest_and_nothing_that_only_tests_need(package: str) -> None:
    """Nor does who wants a part of it load the others."""
    missing = ["pytest", "_pytest", "anyio", "tricycle", "hypothesis", "psycopg"]
    others = sorted({"nurselog.testing.stores", "nurselog.testing.corpus"} - {package})
    program = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))  # None: it cannot be imported
import {package}
print([name for name in {others} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_life_is_the_same_each_time() -> None:
    """A failure that was seen once can be seen again."""
    for name in ("quorum", "timeouts", "pipeline"):
        one, other = (crash_everywhere(BY_NAME[name].workflow, seeds=[3]).live for _ in range(2))
        assert [(row.at, row.event, row.value) for row in one.rows[2:]] == [
            (row.at, row.event, row.value) for row in other.rows[2:]
        ]


def test_a_body_that_runs_again_may_end_otherwise() -> None:
    """Else nothing would show that the first record counts."""
    ends = set[str]()

    @case()
    async def tries() -> list[str]:
        got: list[str] = []
        for i in range(6):
            try:
                got.append(str(await flaky(i)))
            except ValueError as exc:
                got.append(str(exc))
        return got

    def keep(life: Life) -> None:
        ends.add(repr(life.outcome))

    crash_everywhere(tries.workflow, invariant=keep)
    assert len(ends) > 1


def test_a_world_sees_what_is_done_and_noted() -> None:
    @case(args=(7,))
    async def looked_at(i: int) -> int:
        note("before", i)
        return int(await fetch(i))

    with watched(World(random.Random(0))) as world:
        crash_everywhere(looked_at.workflow, *looked_at.args)
        assert chance() is world.random
    assert world.bodies
    assert [seen[2:] for _, seen in world.trace] == [("'before'", "7")]


def test_a_case_is_slow_where_it_is_cut_at_few_places() -> None:
    assert {one.name for one in CORPUS if one.slow} >= {"a_thousand_at_once", "a_thousand_branches"}
    assert not BY_NAME["quorum"].slow
    assert isinstance(BY_NAME["quorum"], Case)

"""The laws on generated programs, and on each of those that have broken one.

`python -m tests.laws.programs` runs thousands, and shrinks what fails.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.laws.programs.examine import examine
from tests.laws.programs.scenario import FAILURES, Scenario, load
from tests.laws.programs.strategies import scenarios

PARTS, PROGRAMS = 8, 8
"""How many tests there are, and how many programs each of them runs, times `scale`."""


@pytest.mark.parametrize("part", range(PARTS))
def test_the_laws_hold_for_generated_programs(part: int, scale: int) -> None:
    @seed(part)
    @settings(
        max_examples=PROGRAMS * scale,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],  # to explain a failure it would trace every line of every run
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios)
    def hold(scenario: Scenario) -> None:
        examine(scenario, cuts=4)

    hold()


@pytest.mark.parametrize("luck", range(3))
@pytest.mark.parametrize("path", sorted(FAILURES.glob("*.json")), ids=lambda path: path.stem)
def test_what_has_broken_a_law_keeps_it_now(path: Path, luck: int) -> None:
    scenario = load(path)
    examine(msgspec.structs.replace(scenario, seed=scenario.seed + luck))

"""Some seeds, all that ever failed, and whether the judge sees what is wrong."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import describe
from tests.simulation.breakages import fence_by_owner, forgotten_commits, hasty_answers, no_fence, silent_claims
from tests.simulation.run import simulate


def test_every_law_holds(scale: int) -> None:
    for seed in range(6 * scale):
        verdict = simulate(seed)
        assert not verdict.breaches, describe(verdict)


def test_a_seed_is_all_that_a_run_follows_from() -> None:
    assert simulate(3).digest == simulate(3).digest


@pytest.mark.parametrize("breakage", [no_fence, fence_by_owner, forgotten_commits, hasty_answers, silent_claims])
def test_what_is_wrong_with_a_store_is_found(breakage: object) -> None:
    with breakage():
        assert any(simulate(seed).breaches for seed in range(6))

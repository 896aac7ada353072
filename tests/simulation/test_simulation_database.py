"""The simulation's database keeps the contract of stores: what it lets happen is what may happen.

But for one clause: where a worker's id is taken, a simulated store takes it to be its own, whose answer was lost.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from nurselog.abc import Clock
from nurselog.testing.stores import CHECKS, Check
from tests.simulation.database import Database
from tests.simulation.judge import Judge
from tests.simulation.plan import CLEAR
from tests.simulation.process import MachineClock, Process, Pulse
from tests.simulation.store import Network, SimulatedStore


def maker() -> Callable[[Clock], SimulatedStore]:
    """Make stores on one database, in clear weather."""
    found: list[Database] = []

    def make(clock: Clock) -> SimulatedStore:
        if not found:
            found.append(Database(clock.utc, random.Random(0)))
        network = Network(found[0], CLEAR, unit=1, chance=random.Random(0), tally=Counter())
        process = Process("1", Pulse(), cast("MachineClock", clock), 0)
        return SimulatedStore(network, process, Judge(found[0], Counter()))

    return make


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.name != "two_living_workers_cannot_have_one_id"], ids=str
)
def test_the_contract_in_a_simulation(check: Check) -> None:
    check(maker())

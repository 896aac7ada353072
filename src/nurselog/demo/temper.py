"""How the mirrors misbehave: chosen by a seed for each mirror, file and request, so that a run can be repeated.

No mirror is hopeless: from its fourth request for a file on it serves that file as it should. What makes a race lose
its time limit is a file that no mirror serves at the first request; a few files are such.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

BAD_REQUESTS = 3
"""Requests for one file that one mirror may answer badly."""

STARVED = 0.02
"""The share of files for which the first request stalls at every mirror."""


class Fault(enum.Enum):
    """What a mirror does to one request."""

    NONE = "none"
    STALL = "stall"
    """Half of the body, then silence until the client hangs up."""
    REFUSE = "refuse"
    """Status 503."""
    CUT = "cut"
    """Half of the body, then the connection is closed."""
    CORRUPT = "corrupt"
    """The right length, other bytes."""


@dataclass(frozen=True)
class Temper:
    """What one mirror is like."""

    name: str
    faults: dict[Fault, float]
    """How probable each is; the rest of the probability is `Fault.NONE`."""
    fast: float
    """The typical time before an answer, seconds."""
    slow: float
    """The time before an answer on a bad day, seconds."""
    bad_days: float
    """How probable a bad day is."""


TEMPERS = (
    Temper("alder", {Fault.STALL: 0.15, Fault.REFUSE: 0.02, Fault.CUT: 0.02}, fast=0.02, slow=0.4, bad_days=0.3),
    Temper("birch", {Fault.STALL: 0.02, Fault.REFUSE: 0.15, Fault.CORRUPT: 0.05}, fast=0.05, slow=0.3, bad_days=0.2),
    Temper("cedar", {Fault.STALL: 0.02, Fault.CUT: 0.12, Fault.CORRUPT: 0.12}, fast=0.08, slow=0.2, bad_days=0.1),
)


@dataclass(frozen=True)
class Mood:
    """How one request is answered."""

    fault: Fault
    delay: float
    """Seconds before the answer."""


def mood(temper: Temper, path: str, request: int, seed: int) -> Mood:
    """Return how a mirror answers its `request`-th request (from 1) for a file."""
    chance = random.Random(f"{seed} {temper.name} {path} {request}")
    delay = (temper.slow if chance.random() < temper.bad_days else temper.fast) * (0.5 + chance.random())
    if request == 1 and starved(path, seed):
        return Mood(Fault.STALL, delay)
    if request > BAD_REQUESTS:
        return Mood(Fault.NONE, delay)
    faults = [*temper.faults, Fault.NONE]
    weights = [*temper.faults.values(), 1 - sum(temper.faults.values())]
    return Mood(chance.choices(faults, weights)[0], delay)


def starved(path: str, seed: int) -> bool:
    """Return whether every mirror stalls at its first request for this file."""
    return random.Random(f"{seed} starved {path}").random() < STARVED

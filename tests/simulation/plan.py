"""What a seed decides before anything runs: how large a run is, how long, and what goes wrong how often.

Everything is measured in *units*. A unit is the length of a lease; whatever else takes time (what steps take, how long
workflows sleep, outages, clocks that are off) is some share of it, so that runs of hours and of months are alike. Runs
with a long unit make virtual time cheap: engines do little while nothing happens but heartbeats.

Each kind of misfortune is switched off in some of the runs. Where everything goes wrong all the time, much is never
reached: an engine that is always being killed is never taken over while it lives.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass


class Fault(enum.Enum):
    """What happens to the cluster from time to time."""

    CRASH = "crashes"
    """A process dies without a word."""
    RESTART = "restarts"
    """A process ends in order and is started again."""
    DEPLOY = "deployments"
    """A machine gets another release: mostly a newer one."""
    STOP = "stops"
    """A process stands still for a while, perhaps for longer than its lease, and goes on as if nothing had been."""
    JUMP = "clock jumps"
    """A machine's clock is set."""
    OUTAGE = "outages"
    """The database cannot be reached by anybody."""
    CANCEL = "cancels"
    """Somebody cancels a workflow."""
    KILL = "kills"
    """Somebody kills one."""
    RESUME = "resumes"
    """Somebody resumes whatever is stuck."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What happens to calls of the store: probabilities for each of them."""

    slow: float
    """That it takes a while."""
    lost: float
    """That it never arrives."""
    unanswered: float
    """That it is done, and the answer is lost."""
    late: float
    """That its sender gives up on it, and it arrives all the same, long after."""
    deaf: float
    """That news takes a while."""


CLEAR = Weather(slow=0, lost=0, unanswered=0, late=0, deaf=0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run goes."""

    seed: int
    unit: float
    """Seconds."""
    span: float
    """Seconds in which workflows are submitted and things go wrong."""
    machines: int
    workflows: int
    max_running: int
    """How many workflows an engine has in memory at most."""
    evict_after: float
    """Seconds."""
    release: int
    """What all machines begin with."""
    senders: int
    """People who send messages."""
    max_inbox: int
    """How many messages may wait for a workflow."""
    often: Mapping[Fault, float]
    """How often each misfortune happens in a run, on average; 0: not in this one."""
    weather: Weather


NEWEST = 2
"""The number of the newest release."""

_UNITS = (15.0, 600.0, 3600.0, 4 * 3600.0)
_OFF = 0.35
"""How often a kind of misfortune is switched off."""


def draw_plan(seed: int) -> Plan:
    """Return the plan of a seed."""
    chance = random.Random(f"plan {seed}")

    def often(most: float) -> float:
        return 0.0 if chance.random() < _OFF else chance.uniform(0.1, 1) * most

    unit = chance.choice(_UNITS)
    weather = Weather(slow=often(0.3), lost=often(0.05), unanswered=often(0.05), late=often(0.02), deaf=often(0.5))
    often_: dict[Fault, float] = {fault: often(most) for fault, most in _MOST.items()}
    return Plan(
        seed=seed,
        unit=unit,
        span=unit * chance.uniform(10, 60),
        machines=chance.randint(1, 4),
        workflows=chance.randint(10, 40),
        max_running=chance.choice([2, 5, 1000]),
        evict_after=unit * chance.choice([0.05, 0.3, 2]),
        release=chance.choice([0, NEWEST]),
        senders=chance.randint(0, 3),
        max_inbox=chance.choice([2, 10, 1000]),
        often=often_ | {Fault.RESUME: 10.0},
        weather=weather,
    )


_MOST = {
    Fault.CRASH: 30,
    Fault.RESTART: 10,
    Fault.DEPLOY: 10,
    Fault.STOP: 20,
    Fault.JUMP: 10,
    Fault.OUTAGE: 6,
    Fault.CANCEL: 40,
    Fault.KILL: 8,
}
"""How often each happens in a run, on average, where it happens most."""

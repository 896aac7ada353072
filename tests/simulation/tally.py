"""What a simulation went through, counted."""

from __future__ import annotations

import enum
from collections import Counter
from typing import TypeAlias

from tests.simulation.plan import Fault


class Thing(enum.Enum):
    """What is counted beside misfortunes."""

    SEEDS = "seeds"
    HOURS = "virtual hours"
    WORKFLOWS = "workflows"
    CHILDREN = "children"
    RECALLED = "cancelled children"
    LETTERS = "messages received"
    SETTLED = "promises settled"
    ANSWERED = "updates answered"
    EVENTS = "events"
    COMMITS = "commits"
    TAKEOVERS = "takeovers"
    """Claims of what another process had begun, but for those that had let go of it in order."""
    FENCED = "refused by the fence"
    BODIES = "bodies"
    ZOMBIES = "bodies of fenced engines"
    STUCK = "got stuck by old code"
    SLOW = "slow calls"
    LOST = "lost calls"
    UNANSWERED = "lost answers"
    LATE = "late calls"
    REFUSED = "calls in outages"
    REPLAYS = "replays"


Tally: TypeAlias = Counter[Thing | Fault]

"""What must hold in a simulated run."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Law(enum.Enum):
    """What must hold."""

    SOUND = "a log is dense, its times do not go back, and each step has one outcome"
    FENCE = "behind a claim nobody writes but who has claimed"
    DURABLE = "no body begins before all is durable that led to it"
    KEPT = "what was answered as durable is there, and never changes"
    NOT_AGAIN = "a recorded step's body never runs again"
    AT_MOST_ONCE = "what may run once at most does not run twice"
    ENDS = "whatever was submitted comes to an end, and to one"
    ANSWER = "who waits for a result is told what the log says"
    CANCELS = "who was told that a workflow will be cancelled finds that in its log, once for each time"
    MAIL = "a message waits until it is taken or its workflow ends, and what is to be left once does not come twice"
    TAKEN = "what is taken from an inbox is in the log by the same commit"
    RECEIVED = "what a sender was told to be left is received, in the order of sending, unless the workflow ends first"
    ONCE = "a message is received once, however often it was sent, and one sender at most is told that it is new"
    SETTLED = "a promise is settled once, by the first who was told so"
    UPDATED = "an update is asked once, and answered once, and whoever asks by its key is told that"
    FAMILY = "a child begins with its parent's row, and its end is in both logs alike"
    OUTLIVED = "when a workflow has ended, and was not killed, so have its children"
    RECALLED = "a child whose scope was cancelled comes to an end"
    RING = "a ring keeps its count"
    CLEAN = "what was reserved is released, unless the workflow was killed"
    FOLLOWS = "code that has not changed follows its log"
    REPLAYS = "a log, replayed, comes to the same end"
    HEALTHY = "engines do not break, and complain of nothing"


@dataclass(frozen=True)
class Breach:
    """A law that was broken."""

    law: Law
    problem: str
    id: str | None = None
    """The workflow's whose log tells more."""

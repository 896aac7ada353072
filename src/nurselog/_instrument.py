"""What an engine tells those who look on: an interface with two methods, and frozen records of what happens.

Most of what there is to tell is in the log already, so there is one record for all of that: `Recorded`, an event that
is durable now. It comes once, from the engine that has appended the event, and never again on replay. What is no event
has records of its own: a workflow comes into memory and leaves it, its code enters and leaves scopes, a step's function
is about to be called, a batch is committed.

Trio's `Instrument` has a method for each thing that happens. Here it is one method and a union of records, which
`match` takes apart: a new kind of record then breaks nobody's code, and whoever only counts or prints needs one line.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from ._log.events import Cause, Event, Row, Started


class _Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The base of all that is told."""


class Life(_Record, frozen=True, kw_only=True):
    """One stay of a workflow in an engine's memory; most workflows have one."""

    id: str
    """The workflow's."""
    started: Started
    """The first event of its log: the name of its function, and what came along from where it was submitted."""
    began_at: int
    """When the workflow was started, UTC microseconds."""
    writer: int
    """The writer of the rows that are appended in this life: no other life has it."""


class Submitted(_Record, frozen=True, kw_only=True):
    """A workflow was made by this engine or client, durably; it may run anywhere. A fork, too, and a child."""

    id: str
    started: Started
    at: int
    """UTC microseconds."""


class TakenUp(_Record, frozen=True, kw_only=True):
    """A workflow is in memory now: a life begins."""

    life: Life
    at: int
    """UTC microseconds."""
    rows: int
    """How many rows its log has."""
    events: int
    """How many of them its code is given again; 0: it begins from nothing."""
    former: int | None
    """The writer of the life before this one; None: there was none, as far as the log shows."""
    sources: tuple[str, ...]
    """Ids of the workflows that its first rows were copied from, if it is a fork."""


class Replayed(_Record, frozen=True, kw_only=True):
    """A workflow that had lived before has followed its log, and goes on."""

    life: Life
    seconds: float
    """Since it was taken up."""


class Recorded(_Record, frozen=True, kw_only=True):
    """An event of a workflow is durable, and was not before. Rows of a claim are not told of: `TakenUp` is."""

    life: Life
    event: Event
    row: Row
    """Its place, its time, and the value's bytes."""


class ScopeEntered(_Record, frozen=True, kw_only=True):
    """Workflow code has entered a durable scope; on replay it does so again."""

    life: Life
    path: str
    """The scope's; empty for that around the whole workflow."""
    outer: str
    """The path of the scope around it."""
    name: str
    """For people: workflow, nursery, scope, or that of a branch."""
    at: int
    """The time of the event after which it happened, UTC microseconds: the same in each life."""


class ScopeLeft(_Record, frozen=True, kw_only=True):
    """Workflow code has left a durable scope, cancelled or not, and the log shows that it has come beyond that.

    Not told when a workflow leaves memory inside the scope, or before the log shows that: then the next life tells it.
    """

    life: Life
    path: str
    at: int
    """As in `ScopeEntered`."""
    cause: Cause | None
    """What has cancelled it; None: nothing did."""
    reason: str | None
    cancelled_at: int | None
    """When that was, as in `ScopeEntered`."""
    replaying: bool
    """Whether a former life has told this."""


class StepBegins(_Record, frozen=True, kw_only=True):
    """A step's function is about to be called for the first time in this life.

    This is told in the function's own context: a context variable that is set here is seen by the function, in its
    tasks and in its thread, and by nobody else.
    """

    life: Life
    path: str
    scope: str
    """The path of the innermost durable scope around it."""
    name: str
    attempt: int
    """From 1; more if attempts have failed in former lives."""
    at: int
    """UTC microseconds."""


class LongTurn(_Record, frozen=True, kw_only=True):
    """Workflow code has computed for so long without a pause that it has held up the whole process."""

    life: Life
    path: str
    """The strand's."""
    seconds: float


class Parting(enum.Enum):
    """Why a workflow leaves memory."""

    ENDED = "ended"
    EVICTED = "evicted"
    """It only waits, and its place is needed or it has waited for long enough."""
    SUSPENDED = "suspended"
    """The engine closes; or the state that it exposes was spoiled, and it begins again from its log."""
    LOST = "lost"
    """Somebody else owns it, or may own it."""
    STUCK = "stuck"


class Left(_Record, frozen=True, kw_only=True):
    """A workflow has left memory, and all about it is durable: a life is over."""

    life: Life
    at: int
    """UTC microseconds."""
    why: Parting
    turns: int
    """How many turns its code has had in this life."""


class Stuck(_Record, frozen=True, kw_only=True):
    """A workflow cannot go on, and that is durable; its log may be one that cannot be read."""

    id: str
    name: str
    """Of its function."""
    problem: str


class Committed(_Record, frozen=True, kw_only=True):
    """A batch is durable: what all workflows of this engine had appended meanwhile, if nobody else was there before."""

    workflows: int
    """How many workflows it wrote for, or made."""
    rows: int
    bytes: int
    """Of events and values."""
    lag: float
    """Seconds since the first thing in it was appended."""
    seconds: float
    """Of these, in the store."""


class Looked(_Record, frozen=True, kw_only=True):
    """The engine has looked for workflows that are due and have no owner."""

    found: int
    """How many it has taken over."""
    seconds: float


class LeaseLost(_Record, frozen=True, kw_only=True):
    """The engine could not renew its lease in time: everything in its memory leaves it."""

    workflows: int
    """How many were in memory."""


Happening: TypeAlias = (
    Submitted
    | TakenUp
    | Replayed
    | Recorded
    | ScopeEntered
    | ScopeLeft
    | StepBegins
    | LongTurn
    | Left
    | Stuck
    | Committed
    | Looked
    | LeaseLost
)
"""What is told. More kinds will come: leave a case for what is not known."""


class Instrument:
    """Looks on while an engine or a client works: for metrics, traces, curiosity. Derive from it, and give it to one.

    Both methods may be left out. They are called where things happen, between two steps of tasks: they must be quick,
    must not wait, and must ask nothing of workflows. One that raises is dropped, with a message in the log of the
    process, and the engine goes on without it.
    """

    def happened(self, what: Happening) -> None:
        """Something has happened."""

    def headers(self, parent: Life | None, scope: str) -> Mapping[str, str]:  # noqa: ARG002 - for those that do more
        """Return what goes along with a workflow that is being submitted, to be found in its `Life.started.headers`.

        Called in the context of whoever submits it. A child has its parent's headers, and these over them.

        Args:
            parent: whose child it is; None: nobody's.
            scope: the path of the parent's innermost durable scope around the call.
        """
        return {}

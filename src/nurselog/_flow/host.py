"""What a workflow needs from whoever runs it: the engine implements this, and `_flow` knows no more of engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import trio

from .._errors import NurselogError
from .._log.events import Event, Row
from ..abc import Clock, Codec, Database, WorkflowKey

if TYPE_CHECKING:
    from .body import Body, Elsewhere
    from .children import Child
    from .scope import CancelScope
    from .timers import Timer
    from .venue import Venue
    from .workflow import Workflow


class Host(Protocol):
    """The side of an engine that one of its workflows sees."""

    key: WorkflowKey
    clock: Clock
    codec: Codec
    limiter: trio.CapacityLimiter
    """How many sync steps run in threads at once."""
    cores: trio.CapacityLimiter
    """How many run in worker processes at once."""
    max_payload: int
    """Bytes that one value may have."""

    def append(self, row: Row, event: Event) -> None:
        """Queue a row for the next commit; `Sequencer.committed` is called when it is durable.

        With that of a child's start the child itself is made, out of `Sequencer.family`.
        """
        ...

    def start(self, body: Body) -> None:
        """Run a body in a task that is no strand; `Body.look` is called now and then."""
        ...

    async def settled(self) -> None:
        """Wait while nobody knows whether others may have taken the workflow over: no body may begin meanwhile."""
        ...

    async def elsewhere(self, venue: Venue) -> Elsewhere:
        """Return where functions of this venue run; it is opened when it is first asked for. A checkpoint.

        Raises:
            UsageError: if a library is missing.
        """
        ...

    def arm(self, timer: Timer) -> None:
        """Call `Sequencer.due(timer)` when the timer is due."""
        ...

    def cancel_child(self, child: Child) -> None:
        """Have a child cancelled; `Family.arranged(child)` is called when it is durable that it will be."""
        ...

    def make_orphan(self, child: Child) -> None:
        """Make a child that the log has, but as another workflow's; `Family.arranged(child)` is called then."""
        ...

    async def submit(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], id: str) -> None:
        """Make a workflow that has no parent, unless there is the same already; wait for the store. A checkpoint."""
        ...

    async def send(self, id: str, topic: str, value: object, key: str) -> None:
        """Leave a message for a workflow's mailbox; as long as the store is unavailable, wait. A checkpoint."""
        ...

    async def resolve(self, promise: str, value: object) -> None:
        """Settle a promise with a value, unless that was done; as long as the store is unavailable, wait."""
        ...

    async def reject(self, promise: str, error: Exception) -> None:
        """Settle a promise with an error, unless that was done; as long as the store is unavailable, wait."""
        ...

    def database(self, name: str | None) -> Database:
        """Return the database of this name; None: the store's own. Raise UsageError if there is none."""
        ...

    def read(self) -> None:
        """The workflow has read a message: there is room for another one."""
        ...

    def hungry(self) -> None:
        """The workflow waits for a message, whatever room there is."""
        ...

    def check_workflow(self, workflow: Workflow[..., Any]) -> None:
        """Raise RegistrationError if another workflow of this engine has this one's name, or it cannot be recorded."""
        ...

    def check_name(self, name: str, function: object) -> None:
        """Raise RegistrationError if another function of this engine has this step name."""
        ...

    def goes_on(self) -> bool:
        """The code has followed the recorded log, and waits: return whether anything is to happen now."""
        ...

    def scope_entered(self, scope: CancelScope) -> None:
        """The workflow's code has entered a durable scope."""
        ...

    def scope_left(self, scope: CancelScope) -> None:
        """The workflow's code has left a durable scope, by itself: the workflow is not leaving memory."""
        ...

    def held_up(self, path: str, seconds: float) -> None:
        """A turn of the strand at this path has held up the whole process."""
        ...

    def waits(self) -> None:
        """The workflow waits for what its log may bring, and has written all that it had to."""
        ...

    def stuck(self, problem: NurselogError) -> None:
        """The workflow cannot go on; its code may take a while to leave memory."""
        ...

    def over(self) -> None:
        """The workflow has left memory: it has ended, is stuck, or is suspended."""
        ...

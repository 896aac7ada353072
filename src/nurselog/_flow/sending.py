"""`send`: a message from one workflow to another.

It is a step, whose body leaves the message in the store, so it has all that steps have: its outcome is in the log, an
error (no such workflow, no room) can be handled, it is cancelled by its scope and goes into a nursery. A step's body
may run twice, when its process dies in the middle. So the message has the step's key as its own, and the store leaves
messages of one key once only: what is at least once here is exactly once there.
"""

from __future__ import annotations

from .._errors import MisplacedCallError, OutsideWorkflowError
from .body import Body
from .mailbox import topic_name
from .step import step
from .strand import place


@step(name="nurselog.send")
async def send(id: str, topic: str, value: object, *, key: str | None = None) -> None:
    """Send a message to a workflow's mailbox, from a workflow. A step.

    Args:
        id: the receiver's.
        topic: its mailbox's.
        value: the message; the codec must be able to write it.
        key: names the message: of several with one key the receiver gets the first. None: this call's own.

    It returns when the message is durable in the receiver's inbox, whatever the receiver does. A checkpoint; when it
    is cancelled the message may have been sent.

    Raises:
        WorkflowNotFound: if there is no such workflow.
        WorkflowEnded: if it has ended.
        InboxFull: if too many messages wait there.
        EncodingError: if the value cannot be written.
        PayloadTooLargeError: if it is larger than the limit.
        UsageError: if the topic is none.
    """
    here = place.get()
    if not isinstance(here, Body):
        raise OutsideWorkflowError("send works inside a workflow only: outside, use engine.send()")
    if key is None and here.call.step.function is not send.function:
        raise MisplacedCallError("send was called inside a step, where it needs a key of its own: send(..., key=...)")
    await here.call.sequencer.host.send(id, topic_name(topic), value, key or here.key)

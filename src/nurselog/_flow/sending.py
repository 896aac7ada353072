"""`send`, `resolve` and `reject`: what one workflow tells another.

They are steps, whose bodies leave messages in the store, so they have all that steps have: the outcome is in the log,
an error (no such workflow, no room) can be handled, they are cancelled by their scopes and go into nurseries. A step's
body may run twice, when its process dies in the middle. So a message has its step's key as its own, and the store
leaves messages of one key once only: what is at least once here is exactly once there. A promise is settled once in any
case. Who was first, its own workflow learns; a step that runs again could not tell others from itself, and is not told.
"""

from __future__ import annotations

from .._errors import MisplacedCallError, OutsideWorkflowError
from .body import Body
from .step import Step, step
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
        UsageError: if the topic or the key is none: 1 to 200 printable characters.
    """
    body = _body(send if key is None else None)
    await body.call.sequencer.host.send(id, topic, value, body.key if key is None else key)


@step(name="nurselog.resolve")
async def resolve(promise: str, value: object = None) -> None:
    """Settle a workflow's promise with a value, from a workflow. A step. If it was settled before, nothing happens.

    Args:
        promise: its id, as `promise(...).id` gave it.
        value: what it comes to; the codec must be able to write it.

    A checkpoint; when it is cancelled the promise may have been settled.

    Raises:
        WorkflowNotFound: if its workflow is not there.
        WorkflowEnded: if its workflow has ended.
        EncodingError: if the value cannot be written.
        PayloadTooLargeError: if it is larger than the limit.
        UsageError: if the id is none.
    """
    await _body(None).call.sequencer.host.resolve(promise, value)


@step(name="nurselog.reject")
async def reject(promise: str, error: Exception) -> None:
    """Settle a workflow's promise with an error, from a workflow. A step. If it was settled before, nothing happens.

    Args:
        promise: its id, as `promise(...).id` gave it.
        error: what who waits for it gets to see.

    A checkpoint; when it is cancelled the promise may have been settled.

    Raises:
        What `resolve` raises.
    """
    await _body(None).call.sequencer.host.reject(promise, error)


def _body(own: Step[..., None] | None) -> Body:
    """Return the body of a step that runs here: of `own`, unless that is None."""
    here = place.get()
    if not isinstance(here, Body):
        raise OutsideWorkflowError("this works inside a workflow only: outside, use the engine's send, resolve, reject")
    if own is not None and here.call.step.function is not own.function:
        raise MisplacedCallError("send was called inside a step, where it needs a key of its own: send(..., key=...)")
    return here

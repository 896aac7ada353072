"""`send`, `resolve`, `reject` and `submit`: what one workflow tells another, and how it starts one that is not its own.

They are steps, whose bodies leave messages in the store, so they have all that steps have: the outcome is in the log,
an error (no such workflow, no room) can be handled, they are cancelled by their scopes and go into nurseries. A step's
body may run twice, when its process dies in the middle. So a message has its step's key as its own, and the store
leaves messages of one key once only: what is at least once here is exactly once there. A promise is settled once in any
case. Who was first, its own workflow learns; a step that runs again could not tell others from itself, and is not told.
A workflow that is submitted has the step's key for an id, unless it is given one: it is made once, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVarTuple

from .._errors import MisplacedCallError, OutsideWorkflowError
from .._log.identity import check_id
from .body import Body
from .current import arrive
from .step import Step, step
from .strand import place
from .workflow import unwrap_workflow

Ts = TypeVarTuple("Ts")


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


async def submit(workflow: Callable[[*Ts], Awaitable[object]], *args: *Ts, id: str | None = None) -> str:
    """Start a workflow that is nobody's child, from a workflow; return its id. A step.

    It goes on whatever becomes of this one. For one that is bound to a scope use `nursery.go`.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments; they must be encodable.
        id: 1 to 200 characters without "/"; the same id with the same input is the same run. None: one of its own.

    It returns when it is durable that the workflow will run. A checkpoint; when it is cancelled the workflow may have
    been started.

    Raises:
        WorkflowConflict: if the id belongs to another workflow or another input.
        RegistrationError: if `workflow` is none, or another function has its name.
        EncodingError: if an argument cannot be encoded.
        PayloadTooLargeError: if the input is larger than the limit.
        UsageError: if the id is none.
    """
    target, args_, kwargs = unwrap_workflow(workflow, args)
    if id is not None:
        check_id(id)
    strand = await arrive("submit")
    strand.sequencer.host.check_workflow(target)  # from here on it is known by its name, which the log can have
    submitted: str = await _submit(target.name, args_, kwargs, id)
    return submitted


@step(name="nurselog.submit")
async def _submit(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None) -> str:
    body = _body(None)
    made = body.key if id is None else id
    await body.call.sequencer.host.submit(name, args, kwargs, made)
    return made


def _body(own: Step[..., None] | None) -> Body:
    """Return the body of a step that runs here: of `own`, unless that is None."""
    here = place.get()
    if not isinstance(here, Body):
        raise OutsideWorkflowError("send, resolve and reject work inside a workflow only: outside, use the engine's")
    if own is not None and here.call.step.function is not own.function:
        raise MisplacedCallError("send was called inside a step, where it needs a key of its own: send(..., key=...)")
    return here

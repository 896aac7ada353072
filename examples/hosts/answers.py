"""What the web hosts of this folder have in common: what a request's key may be, and which errors are which answers.

A request's `Idempotency-Key` is the workflow's id. So whoever has heard no answer asks again with the same key, as
often as need be, and gets the one answer that there is. Where customers choose keys, put in front who they are: keys of
two of them must not meet.
"""

from __future__ import annotations

from nurselog import EngineClosed, WorkflowCancelled, WorkflowConflict, WorkflowEnded, WorkflowKilled, WorkflowNotFound
from shop import Declined

KEY = "Idempotency-Key"
KEY_PATTERN = r"^[ -.0-~]{1,200}$"
"""What a header can have of what the id of a workflow may be: no slash."""

ANSWERS: dict[type[Exception], int] = {
    Declined: 402,
    WorkflowNotFound: 404,
    WorkflowConflict: 409,
    WorkflowEnded: 409,
    WorkflowCancelled: 410,
    WorkflowKilled: 410,
    EngineClosed: 503,  # ask again: the workflow goes on with the next process
}
"""The statuses of errors that are somebody's answer; all others are ours to mend, and a 500."""


def explain(error: Exception) -> dict[str, str]:
    """Return what a client is told of an error that is an answer."""
    if isinstance(error, WorkflowConflict):
        text = f"{KEY} {error.workflow_id!r} came with another request before. A new request needs a new key"
    else:
        text = str(error)
    return {"error": type(error).__name__, "detail": text}

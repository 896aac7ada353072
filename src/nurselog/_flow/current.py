"""Where am I: the strand that runs, or one clear error."""

from __future__ import annotations

from trio.lowlevel import current_task

from .._errors import MisplacedCallError, OutsideWorkflowError, Suspended
from .strand import Strand, place


def current_strand(what: str) -> Strand:
    """Return the strand that runs.

    Args:
        what: the operation that needs it, for the errors.

    Raises:
        OutsideWorkflowError: if no workflow runs here.
        MisplacedCallError: if this is a step's body, or a task or thread that only inherited the workflow's context.
        Suspended: if the workflow is leaving memory.
    """
    here = place.get()
    if here is None:
        raise OutsideWorkflowError(
            f"{what} works inside a workflow only: call it from a function decorated with @workflow that an engine runs"
        )
    if not isinstance(here, Strand):
        raise MisplacedCallError(
            f"{what} was called inside a step. A step is one effect, recorded as a whole: call {what} in the workflow "
            "around it, or use Trio's own inside"
        )
    if here.task is not current_task():
        raise MisplacedCallError(
            f"{what} was called in a task or thread that does not belong to the workflow whose context it has inherited"
        )
    if here.sequencer.suspending:
        raise Suspended
    return here

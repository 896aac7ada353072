"""Where am I: the strand that runs, or one clear error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from trio.lowlevel import cancel_shielded_checkpoint, current_task

from .._errors import MisplacedCallError, OutsideWorkflowError, Suspended
from .guards import check_fatal
from .strand import Strand, place

if TYPE_CHECKING:
    from .sequencer import Sequencer


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
    handled = sys.exception()
    if handled is not None and handled is not here.outside:
        check_fatal(here, handled)
    if here.sequencer.suspending:
        raise Suspended
    return here


def own_strand(what: str, sequencer: Sequencer) -> Strand:
    """Return the strand that runs, for something that belongs to one workflow.

    Raises:
        MisplacedCallError: if this is another workflow, whose doings that one's log knows nothing of.
    """
    strand = current_strand(what)
    check_own(what, strand, sequencer)
    return strand


def check_own(what: str, strand: Strand, sequencer: Sequencer) -> None:
    """See that something which belongs to one workflow is used there.

    Raises:
        MisplacedCallError: if the strand is another workflow's.
    """
    if strand.sequencer is not sequencer:
        raise MisplacedCallError(
            f"{what} was called in workflow {strand.sequencer.id!r} on something that belongs to workflow "
            f"{sequencer.id!r}: a workflow's nurseries, scopes, handles and channels are its own, and gone when it "
            "leaves memory. Use the engine to cancel another workflow"
        )


async def leave(what: str) -> NoReturn:
    """Stand for an operation that is called when the workflow leaves memory: raise Suspended, once it is awaited.

    Not at the call: code that swallows that in a loop would never give Trio another turn.
    """
    await arrive(what)
    raise Suspended  # pragma: no cover - the gate has raised it


async def arrive(what: str, sequencer: Sequencer | None = None) -> Strand:
    """Return the strand that runs, for an operation that is awaited, perhaps on something that belongs to one workflow.

    When the workflow leaves memory it parks first, where the gate raises Suspended: code that swallows that in a loop
    would otherwise never give Trio another turn.
    """
    here = place.get()
    if isinstance(here, Strand) and here.sequencer.suspending:
        await cancel_shielded_checkpoint()
    return current_strand(what) if sequencer is None else own_strand(what, sequencer)

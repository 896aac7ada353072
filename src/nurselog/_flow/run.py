"""One workflow from its first turn to its last: the task that the engine starts for it."""

from __future__ import annotations

from typing import Any

from trio.lowlevel import current_task

from .._log.events import Ended, Result
from .scope import CancelScope
from .sequencer import Phase, Sequencer
from .strand import Operation, Strand
from .where import defined_at
from .workflow import Workflow

ROOT = Operation((), "")


async def run_workflow(
    sequencer: Sequencer, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run a workflow in the current task until it has ended or left memory; never raises."""
    strand = Strand(sequencer, (), None)
    sequencer.root = CancelScope._around(strand, ROOT)
    strand.task = current_task()
    sequencer.watch.enter(strand)
    sequencer.runnable += 1  # this very step of the task
    strand.scheduled += 1
    try:
        await strand.run(_main(strand, workflow, args, kwargs))
    except BaseException as exc:  # noqa: BLE001 - nothing may leave: the engine's nursery would be cancelled
        if not sequencer.suspending:
            sequencer.crash(exc)
    finally:
        for call in sequencer.unawaited.values():
            call.coroutine.close()
        sequencer.phase = Phase.OVER
        sequencer.timers.clear()
        sequencer.host.over()


async def _main(strand: Strand, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    sequencer = strand.sequencer
    root = sequencer.root
    event, value = Ended(result=Result.CANCELLED), None
    try:
        with root:
            result = await workflow.fn(*args, **kwargs)
            sequencer.check_awaited()
            encoded = sequencer.host.codec.encode(result, workflow.returns)
            value = sequencer.limited(f"the result of workflow {sequencer.id!r}", encoded)
            event = Ended(result=Result.VALUE)
        if root.cancelled_caught:
            event, value = Ended(result=Result.CANCELLED, reason=root.reason), None
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        event, value = Ended(result=Result.ERROR), sequencer.error_bytes(f"the error of workflow {sequencer.id!r}", exc)
    if not sequencer.suspending:
        sequencer.note(event, value, where=defined_at(workflow.fn))
        sequencer.ended = event

"""One workflow from its first turn to its last: the task that the engine starts for it."""

from __future__ import annotations

from typing import Any

import trio
from trio.lowlevel import current_task

from .._errors import NurselogError
from .._log.events import Ended, Result
from . import trouble
from .groups import find_fatal, no_error, split_error
from .guards import check_awaited
from .leftovers import close_nurseries
from .scope import CancelScope
from .sequencer import Phase, Sequencer
from .strand import Operation, Strand, abandoned, logger
from .where import defined_at
from .workflow import Workflow

ROOT = Operation((), "")


async def run_workflow(sequencer: Sequencer, workflow: Workflow[..., Any], arguments: bytes) -> None:
    """Run a workflow in the current task until it has ended or left memory; never raises."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    try:
        args, kwargs = workflow.signature.decode_call(sequencer.host.codec.decode, arguments)
    except NurselogError as exc:
        sequencer.stuck(trouble.unreadable(sequencer, "its input", "", exc, defined_at(workflow.fn)))
    if sequencer.suspending:  # its input cannot be read, or it was killed before its first turn
        sequencer.host.over()
        return
    strand = Strand(sequencer, (), None)
    sequencer.root = CancelScope._around("workflow", strand, ROOT)
    task = strand.task = current_task()
    sequencer.watch.enter(strand)
    strand.scheduled += 1  # for this very step of the task, which `runnable` has counted from the beginning
    try:
        await strand.run(_main(strand, workflow, args, kwargs))
    except BaseException as exc:  # noqa: BLE001 - nothing may leave: the engine's nursery would be cancelled
        sequencer.fail(exc)
    finally:
        for call in sequencer.unawaited.values():
            call.coroutine.close()
        if task.child_nurseries:
            sequencer.suspend()
            await close_nurseries(task)
        sequencer.phase = Phase.OVER
        sequencer.timers.clear()
        sequencer.inbox.clear()
        sequencer.family.children.clear()
        del sequencer.root  # it leads back
        sequencer.host.over()


async def _main(strand: Strand, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    sequencer = strand.sequencer
    root = sequencer.root
    event, value = Ended(result=Result.CANCELLED), None
    try:
        with root:
            try:
                result = await workflow.fn(*args, **kwargs)
            finally:
                await _close_generators(sequencer)
            check_awaited(strand)
            encoded = sequencer.host.codec.encode(result, workflow.returns)
            value = sequencer.log.limited(f"the result of workflow {sequencer.id!r}", encoded)
            event = Ended(result=Result.VALUE)
        if root.cancelled_caught:
            event, value = Ended(result=Result.CANCELLED, reason=root.reason), None
    except BaseException as exc:
        if sequencer.suspending or find_fatal(exc):
            raise
        event = Ended(result=Result.ERROR)
        value = sequencer.log.error_bytes(
            f"the error of workflow {sequencer.id!r}", split_error(exc)[0] or no_error("the workflow", exc)
        )
    if not sequencer.suspending:
        sequencer.note(event, value, where=defined_at(workflow.fn))
        sequencer.end(event)


async def _close_generators(sequencer: Sequencer) -> None:
    """Close the async generators that the workflow has left open, on its own turn and as a part of its history.

    As Trio does it: under a cancelled scope, and their errors are nobody's. A nursery in one makes a group of what it
    is closed with.
    """
    suspended: BaseException | None = None
    while sequencer.generators.items:
        generator = sequencer.generators.items.pop()
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await generator.aclose()
            except trio.Cancelled:
                raise  # the scope's
            except BaseException as exc:
                if find_fatal(exc):
                    raise
                if sequencer.suspending:
                    suspended = exc  # but the others want to be closed as well
                else:
                    logger.exception("workflow %r: an async generator that was left open failed to close", sequencer.id)
            if generator.ag_frame is not None:  # type: ignore[attr-defined]  # the stubs lack it
                abandoned.append(generator)
    if suspended is not None:
        raise suspended

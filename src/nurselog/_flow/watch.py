"""The instrument that tells the sequencers what Trio does with their tasks; one for each engine.

It counts how many tasks of each workflow Trio has scheduled, adopts each task that workflow code spawns, and sees when
a strand is woken by somebody else. It costs the host's own tasks one dictionary look-up at each hook.

An exception that leaves a hook makes Trio drop the instrument with no more than a line in a log, and every workflow
would wait for ever: so each hook hands what it meets to the workflow concerned.
"""

from __future__ import annotations

import trio
from trio.lowlevel import Task, current_task

from .._errors import MisplacedCallError
from .scope import CancelScope
from .strand import Strand


class Watch(trio.abc.Instrument):
    """Knows which tasks are strands."""

    def __init__(self) -> None:
        self.strands: dict[Task, Strand] = {}

    def running(self) -> Strand | None:
        """Return the strand that Trio is stepping just now."""
        try:
            return self.strands.get(current_task())
        except RuntimeError:
            return None

    def enter(self, strand: Strand) -> None:
        """Take note of a strand."""
        self.strands[strand.task] = strand
        strand.sequencer.strands.add(strand)

    def task_spawned(self, task: Task) -> None:
        """Adopt what workflow code spawns. A task is a strand if its spawner and its nursery's owner both are."""
        nursery = task.parent_nursery
        if nursery is None or nursery.parent_task.parent_nursery is None:
            return  # a system task, in a nursery of Trio's own, belongs to nobody
        owner = self.strands.get(nursery.parent_task)
        spawner = self.running()
        if owner is None and spawner is None:
            return
        if spawner is not None and owner is not None and spawner.sequencer is owner.sequencer:
            self._adopt(task, spawner, _scope_around(nursery, owner))
            return
        for strand in (owner, spawner):
            if strand is not None and not strand.sequencer.granting:  # the sequencer itself starts bodies
                strand.sequencer.stuck(_across(task, strand.sequencer.id))

    def _adopt(self, task: Task, spawner: Strand, scope: CancelScope | None) -> None:
        sequencer = spawner.sequencer
        path, sequencer.adopting = sequencer.adopting or spawner.plain_child(), None
        strand = Strand(sequencer, path, scope)
        strand.adopt(task)
        self.enter(strand)

    def task_scheduled(self, task: Task) -> None:
        """Count, and see that nobody from outside woke a strand."""
        strand = self.strands.get(task)
        if strand is None:
            return
        sequencer = strand.sequencer
        sequencer.runnable += 1
        strand.scheduled += 1
        if not sequencer.granting and not sequencer.inside():
            sequencer.foreign(strand)

    def after_task_step(self, task: Task) -> None:
        """A strand has parked or ended: its workflow may have become quiet."""
        strand = self.strands.get(task)
        if strand is None:
            return
        sequencer = strand.sequencer
        sequencer.runnable -= 1
        strand.scheduled -= 1
        if strand.done:
            del self.strands[task]
            sequencer.strands.discard(strand)
        sequencer.parked()


def _scope_around(nursery: trio.Nursery, owner: Strand) -> CancelScope | None:
    """Return the innermost durable scope that a nursery was opened in; its owner may be in further ones by now."""
    opened = owner.task.child_nurseries.index(nursery)
    scope = owner.scope
    while scope is not None and scope._entered_in(owner, opened):
        scope = scope._outer
    return scope


def _across(task: Task, workflow_id: str) -> MisplacedCallError:
    return MisplacedCallError(
        f"task {task.name} was spawned across the border of workflow {workflow_id!r}: a task and the nursery that it "
        "runs in must both belong to the workflow, or both not. Open the nursery where its tasks are started."
    )

"""What code leaves open in its task when it returns: cancel scopes and nurseries that were entered by hand.

Trio finds out when the task ends, and makes it an error of the nursery around the task. That is the engine's: one step
that forgets to close an `AsyncExitStack` would end the engine, and again at each start. So it is looked at where the
code has returned, and closed there. Trio does not say in public which scopes a task is in, nor how to leave a nursery
without the object that has opened it; both names below have been Trio's for years, and `nox -s trio` runs the tests on
each version that is admitted.
"""

from __future__ import annotations

from trio.lowlevel import Task, current_task


def open_scopes() -> object:
    """Return what stands for the cancel scopes and nurseries that the running task has open: the same, as many."""
    return current_task()._cancel_status


async def close_nurseries(task: Task) -> None:
    """Cancel the nurseries that the running task has left open, and wait for what is in them; their errors get lost."""
    for nursery in reversed(task.child_nurseries):
        nursery.cancel_scope.cancel()
        await nursery._nested_child_finished(None)

"""What code has open in its task: cancel scopes, and nurseries, above all those that it leaves open when it returns.

Trio finds out when the task ends, and makes it an error of the nursery around the task. That is the engine's: one step
that forgets to close an `AsyncExitStack` would end the engine, and again at each start. So it is looked at where the
code has returned, and closed there. Trio does not say in public which scopes a task is in, nor how to leave a nursery
without the object that has opened it; the names below have been Trio's for years, and `nox -s trio` runs the tests on
each version that is admitted.
"""

from __future__ import annotations

from typing import NoReturn

import trio
from trio.lowlevel import Task, current_task


def open_scopes() -> object:
    """Return what stands for the cancel scopes and nurseries that the running task has open: the same, as many."""
    return current_task()._cancel_status


def is_innermost(scope: trio.CancelScope) -> bool:
    """Whether the running task is in no other cancel scope inside of this one, which is open."""
    return current_task()._cancel_status is scope._cancel_status


def leaves_nothing(scope: trio.CancelScope) -> bool:
    """Whether it has no nursery open there either: whoever leaves blocks in the wrong order may have just that."""
    return is_innermost(scope) and not current_task().child_nurseries


async def close_nurseries(task: Task) -> None:
    """Cancel the nurseries that the running task has left open, and wait for what is in them; their errors get lost."""
    for nursery in reversed(task.child_nurseries):
        nursery.cancel_scope.cancel()
        close = nursery._nested_child_finished
        vars(nursery)[close.__name__] = _too_late
        await close(None)


async def _too_late(nested_child_exc: BaseException | None) -> NoReturn:
    """Stand for the end of a nursery's own block, in whatever task somebody comes to it.

    As a rule that is Trio, with an async generator that nobody has closed. It would wait for what is in the nursery,
    and not be woken: only the nursery's own task is.
    """
    raise RuntimeError(
        "this nursery is closed already: whoever has entered it has returned without leaving it"
    ) from nested_child_exc

"""Queries: functions that look at a workflow's state, wherever that is.

A workflow that is in this engine's memory, and has followed its log, has its state there. The function is called at
once, while no turn is under way. The state of any other is made: its log is read and followed by the code, and what
comes of it is thrown away when the function has been called. So it need not run, nor be this engine's, nor be able to
go on.

The function is called in the task of who asks, where nothing durable works. What it returns goes through the codec: the
caller gets a value of its own, and no part of the workflow. It must only look. A state that it has changed is none that
the log explains, and would show as a workflow that does not follow its log, much later and without a trace of who did
it. Where the state can be encoded the change is seen at once, and the workflow's memory is thrown away: it goes on from
its log, as after a crash.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._errors import NothingExposed, UsageError, WorkflowNotFound
from .._flow.arguments import unwrap_partial
from .._flow.sequencer import Sequencer
from .._flow.workflow import Workflow
from .._log.codec import digest_arguments
from .._log.signature import returns_of
from ..abc import Codec
from ..abc import Workflow as WorkflowRow
from .replaying import Replay
from .run import Leaving

if TYPE_CHECKING:
    from .desk import Desk


class Question(NamedTuple):
    """A query's function, and what it is called with."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def answer(self, sequencer: Sequencer, codec: Codec, forget: Callable[[], None]) -> Any:
        """Ask a workflow whose state is in memory.

        Args:
            sequencer: the workflow's.
            codec: turns the result into the caller's own.
            forget: called if the function has changed the state.

        Raises:
            NothingExposed: if it has given nothing to look at.
            EncodingError: if the result cannot be written.
            UsageError: if the function has changed the state.
            Exception: what the function raises.
        """
        exposed = sequencer.exposed
        if exposed is None:
            raise NothingExposed(sequencer.id)
        before = digest_arguments(exposed, {})
        try:
            result = self.function(exposed.state, *self.args, **self.kwargs)
            returns = returns_of(self.function)
            return codec.decode(codec.encode(result, returns), returns)
        finally:
            if digest_arguments(exposed, {}) != before:
                forget()
                raise UsageError(
                    f"query {self.function!r} has changed the state of workflow {sequencer.id!r}, which is then none "
                    "that its log explains: a query only looks. The workflow goes on from its log"
                )


async def ask(desk: Desk, row: WorkflowRow, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Ask a workflow; raises what `Engine.query` does. A checkpoint."""
    question = Question(*unwrap_partial(function, args))
    workflow = _workflow_of(desk, row, question.function)
    run = desk.runs.get(row.key)
    if run is not None and await run.has_state():
        return question.answer(run.sequencer, desk.codec, partial(run.leave, Leaving.SPOILED))
    async with _replayed(desk, row, workflow) as replay:
        return question.answer(replay.sequencer, desk.codec, replay.leave)


def _workflow_of(desk: Desk, row: WorkflowRow, function: Callable[..., Any]) -> Workflow[..., Any]:
    workflow = desk.table.find(row.name)
    if workflow is None or not desk.table.can_run(row.name, row.version):
        version = "" if row.version is None else f" in version {row.version!r}"
        raise UsageError(f"workflow {row.id!r} is a {row.name!r}{version}, which this engine does not have")
    if function not in workflow._queries:
        raise UsageError(
            f"{function!r} is no query of workflow {row.name!r}: decorate it with @{workflow.__name__}.query"
        )
    return workflow


@asynccontextmanager
async def _replayed(desk: Desk, row: WorkflowRow, workflow: Workflow[..., Any]) -> AsyncGenerator[Replay]:
    """Give a workflow that has followed its log, and stands still."""
    rows, replays = await desk.read(row), desk.replays
    assert replays is not None, "only engines are asked, which have the code"
    if not rows:  # deleted since it was found
        raise WorkflowNotFound(row.id)
    replay = Replay(replays, workflow, row, rows)
    replays.start(replay)
    try:
        await replay.followed()
        yield replay
    finally:
        replays.end(replay)

"""A workflow in memory that does nothing but follow its log, so that somebody can look at the state that it comes to.

Its code runs as ever: what happens next comes from the log, and its notes are compared with the log's. But when the log
has been followed it stops, where an engine would go on. What the code has asked for by then (bodies, timers, messages,
children) is asked of this host, who does nothing of it; the notes that it has made beyond the log are dropped. So a
replay needs no right to the workflow: whoever owns it, if anybody does, hears nothing of it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from .._errors import EngineClosed, NurselogError
from .._flow.run import run_workflow
from .._flow.sequencer import Sequencer
from .._flow.workflow import Workflow
from .._log.events import Ended, Result, Row, decode_event
from ..abc import Clock, Codec, WorkflowKey
from ..abc import Workflow as WorkflowRow
from .run import started_of

if TYPE_CHECKING:
    from .runner import Runner


class Replay:
    """A workflow that only follows its log: its `Host`.

    Args:
        replays: the others.
        workflow: its function.
        row: the workflow.
        rows: its log, or as much of it as there is.
    """

    def __init__(self, replays: Replays, workflow: Workflow[..., Any], row: WorkflowRow, rows: Sequence[Row]) -> None:
        runner = replays.runner
        self._replays = replays
        self._workflow = workflow
        self._input = rows[0].value or b""
        self.key: WorkflowKey = row.key
        self.clock: Clock = runner.clock
        self.codec: Codec = runner.codec
        self.limiter: trio.CapacityLimiter = runner.limiter
        self.cores: trio.CapacityLimiter = runner.cores
        self.max_payload: int = runner.max_payload
        seed, followed = started_of(rows).seed, _without_kill(rows)
        self.sequencer: Sequencer = Sequencer(
            host=self, watch=runner.watch, id=row.id, seed=seed, writer=0, rows=followed
        )
        self.sequencer.cursor.lived = True  # whatever its code does was done by the workflow itself, or will be
        self.out: bool = False
        """Whether it has left memory."""
        self.unwanted: bool = False
        """Whether nobody looks at it any more."""
        self._quiet = trio.Event()
        """Set when the log has been followed, or cannot be."""

    def go(self) -> Coroutine[Any, Any, None]:
        """Run it in a task until it leaves memory."""
        return run_workflow(self.sequencer, self._workflow, self._input)

    async def followed(self) -> None:
        """Wait until the code has followed the log, and waits for what is not in it, or has ended.

        Raises:
            NonDeterminismError: if it does not follow the log.
            StuckError: if something recorded cannot be read.
            EngineClosed: if the engine closes first.
        """
        await self._quiet.wait()
        if self.sequencer.problem is not None:
            raise self.sequencer.problem
        if self.sequencer.suspending and self.sequencer.ended is None:
            raise EngineClosed("the engine is closed: the log was not followed to its end")

    def leave(self) -> None:
        """Take it out of memory."""
        self.sequencer.suspend()

    def let_go(self) -> None:
        """Nothing more is heard of its code: the two lead to each other, and circles are the collector's work."""
        self.sequencer.exposed = None
        del self.sequencer

    # -- what the workflow asks for --------------------------------------------------------------

    def goes_on(self) -> bool:
        """It does not."""
        self._quiet.set()
        return False

    def stuck(self, problem: NurselogError) -> None:  # noqa: ARG002 - the sequencer has it
        """It cannot follow its log."""
        self._quiet.set()

    def over(self) -> None:
        """It has left memory."""
        self.out = True
        self._quiet.set()
        self._replays.gone(self)

    def _nothing(self, *_: object) -> None:
        pass

    append: Callable[..., None] = _nothing
    check_name: Callable[..., None] = _nothing
    check_workflow: Callable[..., None] = _nothing
    held_up: Callable[..., None] = _nothing
    hungry: Callable[..., None] = _nothing
    read: Callable[..., None] = _nothing
    scope_entered: Callable[..., None] = _nothing
    scope_left: Callable[..., None] = _nothing

    def _nobody_asks(self, *_: object) -> NoReturn:
        raise AssertionError("nothing of this comes before the log has been followed")  # pragma: no cover - see there

    arm: Callable[..., None] = _nobody_asks
    cancel_child: Callable[..., None] = _nobody_asks
    database: Callable[..., Any] = _nobody_asks
    settled: Callable[..., Any] = _nobody_asks
    elsewhere: Callable[..., Any] = _nobody_asks
    make_orphan: Callable[..., None] = _nobody_asks
    start: Callable[..., None] = _nobody_asks
    waits: Callable[..., None] = _nobody_asks
    submit: Callable[..., Any] = _nobody_asks
    send: Callable[..., Any] = _nobody_asks
    resolve: Callable[..., Any] = _nobody_asks
    reject: Callable[..., Any] = _nobody_asks


class Replays:
    """All workflows of an engine that only follow their logs.

    Args:
        runner: in whose memory they are.
        grace: seconds that code gets to let go.
    """

    def __init__(self, runner: Runner, grace: float) -> None:
        self.runner: Runner = runner
        self._grace = grace
        self._context = contextvars.copy_context()
        """In which they run, as all workflows do: none of it is that of whoever asks."""
        self.all: set[Replay] = set()

    def start(self, replay: Replay) -> None:
        """Take one into memory.

        Raises:
            EngineClosed: if the engine closes.
        """
        if self.runner.closed:
            raise EngineClosed("the engine is closed")
        self.all.add(replay)
        self._context.run(self.runner.nursery.start_soon, replay.go)

    def end(self, replay: Replay) -> None:
        """Take one out of memory, soon."""
        replay.leave()
        replay.unwanted = True
        if replay.out:
            replay.let_go()
        else:
            self._context.run(self.runner.nursery.start_soon, self.runner.see_out, [replay], self._grace)

    def gone(self, replay: Replay) -> None:
        """One has left memory."""
        self.all.discard(replay)
        self.runner.went.set()
        if replay.sequencer.fatal is not None:
            self.runner.crash(replay.sequencer.fatal)
        if replay.unwanted:
            replay.let_go()

    def leave_all(self) -> Sequence[Replay]:
        """Tell all to leave memory; return what is to be seen out."""
        replays = list(self.all)
        for replay in replays:
            replay.leave()
        return replays


def _without_kill(rows: Sequence[Row]) -> Sequence[Row]:
    """Return a log without the end that its code has nothing to do with, if it has one."""
    last = decode_event(rows[-1].event)
    return rows[:-1] if isinstance(last, Ended) and last.result is Result.KILLED else rows

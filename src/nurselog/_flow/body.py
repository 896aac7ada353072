"""The run of one step's body, in a task of its own in the engine's nursery.

The body is no strand: it may wait for whatever it likes, and what it does to scopes, tasks and deadlines stays in its
own task. Cancellation reaches it only through the scope that its task has around it, which the waiting strand's abort
function cancels. The scope is the task's, and serves the bodies that the task runs until one of them is cancelled:
opening and closing one for each body was a twelfth of a short step.

Two things end a body early, and they must not be mixed up. *Cancelled* is the workflow's wish, and its outcome is
recorded, whatever it is. *Abandoned* means that the workflow leaves memory: nothing is recorded, and the step runs
again elsewhere. A sync function in a thread cannot be stopped at all: a cancellation waits for it unless the step says
`abandon_on_cancel`, and an abandonment never waits. One in a process is killed by either.

Trio's cancellation is a state, and asyncio's an event: a function of asyncio's that cleans up would not hear that it is
to hurry. So both of them are told to it each time, beside the scope.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, assert_never, cast

import trio

from .._errors import StepInterrupted, UsageError
from .._log.cursor import History
from .._log.events import Result, StepBegan, StepEnded, StepRetried
from .._log.identity import seeded_random, step_key
from .groups import find_fatal, no_error, split_error
from .leftovers import leaves_nothing
from .strand import place
from .times import to_microseconds
from .transacting import Encoded, find_outcome, transact
from .venue import Venue

if TYPE_CHECKING:
    from .call import Call
    from .step import Step

logger = logging.getLogger("nurselog")

T = TypeVar("T")


class StepTimedOut(trio.TooSlowError):
    """A step or one of its attempts took longer than its timeout.

    Attributes:
        step: the step's name.
        seconds: the timeout.
    """

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(step, seconds)
        self.step: str = step
        self.seconds: float = seconds

    def __str__(self) -> str:
        return f"step {self.step!r} took longer than {self.seconds:g} s"


class SupportsCancel(Protocol):
    """What can be told that it is cancelled."""

    def cancel(self) -> object:
        """Tell it."""
        ...


class Elsewhere(Protocol):
    """Where functions run that need more than a task or a thread: an engine's asyncio loop, its worker processes."""

    async def run(self, body: Body, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step's function for a body, whose own step this is, or a part of it. A checkpoint."""
        ...


class Body:
    """One step's body on its way to an outcome."""

    __slots__ = (
        "_abandoned",
        "_elsewhere",
        "_held",
        "_history",
        "_noted",
        "_scope",
        "_seen",
        "_thread",
        "aside",
        "attempt",
        "began_at",
        "begun",
        "call",
        "clean",
        "ended",
        "left",
        "recorded",
    )

    def __init__(self, call: Call, history: History) -> None:
        self.call: Call = call
        self._history = history
        self._scope: trio.CancelScope | None = None
        """Around all that its task does, while the body runs."""
        self._thread: trio.CancelScope | None = None
        """Around a thread that is waited for even if the step is cancelled."""
        self._held: trio.CancelScope | None = None
        """Around something else that is."""
        self._elsewhere: Elsewhere
        """Where its function runs, if that is neither here nor in a thread."""
        self.aside: set[SupportsCancel] = set()
        """What runs for it in another loop, and hears of a cancellation only once each time."""
        self.left: list[str] = []
        """What the function has left running in another loop when it returned, for people."""
        self.recorded: tuple[Exception, bytes] | None = None
        """An error that came from another process as the log will have it, with its traceback."""
        self._abandoned = False
        self._noted = False
        """Whether the log says that it has begun."""
        self._seen = False
        """Whether there was a look at it."""
        self.attempt: int = history.attempts + 1
        self.began_at: int = call.sequencer.host.clock.utc()
        self.begun: bool = history.begun
        """Whether the function has been entered, in this life or one before."""
        self.ended: bool = False
        self.clean: bool = False
        """Whether the function has returned, and left nothing in its task: no scope or nursery, no cancellation."""

    # -- what the workflow does to it ------------------------------------------------------------

    def cancel(self) -> None:
        """The step's scope was cancelled."""
        if self._scope is not None:
            self._scope.cancel(self.call.why.reason)
        for one in self.aside:
            one.cancel()

    def abandon(self) -> None:
        """The workflow leaves memory."""
        self._abandoned = True
        self.cancel()
        for waited in (self._thread, self._held):
            if waited is not None:
                waited.cancel()
        if not self.ended and self._thread is not None:
            logger.warning(
                "workflow %r leaves memory while step %r (path %s) runs in a thread: the thread goes on, and its "
                "outcome will not be recorded", self.call.sequencer.id, self.call.step.name, self.call.path
            )  # fmt: skip

    def look(self) -> bool:
        """Log that it has begun, if it was there at the look before; return whether to look again."""
        if self._noted or self.ended:  # the task may still be busy with what it has left open
            return False
        if not self._seen:
            self._seen = True
            return True
        self._noted = True
        call = self.call
        call.sequencer.log.append(StepBegan(path=call.path, name=call.step.name, attempt=self.attempt))
        return False

    # -- its course ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self, scope: trio.CancelScope) -> None:
        """Run the function until it has an outcome, and log that.

        Args:
            scope: open around all that the task does; it has not been cancelled yet.
        """
        place.set(self)
        call, sequencer = self.call, self.call.sequencer
        self._scope = scope
        if call.told or self._abandoned:
            scope.cancel(call.why.reason)
        try:
            result, value = await self._outcome(scope)
            self.clean &= result is Result.VALUE and not (call.told or self._abandoned)
        except BaseException as exc:  # noqa: BLE001 - handed to the engine
            sequencer.fail(exc)
            return
        finally:
            self.ended = True
            self._scope = None  # from here on it is another body's
            place.set(None)  # else this, its call and their context would be a circle
            self.recorded = None  # the error's traceback leads here
        if self._abandoned:
            return
        sequencer.log.append(
            StepEnded(
                path=call.path,
                name=call.step.name,
                result=result,
                attempts=self.attempt,
                began_at=self.began_at,
                begun=self.begun,
                digest=call.digest,
                scope=call.why.scope if result is Result.CANCELLED else None,
                reason=call.why.reason if result is Result.CANCELLED else None,
            ),
            value,
        )

    async def _outcome(self, scope: trio.CancelScope) -> tuple[Result, bytes | None]:
        """Classify through groups: only `Cancelled` inside is a cancellation; any other error inside is the error."""
        step = self.call.step
        try:
            if self.call.may_be_done and (found := await find_outcome(self)) is not None:
                self.begun = True
                return Result.VALUE, found
            if step.venue.is_elsewhere and step._stand_in is None:
                self._elsewhere = await self._provided(step.venue)
            bare = step.timeout is None and not step.at_most_once
            value = await (self._attempts(scope) if bare else self._guarded(scope))
            self.clean = leaves_nothing(scope)
            if isinstance(value, Encoded):
                return Result.VALUE, value
            return Result.VALUE, self.encode(value, tidy=self.clean)
        except BaseException as exc:
            if find_fatal(exc):
                raise
            error = split_error(exc)[0]
            if error is None and scope.cancel_called:
                return Result.CANCELLED, None
            try:
                return Result.ERROR, self._error_bytes(error or no_error(step._what, exc))
            finally:
                del error  # its traceback leads here: circles are the collector's work

    def encode(self, value: object, *, tidy: bool) -> bytes:
        """Return the bytes of what the function has returned.

        Args:
            value: that.
            tidy: whether it has left no cancel scope or nursery open.

        Raises:
            UsageError: if it has, or tasks of asyncio's.
            DataError: if the value cannot be written, or is too large.
        """
        sequencer, step = self.call.sequencer, self.call.step
        if not tidy:
            raise UsageError(f"{step._what} has returned with a cancel scope or nursery left open")
        if self.left:
            raise UsageError(
                f"{step._what} has returned and left asyncio tasks behind, which were cancelled: "
                f"{', '.join(self.left)}. Await them before; asyncio.TaskGroup does. What is to outlive a step belongs "
                "to the application"
            )
        encoded = sequencer.host.codec.encode(value, step.returns)
        return sequencer.log.limited(f"the result of {step._what}", encoded)

    async def _provided(self, venue: Venue) -> Elsewhere:
        """Return where its function runs; before anything says that it has begun."""
        try:
            return await self.call.sequencer.host.elsewhere(venue)
        except UsageError as exc:  # nothing is lost: who installs the library may resume it
            self.call.sequencer.stuck(exc)
            return await _left()

    def _error_bytes(self, error: Exception) -> bytes:
        if self.recorded is not None and self.recorded[0] is error:
            return self.recorded[1]
        return self.call.sequencer.log.error_bytes(f"the error of {self.call.step._what}", error)

    async def _guarded(self, scope: trio.CancelScope) -> Any:
        step = self.call.step
        if step.at_most_once:
            await self._begin_once()
        if step.timeout is None:
            return await self._attempts(scope)
        began = self._history.began_at
        spent = 0.0 if began is None else max(0, self.began_at - began) / 1e6
        with trio.move_on_after(max(0.0, step.timeout - spent)):
            return await self._attempts(scope)
        raise StepTimedOut(step.name, step.timeout)

    async def _begin_once(self) -> None:
        """Make sure that a later life will know that the body had begun."""
        sequencer = self.call.sequencer
        if self._history.began_at is not None:
            raise StepInterrupted(self.call.step.name, self.call.path)
        self._noted = True
        row = sequencer.log.append(StepBegan(path=self.call.path, name=self.call.step.name))
        if row is None:
            await trio.sleep_forever()  # abandoned: never go on without the row
        else:
            await sequencer.log.written(row)

    async def _attempts(self, scope: trio.CancelScope) -> Any:
        step, sequencer = self.call.step, self.call.sequencer
        clock = sequencer.host.clock
        if self._history.due:
            await clock.sleep_until(self._history.due)
        while True:
            try:
                await self._may_begin()
                await trio.lowlevel.checkpoint_if_cancelled()
                self.begun = True
                return await (self._call() if step.attempt_timeout is None else self._call_within(step.attempt_timeout))
            except Exception as exc:
                self.left.clear()
                if scope.cancel_called or self.attempt >= step.retry.attempts or not step.retry.wants(exc):
                    raise
                due = clock.utc() + self._delay()
                sequencer.log.append(
                    StepRetried(path=self.call.path, name=step.name, attempt=self.attempt, due=due),
                    self._error_bytes(exc),
                )
            await clock.sleep_until(due)
            self.attempt += 1

    async def _may_begin(self) -> None:
        """Wait while others may have recorded the step. If it may run once only, its row has passed the fence."""
        if not self.call.step.at_most_once:
            await self.call.sequencer.host.settled()

    def _delay(self) -> int:
        """How long to wait after this attempt, microseconds; the same in every life."""
        random = seeded_random(self.call.sequencer.seed, self.call.operation.path)
        draws = [random.random() for _ in range(self.attempt)]
        return to_microseconds(self.call.step.retry.delay_after(self.attempt, draws[-1]))

    async def _call_within(self, seconds: float) -> Any:
        with trio.move_on_after(seconds):
            return await self._call()
        raise StepTimedOut(self.call.step.name, seconds)

    def _call(self) -> Awaitable[Any]:
        call, step = self.call, self.call.step
        if step._stand_in is not None:
            return unprotected(step._stand_in, *call.args, **call.kwargs)
        if step.transaction is not None:
            return transact(self, partial(unprotected, step.fn) if step.is_async else step.fn)
        match step.venue:
            case Venue.TASK:
                return unprotected(step.fn, *call.args, **call.kwargs)
            case Venue.THREAD:
                return self._sync()
            case Venue.ASYNCIO | Venue.PROCESS:
                return self._elsewhere.run(self, step, call.args, call.kwargs)
            case _:
                assert_never(step.venue)

    async def in_thread(self, fn: Callable[[], T]) -> T:
        """Run a function in a worker thread.

        A checkpoint. Cancelling it waits for the thread, unless the step says `abandon_on_cancel`, or the workflow
        leaves memory: then the thread goes on by itself.
        """
        call = self.call
        try:
            with trio.CancelScope() as self._thread:
                shielded = None if call.step.abandon_on_cancel else self._thread
                return await trio.to_thread.run_sync(
                    fn,
                    thread_name=f"step {call.step.name}",
                    abandon_on_cancel=True,
                    limiter=cast("trio.CapacityLimiter", _Admission(self, shielded)),
                )
        finally:
            self._thread = None
        return await _left()

    async def hold(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that a cancellation waits for, unless the workflow leaves memory. A checkpoint."""
        with trio.CancelScope(shield=not self._abandoned) as self._held:
            return await call()
        return await _left()

    async def _sync(self) -> Any:
        call = self.call
        value: Any = await self.in_thread(partial(call.step.fn, *call.args, **call.kwargs))
        if inspect.isawaitable(value):
            raise UsageError(f"{call.step._what} is no async function, but it returned something to be awaited")
        return value

    # -- where am I ------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The step's idempotency key."""
        return step_key(self.call.sequencer.id, self.call.operation.path)


class _Admission:
    """A limiter for one thread that shields it from cancellation once it is let in, and not before."""

    def __init__(self, body: Body, shielded: trio.CancelScope | None) -> None:
        self._body, self._shielded = body, shielded
        self._limiter = body.call.sequencer.host.limiter

    async def acquire_on_behalf_of(self, borrower: Any) -> None:
        """Wait for room; after such a wait somebody may have taken the workflow over."""
        await self._limiter.acquire_on_behalf_of(borrower)
        try:
            await self._body._may_begin()
        except BaseException:
            self._limiter.release_on_behalf_of(borrower)
            raise
        if self._shielded is not None:
            self._shielded.shield = True

    def release_on_behalf_of(self, borrower: Any) -> None:
        """Make room: the thread has ended."""
        self._limiter.release_on_behalf_of(borrower)


async def _left() -> NoReturn:
    """Go no further: the workflow has left memory, and the task is cancelled as a whole."""
    await trio.sleep_forever()
    raise AssertionError  # pragma: no cover - it is cancelled


@trio.lowlevel.disable_ki_protection
async def unprotected(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a body such that Control-C interrupts it: around it is the engine's code, which must not be."""
    return await fn(*args, **kwargs)

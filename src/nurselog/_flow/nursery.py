"""The durable nursery: a Trio nursery whose children have places in the log, and handles.

A branch is a Trio task, as always. A step that is a child of a nursery needs none, and neither does a workflow of its
own: all such children of one nursery share one task (see `steward`).

Whose is an error? While the nursery's body runs, a child's failure belongs to its handle: the body may be about to ask
for it. Once the body has ended, to the nursery: a failure that nobody has claimed cancels the scope and is raised, as
Trio would have done at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, TypeVarTuple, cast, final

import trio

from .._errors import UsageError
from .._log.events import Cause
from .arguments import unwrap_partial
from .current import arrive, own_strand
from .groups import members_of, split_error
from .guards import check_deadline, check_fatal
from .handle import Handle, unclaimed_error
from .outcomes import Failed, Outcome, Succeeded, WasCancelled
from .scope import CancelScope, culprit, rebased
from .sequencer import Sequencer
from .step import Step
from .steward import ChildCall, ChildWorkflow, Steward, Ward, cancel_ward
from .strand import Operation, Strand, place
from .swept import Swept
from .workflow import Workflow

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_MESSAGE = "Exceptions from nurselog nursery"


@final
class Nursery:
    """Runs children that are bound to its scope, each with a place in the log.

    Not constructed directly: `async with open_nursery() as nursery`.
    """

    def __init__(self, strand: Strand, operation: Operation, inner: trio.Nursery) -> None:
        self._sequencer: Sequencer = strand.sequencer
        self._operation = operation
        self._inner = inner
        self._steward: Steward | None = None
        self._over = False
        """Whether the body has ended."""
        self._failed: Swept[Handle[Any]] = Swept(_is_claimed)
        """Children that have failed, unless somebody is known to have claimed that."""
        self.cancel_scope: CancelScope = CancelScope._around("nursery", strand, operation, inner.cancel_scope)
        """The nursery's durable scope: `cancel_scope.cancel(reason)` is in the log."""

    def go(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, name: str | None = None) -> Handle[T]:
        """Start a child and return its handle.

        Args:
            fn: a step; a workflow, which then is a child workflow; or an async function, which then is a branch:
                workflow code of its own.
            args: its positional arguments; for keywords use `functools.partial`.
            name: a name for people, in the handle and in Trio's task.

        A child workflow has a log of its own, may run in another process, and has the id of this one, a slash and the
        handle's path. It is cancelled with the nursery's scope, which waits for its cleanup.

        Not a checkpoint.

        Raises:
            EncodingError: if an argument of a child workflow cannot be encoded.
            PayloadTooLargeError: if the arguments of one are larger than the limit.
            RegistrationError: if another function has the name of the step or the workflow.
        """
        strand = own_strand("Nursery.go", self._sequencer)
        target, args_, kwargs = unwrap_partial(fn, args)
        operation = strand.operation()
        if isinstance(target, Step):
            step = cast("Step[..., Any]", target)
            return self._go_step(operation, step, args_, kwargs, name or step.name)
        if isinstance(target, Workflow):
            workflow = cast("Workflow[..., Any]", target)
            return self._go_workflow(operation, workflow, args_, kwargs, name or workflow.name)
        return self._go_branch(strand, operation, fn, args, name or str(getattr(target, "__qualname__", target)))

    def start_soon(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None) -> None:
        """Start a child without a handle, as `trio.Nursery.start_soon`: its failure fails the nursery at once.

        Args:
            async_fn: an async function or a step.
            args: its positional arguments.
            name: a name for people.

        Not a checkpoint.
        """
        strand = own_strand("Nursery.start_soon", self._sequencer)
        self._spawn(strand.operation(), partial(self._run_plain, async_fn, *args), name or async_fn)

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Start a child and wait until it calls `task_status.started()`, as `trio.Nursery.start`.

        Args:
            async_fn: an async function that takes `task_status`.
            args: its positional arguments.
            name: a name for people.

        A checkpoint. A cancellation before `started()` cancels the child.

        Raises:
            UsageError: if it is a workflow: those have nothing to say before their end.
        """
        strand = await arrive("Nursery.start", self._sequencer)
        target = unwrap_partial(async_fn, ())[0]
        if isinstance(target, Workflow):
            raise UsageError(
                f"Nursery.start waits until its child says that it has started, and workflow {target.name!r} says "
                "nothing before its end: use nursery.go()"
            )
        self._sequencer.adopting = strand.operation().path
        try:
            return await self._inner.start(partial(self._run_started, async_fn), *args, name=name or async_fn)
        finally:
            self._sequencer.adopting = None

    # -- children --------------------------------------------------------------------------------

    def _spawn(self, operation: Operation, fn: Callable[[], Awaitable[object]], name: object) -> None:
        self._sequencer.adopting = operation.path
        try:
            self._inner.start_soon(fn, name=name)
        finally:
            self._sequencer.adopting = None

    async def _run_plain(self, async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
        self._enter_scope()
        try:
            await async_fn(*args)
        except BaseException as exc:
            error = split_error(exc)[0]
            if error is not None:
                self._fail(error)
            raise

    async def _run_started(
        self, async_fn: Callable[..., Awaitable[object]], *args: object, task_status: trio.TaskStatus[Any]
    ) -> None:
        """Run a child of `start`: until it has said so, it belongs to the caller's scope, and so does its failure."""
        strand = _own_strand()
        status = _Status(task_status, strand, self)
        try:
            await async_fn(*args, task_status=status)
        except BaseException as exc:
            error = split_error(exc)[0]
            if error is not None and status.moved:
                self._fail(error)
            raise

    def _enter_scope(self) -> None:
        _own_strand().scope = self.cancel_scope

    def _go_branch(
        self, strand: Strand, operation: Operation, fn: Callable[..., Awaitable[T]], args: tuple[Any, ...], name: str
    ) -> Handle[T]:
        scope = CancelScope._around(f"branch {name}", strand, operation)
        handle: Handle[T] = Handle(self._sequencer, operation, name, partial(scope.cancel_by, Cause.EXPLICIT))
        self._spawn(operation, partial(self._run_branch, handle, scope, fn, args), name)
        return handle

    async def _run_branch(
        self, handle: Handle[T], scope: CancelScope, fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        self._enter_scope()
        outcome: Outcome[T] = WasCancelled(None, handle.path)
        cancelled: BaseException | None = None
        try:
            with scope:
                outcome = Succeeded(await fn(*args))
            if scope.cancelled_caught:
                outcome = WasCancelled(scope.reason, handle.path)
        except BaseException as exc:
            error, cancelled = split_error(exc)
            if error is None and not isinstance(exc, (trio.Cancelled, BaseExceptionGroup)):
                raise  # a suspension, or something that no workflow may handle
            found = culprit(self.cancel_scope)
            outcome = Failed(error) if error else WasCancelled(found.reason if found else None, handle.path)
        self._settle(handle, outcome)
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled  # its traceback leads here

    def _go_step(
        self, operation: Operation, step: Step[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], name: str
    ) -> Handle[T]:
        self._sequencer.host.check_name(step.name, step.function)
        call = ChildCall(self._sequencer, operation, step, args, kwargs)
        handle = self._take_on(call, name)
        self._sequencer.add_call(call)
        return handle

    def _go_workflow(
        self,
        operation: Operation,
        workflow: Workflow[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str,
    ) -> Handle[T]:
        child = ChildWorkflow(self._sequencer, operation, workflow, args, kwargs)
        handle = self._take_on(child, name)
        child.start()
        return handle

    def _take_on(self, ward: Ward, name: str) -> Handle[Any]:
        """Give a child that has no task here to the steward; return its handle."""
        handle: Handle[Any] = Handle(self._sequencer, ward.operation, name, partial(cancel_ward, ward))
        ward.nursery, ward.handle = self, handle
        if self._steward is None:
            steward = Steward(self)
            self._spawn(self._operation, steward.run, f"steward of {self._operation.text}")
            self._steward = steward
        self._steward.add(ward)
        return handle

    # -- errors ----------------------------------------------------------------------------------

    def _settle(self, handle: Handle[T], outcome: Outcome[T]) -> None:
        handle._settle(outcome)
        if isinstance(outcome, Failed):
            self._failed.add(handle)
            if self._over and unclaimed_error(handle) is not None:
                self._fail(outcome.error)

    def _fail(self, error: BaseException) -> None:
        """Cancel the scope, as Trio does when a child fails; ours says so in the log."""
        if not self._sequencer.suspending:
            self.cancel_scope.cancel_by(Cause.FAILURE, type(error).__qualname__)

    def _end_body(self, exc: BaseException | None) -> None:
        """The body has ended: what it has not claimed belongs to the nursery from now on."""
        self._over = True
        error = split_error(exc)[0] if exc is not None else None
        if error is not None:
            self._fail(error)
        for handle in self._failed.items:
            if (unclaimed := unclaimed_error(handle)) is not None:
                self._fail(unclaimed)

    def _unclaimed(self) -> list[Exception]:
        return [error for handle in self._failed.items if (error := unclaimed_error(handle)) is not None]


class open_nursery:  # noqa: N801 - Trio's name
    """Open a durable nursery.

    Leaving the block waits for all children. It is a checkpoint, and cancellable only through the children, as in Trio.

    Raises (on leaving):
        BaseExceptionGroup: with what the body raised, what children started with `start_soon` raised, and the failures
            of `go` that nobody has claimed.
    """

    _nursery: Nursery

    async def __aenter__(self) -> Nursery:
        strand = self._strand = await arrive("open_nursery")
        check_deadline(strand)
        operation = strand.operation()
        # strict whatever the host wants: its wish is not in the log, and the code must see the same in each process
        self._manager = trio.open_nursery(strict_exception_groups=True)
        inner = await self._manager.__aenter__()
        nursery = self._nursery = Nursery(strand, operation, inner)
        nursery.cancel_scope._enter()
        return nursery

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        if exc is not None:
            check_fatal(self._strand, exc)
        try:
            if not nursery._sequencer.suspending:
                nursery._end_body(exc)
        finally:
            swallow = await self._leave(exc_type, exc, traceback)
        return swallow

    async def _leave(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        try:
            swallow = bool(await self._manager.__aexit__(exc_type, exc, traceback))
        except BaseExceptionGroup as raised:
            errors = nursery._unclaimed()
            if not errors or nursery._sequencer.suspending:
                raise
            raise BaseExceptionGroup(_MESSAGE, [*members_of(raised), *errors]) from None
        finally:
            nursery.cancel_scope._leave()
        errors = nursery._unclaimed()
        if errors:
            raise ExceptionGroup(_MESSAGE, errors)
        return swallow


class _Status:
    """A `task_status` that knows whether its child has been moved from the call of `start` into the nursery."""

    def __init__(self, inner: trio.TaskStatus[Any], strand: Strand, nursery: Nursery) -> None:
        self._inner = inner
        self._strand, self._around, self._nursery = strand, strand.scope, nursery
        self.moved = False

    def started(self, value: object = None) -> None:
        """Tell whoever waits in `start` to go on, and have the child belong to its nursery from now on.

        Trio leaves it where it is if the call of `start` is cancelled already. Else it moves the child's cancel scopes,
        and so do we: ours are where the log's reasons are found.
        """
        strand, nursery = self._strand, self._nursery
        own_strand("task_status.started", nursery._sequencer)
        self._inner.started(value)
        if strand.task.parent_nursery is nursery._inner:
            strand.scope = rebased(strand.scope, self._around, nursery.cancel_scope)
            self.moved = True


def _own_strand() -> Strand:
    """Return the strand of a child, in its own task."""
    strand = place.get()
    assert isinstance(strand, Strand)
    return strand


def _is_claimed(handle: Handle[Any]) -> bool:
    return unclaimed_error(handle) is None

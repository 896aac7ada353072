"""`@step`: one effect on the outside world, recorded once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property, partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, final, overload

import msgspec

from .._errors import MisplacedCallError, NurselogError, OutsideWorkflowError, RegistrationError, Suspended
from .._log.signature import returns_of
from ..abc import Codec
from .arguments import PERIOD, digests_of
from .call import AwaitedCall, check_step, outcome_of
from .current import arrive, current_strand, leave
from .names import check_readable, recorded_name
from .retry import ONCE, Retry
from .sequencer import Sequencer
from .strand import Operation, Strand, place
from .transacting import Terms
from .trouble import Unawaited
from .unrecorded import unrecorded
from .venue import Venue, unwrapped, venue_of
from .workflow import Workflow

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")


stand_ins: dict[object, Callable[..., Awaitable[Any]]] = {}
"""What runs in tests instead of a step's `function`; None stands for all others."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a step was decorated with."""

    name: str
    retry: Retry = ONCE
    timeout: float | None = None
    attempt_timeout: float | None = None
    at_most_once: bool = False
    abandon_on_cancel: bool = False
    check_arguments: bool = True
    venue: Venue
    transaction: Terms | None = None
    """For a transaction: where it runs, and how."""

    def __post_init__(self) -> None:
        if not isinstance(self.retry, Retry):
            raise RegistrationError(f"step {self.name!r}: retry must be a nurselog.Retry, not {self.retry!r}")
        for name in ("timeout", "attempt_timeout"):
            if (seconds := getattr(self, name)) is not None:
                PERIOD.check(f"step {self.name!r}: {name}", seconds, RegistrationError)
        if self.at_most_once and self.retry.attempts != 1:
            raise RegistrationError(f"step {self.name!r}: at_most_once and several attempts exclude each other")


@final
class Step(Generic[P, T_co]):
    """A function whose outcome is recorded when a workflow calls it.

    Not constructed directly: `@step` makes it. Calling it in a workflow runs it durably; outside of workflows an async
    one runs its function and a sync one runs it in a worker thread, unrecorded; inside a step it is part of that step.
    """

    def __init__(self, fn: Callable[..., Any], options: Options) -> None:
        self._fn = fn
        self._options = options
        self._codec: Codec | None = None
        """What its result was found to be readable by."""
        self._what: str = f"step {options.name!r}"
        """What it is called in messages: put together once, not at each call."""
        self.venue: Venue = options.venue
        self.is_async: bool = options.venue.is_async
        """Whether the function is an async one."""
        self.name: str = options.name
        """The name in the log."""
        self.retry: Retry = options.retry
        self.timeout: float | None = options.timeout
        self.attempt_timeout: float | None = options.attempt_timeout
        self.at_most_once: bool = options.at_most_once
        self.abandon_on_cancel: bool = options.abandon_on_cancel
        self.check_arguments: bool = options.check_arguments
        self.transaction: Terms | None = options.transaction
        if not isinstance(fn, partial):
            update_wrapper(self, fn, updated=())

    @property
    def fn(self) -> Callable[P, Any]:
        """The plain function."""
        return self._fn

    @cached_property
    def function(self) -> object:
        """What identifies the step: the function itself, without what is bound to it."""
        return getattr(unwrapped(self._fn), "__func__", unwrapped(self._fn))

    @property
    def _stand_in(self) -> Callable[..., Awaitable[Any]] | None:
        """What runs instead of the function; None: nothing does."""
        return (stand_ins.get(self.function) or stand_ins.get(None)) if stand_ins else None

    @cached_property
    def returns(self) -> Any:
        """The annotation of what it returns; Any if there is none."""
        return returns_of(self._fn)

    def _check_result(self, codec: Codec) -> None:
        """See that its result can be read back; the first call asks, since after the effect it would be too late."""
        check_readable(f"{self._what}, its result", self.returns, codec)
        self._codec = codec

    def _digests(self, args: tuple[Any, ...], kwargs: dict[str, Any], sequencer: Sequencer) -> tuple[str | None, ...]:
        """Return the digests that a recorded call may have that is this one."""
        return digests_of(args, kwargs, sequencer.id, sequencer.cursor.sources) if self.check_arguments else (None,)

    def using(
        self, *, retry: Retry | None = None, timeout: float | None = None, name: str | None = None
    ) -> Step[P, T_co]:
        """Return a variant of this step for one call site.

        Args:
            retry: another retry policy.
            timeout: another timeout for the whole step, seconds.
            name: another name in the log.

        Raises:
            RegistrationError: as `step`.
        """
        if name is not None:
            name = recorded_name(self._fn, name, "step")
        changes = {"retry": retry, "timeout": timeout, "name": name}
        given = {key: value for key, value in changes.items() if value is not None}
        return Step(self._fn, msgspec.structs.replace(self._options, **given))

    # -- calling ---------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        """Run the step. Its place in the workflow is taken here, when it is called, not when it is awaited."""
        here = place.get()
        if not isinstance(here, Strand):
            return self._plain(args, kwargs)
        if here.sequencer.suspending:
            return leave(self._what)
        strand = current_strand(self._what)
        operation = strand.operation()
        coroutine = self._durable(strand, operation, args, kwargs)
        caller = sys._getframe(1)
        strand.sequencer.unawaited[operation.text] = Unawaited(
            "step", self.name, caller.f_code, caller.f_lineno, coroutine
        )
        return coroutine

    async def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> T_co:
        value: T_co
        if stand_in := self._stand_in:
            value = await stand_in(*args, **kwargs)
        elif self.transaction is not None:
            raise _out_of_place(self.name)
        else:
            value = await unrecorded(self, args, kwargs)
        return value

    async def _durable(
        self, caller: Strand, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T_co:
        caller.sequencer.unawaited.pop(operation.text, None)
        strand = caller
        if place.get() is not caller or caller.sequencer.suspending:  # else it is awaited where it was called
            strand = await arrive(self._what, caller.sequencer)
        sequencer = strand.sequencer
        sequencer.host.check_name(self.name, self.function)
        recorded = sequencer.replayed(operation.text)
        if recorded is None:
            call = AwaitedCall(sequencer, operation, self, args, kwargs)
            answer: T_co = await call.wait(strand)
            return answer
        event, value = recorded
        try:
            check_step(sequencer, self, operation.text, self._digests(args, kwargs, sequencer), event)
            result = outcome_of(sequencer, self, event, value)
        except NurselogError as exc:
            sequencer.stuck(exc)
            raise Suspended from None
        returned: T_co = result.unwrap()
        return returned

    # -- methods ---------------------------------------------------------------------------------

    @overload
    def __get__(self, instance: None, owner: type) -> Step[P, T_co]: ...
    @overload
    def __get__(
        self: Step[Concatenate[S, P_bound], T_co], instance: S, owner: type | None = None
    ) -> Step[P_bound, T_co]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Step[..., Any]:
        """Bind a step that is a method; the object it is bound to is not recorded."""
        if instance is None or self.transaction is not None:  # what it is given first is its connection
            return self
        return Step(self._fn.__get__(instance, owner), self._options)

    def __repr__(self) -> str:
        return f"<nurselog.Step {self.name}>"


P_bound = ParamSpec("P_bound")


_NO_STEPS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda fn: isinstance(fn, Step), "is a step already; use .using() for a variant"),
    (lambda fn: isinstance(fn, Workflow), "is a workflow: an engine runs it; make its plain function (.fn) a step"),
    (lambda fn: isinstance(fn, type), "is a class: write a function that makes one, and annotate what it returns"),
    (inspect.isgeneratorfunction, "is a generator function, and a step returns one value"),
    (inspect.isasyncgenfunction, "is a generator function, and a step returns one value"),
    (lambda fn: not callable(fn), "is none: @step needs a function"),
)
"""What cannot be a step, and why."""


class StepDecorator(Protocol):
    """What `step(...)` with options returns."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Step[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T]: ...


@overload
def step(fn: Callable[P, Awaitable[T]], /) -> Step[P, T]: ...
@overload
def step(fn: Callable[P, T], /) -> Step[P, T]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout: float | None = None,
    attempt_timeout: float | None = None,
    at_most_once: bool = False,
    abandon_on_cancel: bool = False,
    check_arguments: bool = True,
    asyncio: bool = False,
    process: bool = False,
) -> StepDecorator: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry = ONCE,
    timeout: float | None = None,
    attempt_timeout: float | None = None,
    at_most_once: bool = False,
    abandon_on_cancel: bool = False,
    check_arguments: bool = True,
    asyncio: bool = False,
    process: bool = False,
) -> Any:
    """Make a function a step: one effect on the outside world, whose outcome is recorded once.

    Works as a decorator, with options or without, and on functions of others: `step(fetch)`.

    Args:
        fn: an async function, or a sync one, which runs in a worker thread.
        name: its name in the log; by default the function's qualified name.
        retry: when a failed attempt is repeated; by default never.
        timeout: seconds for the whole step, all attempts and waits included.
        attempt_timeout: seconds for each attempt.
        at_most_once: never run it twice: if its process dies in the middle, StepInterrupted is raised instead.
        abandon_on_cancel: for a sync function: whether a cancellation or a timeout leaves the thread behind, as in
            `trio.to_thread.run_sync`, or waits for it.
        check_arguments: whether a replay checks that it is called with the arguments that the log has.
        asyncio: for an async function: whether it is written for asyncio, and runs in the engine's asyncio loop.
        process: for a sync function at the top of a module: whether it runs in a worker process, which a cancellation
            or a timeout kills. Arguments and results are pickled.

    Raises:
        RegistrationError: if the function has no name to be recorded by (a lambda, a partial or a nested function
            without `name=`), or the options contradict each other.

    When called in a workflow, the step raises the function's own error, `StepTimedOut`, `StepInterrupted`, or
    `StepFailed` for an error that the log cannot rebuild. It is a checkpoint; when it is cancelled the function is
    cancelled at its own next checkpoint, and what it does then (return, raise, be cancelled) is the outcome.
    """

    def decorate(fn: Callable[..., Any]) -> Step[..., Any]:
        return make_step(
            fn,
            "step",
            name,
            retry=retry,
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            at_most_once=at_most_once,
            abandon_on_cancel=abandon_on_cancel,
            check_arguments=check_arguments,
            asyncio=asyncio,
            process=process,
        )

    return decorate if fn is None else decorate(fn)


def make_step(
    fn: Callable[..., Any],
    kind: str,
    name: str | None,
    *,
    asyncio: bool = False,
    process: bool = False,
    **options: Any,
) -> Step[..., Any]:
    """Make a function a step.

    Args:
        fn: the function.
        kind: what the decorator is called.
        name: its name in the log; None: its own.
        asyncio: whether it is written for asyncio.
        process: whether it runs in a worker process.
        options: the other fields of `Options`.

    Raises:
        RegistrationError: if it cannot be one.
    """
    plain = unwrapped(fn)
    for applies, why in _NO_STEPS:
        if applies(plain):
            raise RegistrationError(f"{plain!r} {why}")
    name = recorded_name(fn, name, kind)
    venue = venue_of(
        fn, name, asyncio=asyncio, process=process, abandon_on_cancel=options.get("abandon_on_cancel", False)
    )
    return Step(fn, Options(name=name, venue=venue, **options))


def _out_of_place(name: str) -> NurselogError:
    if place.get() is None:
        return OutsideWorkflowError(
            f"transaction {name!r} works inside a workflow only, whose log makes sure that it is done once. To run its "
            "function by itself, give that a connection: keep the plain function, and decorate it by transaction(fn)"
        )
    return MisplacedCallError(
        f"transaction {name!r} was called inside a step, which may run twice: call it in the workflow around it"
    )

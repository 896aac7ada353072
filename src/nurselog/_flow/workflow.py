"""`@workflow`: an async function whose progress is recorded."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, final, overload

import trio

from .._errors import OutsideWorkflowError, RegistrationError
from .._log.signature import Signature, signature_of
from .arguments import unwrap_partial
from .children import AwaitedChild
from .current import arrive, current_strand, leave
from .names import is_async, recorded_name, text_or_none
from .strand import Operation, Strand, place
from .trouble import Unawaited

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Query = TypeVar("Query", bound=Callable[..., Any])

registry: dict[tuple[str, str, str], Workflow[..., Any]] = {}
"""All workflows that have been decorated: by module, qualified name and recorded name; the last definition counts."""


@final
class Workflow(Generic[P, T_co]):
    """An async function that an engine runs durably.

    Not constructed directly: `@workflow` makes it. Run it with `engine.run` or `engine.submit`.
    """

    def __init__(self, fn: Callable[P, Awaitable[T_co]], name: str, version: str | None) -> None:
        self.fn: Callable[P, Awaitable[T_co]] = fn
        """The plain function."""
        self.name: str = name
        """The name in the log."""
        self.version: str | None = version
        """The version in the log; None if none was given."""
        self.__name__: Any | str = getattr(fn, "__name__", name)
        self.__qualname__ = getattr(fn, "__qualname__", name)
        self.__doc__ = fn.__doc__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn
        self._queries: list[Callable[..., Any]] = []

    @cached_property
    def signature(self) -> Signature:
        """Its parameters and its result, as annotated.

        Raises:
            RegistrationError: if an annotation names what is not there when the program runs.
        """
        return signature_of(self.fn)

    @property
    def returns(self) -> Any:
        """The annotation of what it returns; Any if there is none."""
        return self.signature.returns

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        """Run it as a child of the workflow that calls it, and return its result.

        The child has a log of its own, and may run in another process. Its place in the workflow is taken here, when it
        is called, not when it is awaited. A checkpoint; when it is cancelled the child is, and what it does then
        (return, raise, be cancelled) is the outcome.

        Raises:
            ChildCancelled: if somebody outside has cancelled the child.
            WorkflowKilled: if somebody has killed it.
            Exception: the child's own error; StepFailed, if the log cannot rebuild it.
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if its input is larger than the limit.
            RegistrationError: if another function has its name.
            OutsideWorkflowError: where no workflow runs: an engine must run it.
            MisplacedCallError: inside a step.
        """
        here = place.get()
        if isinstance(here, Strand) and here.sequencer.suspending:
            return leave(f"workflow {self.name!r}")
        if here is None:
            raise OutsideWorkflowError(
                f"workflow {self.name!r} was called directly: run it with engine.run() or engine.submit(), or call its "
                "plain function (.fn)"
            )
        strand = current_strand(f"workflow {self.name!r}")
        operation = strand.operation()
        coroutine = self._as_child(strand, operation, args, kwargs)
        caller = sys._getframe(1)
        strand.sequencer.unawaited[operation.text] = Unawaited(
            "workflow", self.name, caller.f_code, caller.f_lineno, coroutine
        )
        return coroutine

    async def _as_child(
        self, caller: Strand, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T_co:
        caller.sequencer.unawaited.pop(operation.text, None)
        strand = await arrive(f"workflow {self.name!r}", caller.sequencer)
        await trio.lowlevel.checkpoint_if_cancelled()
        answer: T_co = await AwaitedChild(strand.sequencer, operation, self, args, kwargs).wait(strand)
        return answer

    def query(self, fn: Query) -> Query:
        """Make a function a query: one that looks at the state of a run of this workflow; a decorator.

        Args:
            fn: a sync function. It is called with what the workflow's code has given to `expose`, and with what stands
                behind it in `engine.query(id, fn, ...)`. What it returns must be encodable by its annotation. It must
                not change the state, and cannot wait.

        Returns:
            The function as it is.

        Raises:
            RegistrationError: if the function is async.
        """
        if is_async(fn):
            raise RegistrationError(f"a query must be a sync function, and {fn!r} is none: it looks, and does not wait")
        self._queries.append(fn)
        return fn

    def __repr__(self) -> str:
        return f"<nurselog.Workflow {self.name}>"


class WorkflowDecorator(Protocol):
    """What `workflow(...)` with options returns."""

    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Workflow[P, T]: ...


@overload
def workflow(fn: Callable[P, Awaitable[T]], /) -> Workflow[P, T]: ...
@overload
def workflow(*, name: str | None = None, version: str | None = None) -> WorkflowDecorator: ...
def workflow(fn: Callable[..., Any] | None = None, /, *, name: str | None = None, version: str | None = None) -> Any:
    """Make an async function a workflow: its progress is a log, and it survives the death of its process.

    Works as a decorator, with options or without.

    Args:
        fn: an async function. Its arguments and its result must be encodable by their annotations.
        name: its name in the log; by default the function's qualified name.
        version: recorded with each run; an engine then takes up runs of this version only. None: of any version.

    Raises:
        RegistrationError: if the function is not async, has no name to be recorded by, or the version is no text.
    """

    def decorate(fn: Callable[..., Any]) -> Workflow[..., Any]:
        if not is_async(fn):
            raise RegistrationError(f"a workflow must be an async function, and {fn!r} is none")
        recorded = recorded_name(fn, name, "workflow")
        plain = text_or_none(f"workflow {recorded!r}: the version", version, RegistrationError)
        made: Workflow[..., Any] = Workflow(fn, recorded, plain)
        registry[made.__module__, made.__qualname__, made.name] = made
        return made

    return decorate if fn is None else decorate(fn)


def unwrap_workflow(
    fn: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Workflow[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a workflow and its arguments, those of partials included.

    Raises:
        RegistrationError: if it is no workflow.
    """
    target, args, kwargs = unwrap_partial(fn, args)
    if not isinstance(target, Workflow):
        raise RegistrationError(f"{target!r} is no workflow: decorate the function with @workflow")
    return cast("Workflow[..., Any]", target), args, kwargs

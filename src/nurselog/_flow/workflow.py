"""`@workflow`: an async function whose progress is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, final, overload

from .._errors import OutsideWorkflowError, RegistrationError, UnsupportedError
from .._log.signature import Signature, signature_of
from .names import is_async, recorded_name, text_or_none
from .strand import place

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

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

    def __call__(self, *_args: P.args, **_kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        """Raise an error that says how to run it.

        Raises:
            OutsideWorkflowError: where no workflow runs: an engine must run it.
            UnsupportedError: inside a workflow or a step: child workflows are not built yet.
        """
        if place.get() is None:
            raise OutsideWorkflowError(
                f"workflow {self.name!r} was called directly: run it with engine.run() or engine.submit(), or call its "
                "plain function (.fn)"
            )
        raise UnsupportedError(
            f"workflow {self.name!r} was called inside a workflow or a step: child workflows are not built yet. Call "
            "its plain function (.fn), which then is part of the caller"
        )

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

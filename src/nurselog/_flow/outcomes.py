"""How something ended: three frozen records, our own union.

`outcome.Outcome` unwraps once only; ours are values that every receiver may look at as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NoReturn, TypeAlias, TypeVar, cast

import trio

from .._errors import ChildCancelled

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Succeeded(Generic[T_co]):
    """It returned a value."""

    value: T_co

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Failed:
    """It raised an error."""

    error: Exception

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True, slots=True)
class WasCancelled:
    """It was cancelled."""

    reason: str | None = None
    """The text given to the cancellation."""
    path: str = ""
    """Whose outcome this is."""

    def unwrap(self) -> NoReturn:
        """Raise ChildCancelled."""
        raise ChildCancelled(self.path, self.reason)


Outcome: TypeAlias = Succeeded[T_co] | Failed | WasCancelled
"""What became of a child, a message or a timer."""


def split_error(exc: BaseException) -> tuple[Exception | None, BaseException | None]:
    """Take apart what code raised: its error, and the cancellation in it, which belongs to Trio's scopes.

    Groups are looked into: only `Cancelled` inside is a cancellation; any other exception inside is the error.
    """
    if isinstance(exc, BaseExceptionGroup):
        cancelled, rest = cast("BaseExceptionGroup[BaseException]", exc).split(trio.Cancelled)
        return (cast("Exception", rest) if isinstance(rest, ExceptionGroup) else None), cancelled
    if isinstance(exc, Exception):
        return exc, None
    return None, exc

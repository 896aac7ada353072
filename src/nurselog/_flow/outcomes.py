"""How something ended: three frozen records, our own union.

`outcome.Outcome` unwraps once only; ours are values that every receiver may look at as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NoReturn, TypeAlias, TypeVar

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

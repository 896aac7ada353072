"""What a database's error is to whoever uses the store: a class of nurselog's, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from .._errors import StoreCorrupt, StoreError


class Fault(NamedTuple):
    """One kind of trouble."""

    error: type[StoreError]
    advice: str

    def at(self, url: str, detail: str) -> StoreError:
        """Return the error for a store at an address.

        Args:
            url: the address, fit to be shown.
            detail: what the database says.
        """
        return self.error(f"{url}: {self.advice} ({detail})")


UNKNOWN = Fault(StoreError, "this should not happen; please report it")
UNREADABLE = Fault(StoreCorrupt, "a row has content that nurselog never writes")


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the errors in a group, or the error itself where it is none."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
        yield from leaves(one)

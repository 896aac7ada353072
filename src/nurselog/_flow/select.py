"""`select`: wait for the first of several things, and have the choice in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final, overload

import trio

from .._log.events import Selected as SelectedEvent
from .cases import Case, wait_for_first
from .current import arrive, check_own
from .outcomes import Outcome

T_co = TypeVar("T_co", covariant=True)
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")


@final
@dataclass(frozen=True, slots=True)
class Selected(Generic[T_co]):
    """Which case a select took, and its outcome."""

    index: int
    """The case's position among the arguments, from 0."""
    case: Case[Any]
    """The case itself."""
    outcome: Outcome[T_co]
    """What the case's own wait would have given."""

    def unwrap(self) -> T_co:
        """Return the value, or raise the error or ChildCancelled."""
        return self.outcome.unwrap()


@overload
async def select(case1: Case[T1], /) -> Selected[T1]: ...
@overload
async def select(case1: Case[T1], case2: Case[T2], /) -> Selected[T1 | T2]: ...
@overload
async def select(case1: Case[T1], case2: Case[T2], case3: Case[T3], /) -> Selected[T1 | T2 | T3]: ...
@overload
async def select(
    case1: Case[T1], case2: Case[T2], case3: Case[T3], case4: Case[T4], /
) -> Selected[T1 | T2 | T3 | T4]: ...
@overload
async def select(
    case1: Case[T1], case2: Case[T2], case3: Case[T3], case4: Case[T4], case5: Case[T5], /
) -> Selected[T1 | T2 | T3 | T4 | T5]: ...
@overload
async def select(*cases: Case[T1]) -> Selected[T1]: ...
async def select(*cases: Case[Any]) -> Selected[Any]:
    """Wait for the first of several cases, and do what its own wait would have done.

    A failed or cancelled child is a ready case like any other, and so is a channel that is closed and drained (its
    outcome is `Failed(trio.EndOfChannel)`). Of several ready cases the one that became ready earliest in the log is
    taken, ties by position. An item is consumed if and only if its case is the one returned; the others go on until
    their scope is cancelled.

    Args:
        cases: handles, receive channels of nurselog's `open_memory_channel`, mailboxes, promises, `after(seconds)`,
            `at(datetime)`.

    Returns:
        The case that was taken, its position and its outcome.

    A checkpoint. Cancelling it consumes nothing.

    Raises:
        ValueError: if there are no cases.
        TypeError: if a case is something else, such as a plain Trio channel.
    """
    strand = await arrive("select")
    if not cases:
        raise ValueError("select needs at least one case")
    for case in cases:
        if not isinstance(case, Case):
            raise TypeError(_refusal(case))
        check_own("select", strand, case._sequencer)
    operation = strand.operation()
    index, outcome = await wait_for_first(strand, cases)
    strand.sequencer.note(SelectedEvent(path=operation.text, index=index))
    return Selected(index, cases[index], outcome)


def _refusal(case: object) -> str:
    if isinstance(case, trio.abc.ReceiveChannel):
        return (
            "select cannot wait for a plain Trio channel, which gives an item to whoever asks first: open it with "
            "nurselog.open_memory_channel(), which has the same interface"
        )
    return f"select waits for handles, nurselog's channels, mailboxes, promises, after() and at(), not for {case!r}"

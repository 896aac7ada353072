"""Short helpers on top of nurseries and handles."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from .._errors import ChildCancelled
from .._log.events import Cause
from .._log.lifecycle import Status
from .cases import Waiter, Watched, wait_for_first
from .current import arrive, check_own
from .handle import Handle
from .nursery import Nursery, open_nursery
from .outcomes import Failed, Outcome, Succeeded, WasCancelled
from .strand import Strand

T = TypeVar("T")
U = TypeVar("U")


async def gather(*handles: Handle[T]) -> list[T]:
    """Wait for all children, and return their values in the order of the arguments.

    Raises:
        ChildCancelled: if one was cancelled.
        Exception: the error of the first that failed, in the order of the arguments; the others go on.

    A checkpoint, unless there are no handles.
    """
    return [await handle.result() for handle in handles]


class _Arrivals(Watched[Handle[T]], Generic[T]):
    """Handles in the order in which their children end: told by each, instead of asking all of them each time."""

    def __init__(self, strand: Strand) -> None:
        super().__init__(strand.sequencer)
        self._listener: _Listener = _Listener(strand, self)
        self._expected: list[Handle[T]] = []
        self._arrived: deque[Handle[T]] = deque()

    def expect(self, handle: Handle[T]) -> None:
        """Take a handle on."""
        self._expected.append(handle)
        if handle._ready_since() is None:
            handle._watch(self._listener, len(self._expected) - 1)
        else:
            self._arrive(handle)

    def ended(self, index: int) -> None:
        """A child has ended."""
        handle = self._expected[index]
        handle._forget(self._listener)
        self._arrive(handle)

    def _arrive(self, handle: Handle[T]) -> None:
        if self._waiters:
            waiter, index = next(iter(self._waiters.items()))
            waiter.wake(index, Succeeded(handle))
        else:
            self._arrived.append(handle)

    async def next(self) -> Handle[T]:
        """Wait for the next child that ends, and return its handle. A checkpoint."""
        _, outcome = await wait_for_first(await arrive("as_completed", self._sequencer), (self,))
        handle: Handle[T] = outcome.unwrap()
        return handle

    def _ready_since(self) -> int | None:
        return self._arrived[0]._ready_since() if self._arrived else None

    def _take(self) -> Outcome[Handle[T]]:
        return Succeeded(self._arrived.popleft())


class _Listener(Waiter):
    """What arrivals leave with each handle. It claims nothing: whoever takes the handle claims its failure."""

    __slots__ = ("_arrivals",)

    claims = False

    def __init__(self, strand: Strand, arrivals: _Arrivals[Any]) -> None:
        super().__init__(strand, ())
        self._arrivals: _Arrivals[Any] = arrivals

    def wake(self, index: int, result: Outcome[Any]) -> None:  # noqa: ARG002 - the handle knows it
        self._arrivals.ended(index)


def _settled_at(handle: Handle[Any]) -> float:
    since = handle._ready_since()
    return math.inf if since is None else since


async def as_completed(*handles: Handle[T]) -> AsyncIterator[Handle[T]]:
    """Give the handles one after the other, as their children end: those that ended first come first.

    A handle that is passed twice is given once. Each turn is a checkpoint. A handle that was given is claimed: its
    failure is yours.
    """
    strand = await arrive("as_completed")
    different = dict.fromkeys(handles)
    for handle in different:
        check_own("as_completed", strand, handle._sequencer)
    arrivals: _Arrivals[T] = _Arrivals(strand)
    for handle in sorted(different, key=_settled_at):
        arrivals.expect(handle)
    for _ in different:
        handle = await arrivals.next()
        handle._claim()
        yield handle


async def race(*fns: Callable[[], Awaitable[T]]) -> T:
    """Run functions or steps side by side, return the first value, and cancel the rest.

    Args:
        fns: called without arguments; use `functools.partial` to give them some.

    Raises:
        ChildCancelled: if only its own scope is cancelled from outside.
        ExceptionGroup: with all their errors, if none succeeds.
        ValueError: if there are none.

    A checkpoint.
    """
    if not fns:
        raise ValueError("race needs at least one function")
    errors: list[Exception] = []
    arrivals: _Arrivals[T] = _Arrivals(await arrive("race"))
    async with open_nursery() as nursery:
        handles = [nursery.go(fn) for fn in fns]
        for handle in handles:
            arrivals.expect(handle)
        for _ in handles:
            match (await arrivals.next()).outcome:
                case Succeeded(value=value):
                    for loser in handles:
                        loser._claim()  # whatever becomes of it now: the race is over
                    nursery.cancel_scope.cancel("another one was first")
                    return value
                case Failed(error=error):
                    errors.append(error)
                case outcome:  # by an exception of its own: nobody else can cancel it alone
                    assert isinstance(outcome, WasCancelled)
                    errors.append(ChildCancelled(outcome.path, outcome.reason))
    _check_not_cancelled(nursery)
    raise ExceptionGroup("nobody won the race", errors)


async def map_concurrently(fn: Callable[[T], Awaitable[U]], items: Iterable[T], *, limit: int | None = None) -> list[U]:
    """Call a function or step on each item, some at a time, and return the results in the order of the items.

    Args:
        fn: a step or an async function of one argument.
        items: iterated once, as room becomes free.
        limit: how many run at a time; None: all.

    Raises:
        ChildCancelled: if only its own scope is cancelled from outside.
        ExceptionGroup: with the error of the call that failed; the others are cancelled.
        ValueError: if the limit is less than 1.

    A checkpoint.
    """
    if limit is not None and limit < 1:
        raise ValueError("limit must be 1 or more")
    handles: list[Handle[U]] = []
    arrivals: _Arrivals[U] = _Arrivals(await arrive("map_concurrently"))
    async with open_nursery() as nursery:
        for item in items:
            if limit is not None and len(handles) >= limit and (await arrivals.next()).status is Status.FAILED:
                break  # nobody claims the failure: the nursery cancels the others, and raises it
            handle = nursery.go(fn, item)
            handles.append(handle)
            arrivals.expect(handle)
    _check_not_cancelled(nursery)
    return [await handle.result() for handle in handles]


def _check_not_cancelled(nursery: Nursery) -> None:
    """See that a nursery has not swallowed its own cancellation, by which its block did not come to its end.

    Only somebody outside cancels that scope alone. (A child that raises a `Cancelled` by hand does so, too, and has a
    handle that says it.)
    """
    scope = nursery.cancel_scope
    if scope.cause is Cause.EXTERNAL and scope.cancelled_caught:
        raise ChildCancelled(scope.path, scope.reason)

"""Virtual time: Trio's clock jumps whenever all tasks wait, and UTC goes with it.

What all tasks wait for may be something that Trio's clock does not see: a thread, or a store that writes to a disk. A
clock that jumped then would have a step time out that takes a millisecond. So whoever hands work to somebody else
holds the time meanwhile. Not for ever, though: a thread may itself wait for virtual time (`trio.from_thread`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import trio
from trio.testing import MockClock

from .. import Engine, UsageError

T = TypeVar("T")

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time begins, unless it is told otherwise."""

PATIENCE = 10.0
"""Seconds of nothing happening after which what holds the time is taken to wait for it."""


class VirtualClock:
    """Tells the time that Trio's clock has come to: under `trio.testing.MockClock` both jump over what nobody does.

    Make it inside `trio.run`, and give it to `open_engine(clock=...)`.

    Args:
        begin: what time it is now.
    """

    def __init__(self, begin: datetime = BEGIN) -> None:
        self._was_set = trio.Event()
        self.set(round(begin.timestamp() * 1e6))

    def set(self, utc: int) -> None:
        """Make it another time, UTC microseconds, as somebody who sets a machine's clock does."""
        self._offset = utc - round(trio.current_time() * 1e6)
        self._was_set.set()
        self._was_set = trio.Event()

    def utc(self) -> int:
        """Return UTC as microseconds since 1970."""
        return self._offset + round(trio.current_time() * 1e6)

    async def sleep_until(self, due: int) -> None:
        """Wait until it is `due`, even if the clock is set meanwhile. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while (left := due - self.utc()) > 0:
            with trio.move_on_after(left / 1e6):
                await self._was_set.wait()


class Hold:
    """Holds virtual time while somebody works whom Trio's clock does not see."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._count = 0

    def take(self) -> None:
        """Somebody begins to work."""
        self._count += 1
        self._clock.autojump_threshold = PATIENCE

    def release(self) -> None:
        """Somebody has done his work."""
        self._count -= 1
        if not self._count:
            self._clock.autojump_threshold = 0

    @contextmanager
    def __call__(self) -> Generator[None]:
        """Hold it during the block."""
        self.take()
        try:
            yield
        finally:
            self.release()


class HoldingLimiter:
    """A limiter for threads and processes: each holds the time from its beginning to its end."""

    def __init__(self, limiter: trio.CapacityLimiter, hold: Hold) -> None:
        self._limiter, self._hold = limiter, hold

    async def acquire_on_behalf_of(self, borrower: Any) -> None:
        """Wait for room, and hold the time."""
        await self._limiter.acquire_on_behalf_of(borrower)
        self._hold.take()

    def release_on_behalf_of(self, borrower: Any) -> None:
        """The thread has ended."""
        self._hold.release()
        self._limiter.release_on_behalf_of(borrower)

    async def __aenter__(self) -> None:
        await self.acquire_on_behalf_of(trio.lowlevel.current_task())

    async def __aexit__(self, *_: object) -> None:
        self.release_on_behalf_of(trio.lowlevel.current_task())


def hold_in_threads(engine: Engine, hold: Hold) -> None:
    """Have virtual time wait for an engine's threads, and for its worker processes."""
    runner = engine._runner
    runner.limiter = cast("trio.CapacityLimiter", HoldingLimiter(runner.limiter, hold))
    runner.cores = cast("trio.CapacityLimiter", HoldingLimiter(runner.cores, hold))


def in_virtual_time(
    main: Callable[[Hold], Awaitable[T]], seed: int, instruments: Iterable[trio.abc.Instrument] = ()
) -> T:
    """Run a program under Trio, with a clock that jumps, and in an order that a seed decides and nothing else."""
    clock = MockClock(autojump_threshold=0)
    with _in_seeded_order(seed):
        try:
            return trio.run(main, Hold(clock), clock=clock, instruments=list(instruments))
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt):  # tests are to stop, and not to fail
                raise KeyboardInterrupt from group
            raise


@contextmanager
def _in_seeded_order(seed: int) -> Generator[None]:
    """Trio has no public way to this; what it has is for Hypothesis, and a test says when it is gone."""
    scheduler: Any = trio._core._run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        scheduler._r.setstate(before[1])


def refuse_trio() -> None:
    """See that Trio does not run in this thread already.

    Raises:
        UsageError: if it does.
    """
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return
    raise UsageError("it runs Trio by itself: call it from a plain function, `def test_…`, and not from an async one")

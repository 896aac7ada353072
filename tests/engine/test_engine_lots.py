"""The journal's lots, and what is told of a store that is unavailable."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import trio

from nurselog import Status, StoreUnavailable, open_engine, step, workflow
from nurselog._engine.journal import MOST, Journal
from nurselog._engine.patience import patiently
from nurselog.abc import Batch, Standing, WorkflowKey
from nurselog.lowlevel import Cause, Row, ScopeCancelled
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory

Clock = trio.testing.MockClock


@step
async def doze(seconds: float) -> None:
    await trio.sleep(seconds)


@workflow
async def dozing(seconds: float) -> None:
    await doze(seconds)


async def test_an_outage_is_told_once(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """One that lasts for an hour must not fill a disk with what it says of itself."""
    caplog.set_level("INFO", "nurselog")
    begin = trio.current_time()

    async def find() -> str:
        since = trio.current_time() - begin
        if since < 3600:
            raise StoreUnavailable("gone" if 1800 <= since < 2400 else "locked")
        return "found"

    assert await patiently(find) == "found"
    assert trio.current_time() - begin < 3610
    assert caplog.messages == [
        "the store is unavailable: locked",
        "the store is unavailable: gone",
        "the store is available again",
    ]


async def test_a_burst_is_committed_in_lots(autojump_clock: Clock, tmp_path: Path) -> None:
    """All in a lot go on in one turn of the event loop: were it larger, nothing else would, and the lease would go."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, sizes = Hooked(file_store(path, clock)), list[int]()

    async def count(batch: Batch) -> None:
        sizes.append(len(batch.creations) + len(batch.appends))

    store.before_commit = count
    async with open_engine(store, [dozing], clock=clock, max_running=10_000) as engine, trio.open_nursery() as nursery:
        for number in range(2 * MOST + 1):
            nursery.start_soon(lambda number=number: engine.run(dozing, 1.0, id=f"w{number}"))
    assert max(sizes) == MOST
    assert sizes[:3] == [MOST, MOST, 1]


async def test_a_message_is_removed_in_the_batch_that_enters_it(autojump_clock: Clock) -> None:
    """Also where it is the last thing that a lot has room for: or a cancellation that was promised could be lost."""
    journal = Journal(in_memory(VirtualClock()), None)
    for key in range(1, 2 * MOST):
        journal.stand(cast("Any", Says(key)), Standing(status=Status.WAITING, due_at=None))
    writer = cast("Any", Says(0))
    journal.take(writer, 17)
    journal.append(writer, Row(2, 0, 0, 7, b""), ScopeCancelled(by=Cause.EXTERNAL))
    journal.stand(writer, Standing(status=Status.CANCELLING, due_at=0))
    [batch] = [batch for batch in (lot.batch() for lot in journal._queued) if batch.appends[0].key == 0]
    [append, *_] = batch.appends
    assert (append.taken, [row.seq for row in append.rows]) == ([17], [2])
    assert append.standing is not None


class Says:
    """A writer who says what became of what it has written."""

    def __init__(self, key: int) -> None:
        self.key = WorkflowKey(key)
        self.number = 7
        self.refusals = 0

    def refused(self) -> None:
        self.refusals += 1


async def test_what_a_former_run_has_to_say_is_dropped_from_all_lots() -> None:
    """It waits for its turn behind a crowd when its workflow, lost meanwhile, is taken up again here."""
    journal = Journal(in_memory(VirtualClock()), None)
    standing = Standing(status=Status.WAITING, due_at=None)
    former, again = (cast("Any", Says(1)) for _ in range(2))
    journal.stand(former, standing)
    for key in range(2, MOST + 2):
        journal.stand(cast("Any", Says(key)), standing)
    journal.stand(again, standing)
    assert (former.refusals, again.refusals) == (1, 0)

"""How much is taken up at once: as much as can be taken in before the lease must be renewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio

from nurselog import open_engine, sleep, workflow
from nurselog.abc import Claim, Wanted
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, kinds, on_file

Clock = trio.testing.MockClock
LEASE = 9.0
"""Seconds; a third of it is a beat."""


@workflow(name="claims.sleeps")
async def sleeps(seconds: float) -> str:
    await sleep(seconds)
    return "awake"


class Slow(Hooked):
    """A store that does one thing at a time, and reads one workflow's log in half a second."""

    def __init__(self, path: Path, clock: VirtualClock) -> None:
        super().__init__(file_store(path, clock))
        self._busy = trio.Lock()
        self.batches: list[int] = []
        self.seconds = 0.5

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        async with self._busy:
            claims = await super().claim(wanted)
            self.batches.append(len(claims))
            await trio.sleep(self.seconds * len(claims))
            return claims

    async def renew(self) -> bool:
        async with self._busy:
            return await super().renew()


async def test_long_logs_do_not_cost_the_lease(autojump_clock: Clock, tmp_path: Path) -> None:
    """All at once they would take twice as long as it lasts: nothing would ever be taken up for good."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, sleeps, clock=clock) as engine:
        for number in range(40):
            await engine.submit(sleeps, 100.0, id=str(number))
    await trio.sleep(200)
    store = Slow(path, clock)
    async with open_engine(store, [sleeps], clock=clock, lease=LEASE) as engine:
        with trio.fail_after(500):
            for number in range(40):
                handle = await engine.get(str(number))
                assert await handle.result() == "awake"
                assert (await kinds(handle)).count("Claimed") == 1, "it was never lost"
    assert store.batches[:4] == [10, 3, 3, 3]


async def test_short_ones_are_taken_up_by_hundreds(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, sleeps, clock=clock) as engine:
        for number in range(150):
            await engine.submit(sleeps, 100.0, id=str(number))
    store = Slow(path, clock)
    store.seconds = 0
    async with open_engine(store, [sleeps], clock=clock, lease=LEASE) as engine:
        for number in range(150):
            assert await (await engine.get(str(number))).result() == "awake"
    assert store.batches[:2] == [10, 140]

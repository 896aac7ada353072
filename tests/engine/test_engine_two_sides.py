"""Two-sided crashes: parents, children, senders and receivers die at every write of theirs, one or all of them.

Whoever dies, and when: no step whose outcome is recorded runs again, no row changes, and what one side says of the
other is what that says of itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import open_engine
from nurselog.testing import VirtualClock
from tests.engine.rig import crashed, file_store
from tests.engine.two_sides import FAMILY, Cut, Mortal, check_family, new_world, parent, world

Clock = trio.testing.MockClock


@pytest.fixture(autouse=True)
def a_new_world() -> None:
    new_world()


async def run_and_cut(path: Path, clock: VirtualClock) -> list[Cut]:
    """Tell the whole story, and keep the database after each write."""
    cuts: list[Cut] = []

    def keep() -> None:
        kept = crashed(path).rename(path.with_name(f"{len(cuts)}.db"))
        cuts.append(Cut(kept, frozenset(world.recorded), dict(world.rows)))

    store = Mortal(file_store(path, clock), wrote=keep)
    async with open_engine(store.as_store, FAMILY, clock=clock) as engine:
        await check_family(engine)
        return cuts[:]


async def test_all_die_after_each_write(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    cuts = await run_and_cut(tmp_path / "log.db", clock)
    for cut in cuts:
        new_world(cut)
        store = Mortal(file_store(cut.path, clock))
        async with open_engine(store.as_store, FAMILY, clock=clock) as engine:
            await check_family(engine)
    assert len(cuts) > 20


async def one_dies(path: Path, clock: VirtualClock, mortal: Mortal, *, first: bool) -> bool:
    """Tell the story with two engines, of which one dies, the first or the second; return whether it did in time."""
    new_world()
    other = Mortal(file_store(path, clock))
    here_store, there_store = (mortal, other) if first else (other, mortal)
    over = False
    async with (
        open_engine(here_store.as_store, FAMILY, clock=clock, max_running=2, lease=1, grace=0.5) as here,
        open_engine(there_store.as_store, FAMILY, clock=clock, lease=1, grace=0.5) as there,
    ):

        async def tell() -> None:
            nonlocal over
            await here.run(parent, id="one")
            over = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await mortal.dead.wait()
            nursery.cancel_scope.cancel()
        await check_family(there if first else here)
        mortal.buried.set()
    return not over


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
async def test_one_of_two_dies_at_each_write(
    autojump_clock: Clock,
    tmp_path: Path,
    first: bool,  # noqa: FBT001 - a parameter of the test
    after: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    clock, at, died = VirtualClock(), 0, True
    while died:
        path = tmp_path / f"{at}.db"
        died = await one_dies(path, clock, Mortal(file_store(path, clock), at, after=after), first=first)
        at += 1
    assert at > 10

"""A parent of 1,000 child workflows that stops at the first 100 results; the others are cancelled, and clean up.

    python examples/first_results.py

Each child is a workflow of its own, with its own log. When the parent has enough it leaves its nursery: cancelling the
scope tells all the others, wherever they are (waiting, at work, or not even begun), and the nursery waits until each of
them has cleaned up. A number on the command line, such as 50, makes it that many children, and a tenth of them enough.
"""

from __future__ import annotations

import sys
from collections import Counter

import trio

from nurselog import CancelScope, as_completed, open_engine, open_nursery, rng, sleep, step, workflow

open_wells: set[int] = set()


@step
async def begin(well: int) -> None:
    """Take a drilling rig to a place; in real life this is an effect somewhere else."""
    open_wells.add(well)
    await trio.lowlevel.checkpoint()


@step
async def close(well: int) -> None:
    """Bring the rig back."""
    open_wells.discard(well)
    await trio.lowlevel.checkpoint()


@workflow
async def drill(well: int) -> float:
    """Drill until there is water; whatever happens, bring the rig back."""
    await begin(well)
    try:
        depth = rng().uniform(10, 1000)
        await sleep(depth / 200)
    finally:
        with CancelScope(shield=True):
            await close(well)
    return depth


@workflow
async def find_water(wells: int, enough: int) -> list[float]:
    """Drill many wells at once, and stop at the first that have water."""
    found: list[float] = []
    async with open_nursery() as nursery:
        async for handle in as_completed(*[nursery.go(drill, well) for well in range(wells)]):
            found.append(await handle.result())
            if len(found) == enough:
                nursery.cancel_scope.cancel("there is enough water")
                break
    return found


async def main(wells: int, enough: int) -> None:
    """Run it, and look what has become of each child."""
    async with open_engine("sqlite://", max_running=wells + 1) as engine:
        found = await engine.run(find_water, wells, enough, id="water")
        statuses = Counter(info.status.value for info in await engine.list(prefix="water/", limit=wells))
    print(f"{len(found)} results")
    print(f"all children have ended: {statuses.total() == statuses['completed'] + statuses['cancelled'] == wells}")
    print(f"some were cancelled: {statuses['cancelled'] > 0}")
    print(f"wells that are still open: {len(open_wells)}")


if __name__ == "__main__":
    wells = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    trio.run(main, wells, wells // 10)

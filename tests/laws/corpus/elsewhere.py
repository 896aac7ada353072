"""Helpers that few have installed: aiometer and trio-util. In the corpus where they are."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

from nurselog import move_on_after, open_nursery, sleep
from nurselog.testing.corpus import case, note
from nurselog.testing.corpus.workflows.steps import fetch, refund, slow

if find_spec("aiometer"):
    import aiometer

    @case()
    async def aiometer_maps() -> list[Any]:
        """`run_all`, `run_any` and `amap`, bounded by its own semaphores."""
        got: list[Any] = [await aiometer.run_all([partial(fetch, i) for i in range(4)], max_at_once=2)]
        got.append(await aiometer.run_any([partial(fetch, 1), partial(slow, 2)]))
        async with aiometer.amap(fetch, list(range(5)), max_at_once=2) as results:
            async for value in results:
                got.append(value)
                note(got)
        return got


if find_spec("trio_util"):
    import trio_util

    @case()
    async def trio_util_values() -> list[Any]:
        """AsyncValue and AsyncBool between branches, wait_any and wait_all, a scope that moves on when asked."""
        got: list[Any] = []
        value, flag = trio_util.AsyncValue(0), trio_util.AsyncBool()

        async def raise_it() -> None:
            for i in range(4):
                await fetch(i)
                value.value += 1
            flag.value = True

        async def watch(most: int) -> None:
            got.append(["reached", await value.wait_value(lambda found: found >= most)])
            note(got)

        async with open_nursery() as nursery:
            nursery.go(raise_it)
            for i in range(3):
                nursery.go(watch, i + 1)
            await trio_util.wait_any(partial(sleep, 5), flag.wait_value)
            await trio_util.wait_all(partial(refund, 1), partial(refund, 2))
            async with trio_util.move_on_when(partial(fetch, 3)) as scope:
                await slow(1)
            got.append(scope.cancelled_caught)
            with move_on_after(0.01):
                await value.wait_transition(lambda found: found > 100)
        note(got)
        return got

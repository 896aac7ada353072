"""Random calls on all stores side by side: they meet everything that there is, and differences are found."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from nurselog import Status
from nurselog.abc import Posted
from nurselog.testing.stores import StandingClock
from nurselog.testing.stores.playing import ACTS, TURNS, Play, Side
from nurselog.testing.stores.records import LEASE, note
from tests.stores.kit import opened

TO_MEET = {
    *(
        f"{label}: {answer}"
        for label in ("claim", "messages", "list", "read", "refused", "expired")
        for answer in ("some", "none")
    ),
    *(f"standing: {status.value}" for status in Status),
    *(f"{label}: {posted.value}" for label in ("posted", "early") for posted in Posted),
    *(
        "created: True",
        "created: False",
        "child: True",
        "child: None",
        "renewed: True",
        "find: some",
        "next due: a time",
        "post: none",
        "bear: none",
        "deleted: some",
        "deleted: none",
        "deleted: living",
    ),
}


async def test_stores_do_not_differ(file_url: str, postgres_url: str, scale: int) -> None:
    """The contract has one play; here are others."""
    for seed in range(1, 1 + scale):
        async with AsyncExitStack() as stack:
            clock = StandingClock()
            urls = ("sqlite://", f"{file_url}{seed}", f"{postgres_url}&schema=one{seed}")
            urls += (f"{postgres_url}&schema=many{seed}&shards=5",)
            sides = [Side(await stack.enter_async_context(opened(url, clock, duration=LEASE))) for url in urls]
            await Play(sides, clock, seed).run(1, 150)


async def test_a_play_meets_everything(file_url: str, clock: StandingClock) -> None:
    async with opened("sqlite://", clock, duration=LEASE) as one, opened(file_url, clock, duration=LEASE) as other:
        play = Play([Side(one), Side(other)], clock, 0)
        await play.run(ACTS, TURNS)
        met = {name for name, count in play.tally.items() if count}
        assert met >= TO_MEET, TO_MEET - met


async def test_a_difference_is_found() -> None:
    async with opened("sqlite://") as one, opened("sqlite://") as other:
        sides = [Side(one), Side(other)]
        play = Play(sides, StandingClock(), 0)
        await play.create()
        await one.post([note(next(iter(sides[0].keys.values())), b"")])
        with pytest.raises(AssertionError, match="seed 0"):
            for _ in range(20):
                await play.claim()
                await play.messages()

"""Runs workflows, and looks at what their code touches."""

from __future__ import annotations

import datetime as dt
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import trio
from trio.testing import MockClock

from nurselog import Workflow, open_engine, step
from nurselog.testing import Touch, VirtualClock, watching


def seen(*workflows: Workflow[..., Any], **options: Any) -> Sequence[Touch]:
    """Run workflows, and return what their code has touched."""

    async def main() -> Sequence[Touch]:
        with watching() as touches:
            async with open_engine("sqlite://", (), **{"clock": VirtualClock()} | options) as engine:
                for one in workflows:
                    await engine.run(one)
        return touches

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@step
async def everything() -> int:
    time.time()
    random.random()
    os.environ.get("HOME")
    open(os.devnull).close()  # noqa: ASYNC230, PTH123 - it is to be seen
    return 1


class Moment(dt.datetime):
    """A date of somebody else's."""

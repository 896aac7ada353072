"""What `nurselog check` lets pass because it does no harm: it does none."""

from __future__ import annotations

import inspect
import math
import sys

import anyio
import trio

from nurselog import step, workflow
from nurselog.check import check_source
from nurselog.testing import cancel_everywhere, crash_everywhere


@step
async def touch() -> None:
    raise AssertionError("the real one")


@workflow
async def waits_that_are_none() -> int:
    await touch()
    await trio.sleep(0)  # noqa: ASYNC115 - what this is about
    await anyio.sleep(0)  # noqa: ASYNC115 - what this is about
    with trio.CancelScope(deadline=math.inf), anyio.move_on_after(None), trio.move_on_after(math.inf):
        await touch()
    return 1


def test_zero_seconds_and_deadlines_that_are_none_do_no_harm() -> None:
    assert check_source(inspect.getsource(sys.modules[__name__]), __file__) == []
    crash_everywhere(waits_that_are_none, fakes={touch: lambda: None}, twice=True)
    cancel_everywhere(waits_that_are_none, fakes={touch: lambda: None})

"""The worker processes in which steps compute."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._flow.jobs import answer, settle_in
from .._flow.venue import Venue, library

if TYPE_CHECKING:
    from .._flow.body import Body
    from .._flow.step import Step

logger = logging.getLogger("nurselog")


class Processes:
    """Runs functions in worker processes, which are used again.

    Args:
        context: trio-parallel's.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    async def run(self, body: Body, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step's function for a body. A checkpoint; when it is cancelled, the process is killed."""
        host = body.call.sequencer.host
        async with host.cores:
            await host.settled()  # after such a wait somebody may have taken the workflow over
            found = await answer(partial(self._context.run_sync, limiter=trio.CapacityLimiter(1)), step, args, kwargs)
        try:
            return found.unwrap()
        except Exception as exc:
            if 0 < len(found.error) <= host.max_payload:
                body.recorded = (exc, found.error)
            raise


@asynccontextmanager
async def open_processes(grace: float) -> AsyncGenerator[Processes]:
    """Have worker processes, started when they are needed.

    Args:
        grace: seconds that those get to end that have nothing to do, before they are killed.
    """
    trio_parallel = library(Venue.PROCESS)
    try:
        async with trio_parallel.open_worker_context(init=settle_in, grace_period=grace) as context:
            yield Processes(context)
    except trio_parallel.BrokenWorkerError as exc:
        logger.warning("worker processes of steps did not end in order when the engine closed: %s", exc.args[0])

"""What a workflow's log has from a place on, and then whatever comes, wherever the workflow runs.

Everything that a workflow tells those outside is a row of its log. So all who want to hear it do the same: they read
the log behind what they know, and wait. Nobody hands rows to them, though this engine may have them in memory: they
would come by two ways then, whose order would have to be kept, and a reader that is slow would keep rows alive. What
they are told is only that a look is worth while: by this engine's journal when a row is durable (and by then the store
has it), by the store when another process has written a public one, and when a workflow has ended or left memory.

Of rows that are not public no process tells another one: that would be a notice for each commit of each workflow, at
which all would wake up, though hardly ever anybody follows. So who waits for each row of what another process runs also
looks without having been told: soon after the last row, then less and less often. That costs who follows a statement
each time, and nobody else anything.

A look that is too many does no harm; one too few would be a wait for ever. So who waits has said so *before* it looks,
and what does not come as a row (a workflow is stuck, is deleted; the engine closes) it sees when a look has found
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._log.cursor import Entry
from .._log.events import decode_event
from .._log.lifecycle import Status
from ..abc import Workflow as WorkflowRow
from .ends import end_of, refuse_stuck
from .patience import patiently

if TYPE_CHECKING:
    from .desk import Desk


MOST = 1_000
"""Rows that are read in one go: a log may be long, and others have to do something, too."""

FARTHEST = 2**62
"""No log comes to it, and a store can still count from it."""

SHORTEST, LONGEST = 0.05, 1.0
"""Seconds until the first look without having been told, and at most from one to the next; each wait doubles."""


class Follower:
    """Reads a workflow's log from a place on, and waits for more.

    Args:
        desk: by whose store it reads.
        row: the workflow.
        after: the seq behind which it begins; 0: with the first row.
        each: whether it waits for each row, and not only for public ones.
    """

    def __init__(self, desk: Desk, row: WorkflowRow, after: int, *, each: bool = False) -> None:
        self._desk, self._row, self._after, self._each = desk, row, min(after, FARTHEST), each
        self._readers = desk.readers.each if each else desk.readers.public

    async def more(self) -> Sequence[Entry]:
        """Return what is behind the rows that it has returned before: one at least. Wait for it, here or elsewhere.

        What it waits for is a public row, or the end; all others come together with those, unless it waits for each.
        The last row of all is the end (`Ended`). Asked again then, or if it begins behind the end, it returns that
        again. As long as the store is unavailable it waits. A checkpoint; if it is cancelled, what it would have
        returned comes the next time.

        Raises:
            WorkflowStuck: if there is no more, and the workflow cannot go on.
            WorkflowNotFound: if the workflow is not there any more.
            EngineClosed: if the engine closes first.
        """
        await trio.lowlevel.checkpoint()
        while True:
            with self._readers.waiting(self._row) as told:
                found = await self._behind() or await self._end() or await self._wait(told)
                if found:
                    self._after = found[-1].row.seq
                    return found

    async def _wait(self, told: trio.Event) -> Sequence[Entry]:
        """Wait until a look is worth while; where nobody tells, look, and return what is found."""
        pause = SHORTEST
        while True:
            with trio.move_on_after(pause if self._is_told_little else math.inf):
                await told.wait()
                return ()
            if found := await self._behind():
                return found
            pause = min(2 * pause, LONGEST)

    @property
    def _is_told_little(self) -> bool:
        """Whether it waits for rows that another process may write."""
        return self._each and self._desk.store.shared and self._row.key not in self._desk.runs

    async def _behind(self) -> Sequence[Entry]:
        rows = await patiently(partial(self._desk.read, self._row, self._after + 1, MOST))
        return [Entry(row, decode_event(row.event)) for row in rows]

    async def _end(self) -> Sequence[Entry]:
        """Return what is left when the workflow goes on no more; nothing if it does."""
        row = await patiently(partial(self._desk.find_again, self._row))
        if not (row.status.final or row.status is Status.STUCK):
            return ()
        if found := await self._behind():  # it came between the two looks
            return found
        refuse_stuck(row)
        event, last = end_of(row, await patiently(partial(self._desk.last, row)))
        return [Entry(last, event)]

"""Removes workflows that have ended: one when somebody asks for it, and by and by all that have been over for long.

A workflow goes with its family, for a child belongs to its parent's history; and the store removes a family whole. So
there is no order to keep, and nothing to be gone on with: whoever dies in between has removed some families and left
the others. Several engines may remove the same ones: the store lets one of them, and the others find nothing.
"""

from __future__ import annotations

import logging
from functools import partial

import trio

from .._errors import UsageError, WorkflowNotEnded
from .._flow.times import to_microseconds
from ..abc import Clock, Store
from .office import Office
from .patience import patiently

logger = logging.getLogger("nurselog")

BATCH = 10
"""Families that are removed in one call: in SQLite all others wait for it, and a log may have many thousand rows."""

PAUSE = 60.0
"""Seconds from one look for what has been kept long enough to the next."""


class Remover:
    """Removes workflows.

    Args:
        store: where they are.
        office: finds them.
        clock: tells how long ago they ended.
        retention: seconds for which they are kept after their end; None: until somebody deletes them.
    """

    def __init__(self, store: Store, office: Office, clock: Clock, retention: float | None) -> None:
        self._store, self._office, self._clock, self._retention = store, office, clock, retention

    async def delete(self, id: str) -> None:
        """Remove a workflow that has ended, and its descendants. A checkpoint; raises what `Engine.delete` does."""
        row = await self._office.find(id)
        if row.parent is not None:
            root, _, _ = id.partition("/")
            raise UsageError(f"workflow {id!r} is a child, and is deleted with its root: delete({root!r})")
        [became] = await self._store.delete([row.key])
        if became.living is not None:
            raise WorkflowNotEnded(id, became.living)

    async def run(self) -> None:
        """Remove what has been kept long enough, for ever."""
        while self._retention is not None:
            before = self._clock.utc() - to_microseconds(self._retention)
            while removed := await self._remove(before):
                logger.info("%d workflows were deleted, which ended more than %g s ago", removed, self._retention)
            await trio.sleep(PAUSE)

    async def _remove(self, before: int) -> int:
        """Remove some; return how many workflows that were. None may be left, or another engine may be at it, too."""
        roots = await patiently(partial(self._store.expired, before, BATCH))
        became = await patiently(partial(self._store.delete, roots)) if roots else ()
        return sum(one.removed for one in became)

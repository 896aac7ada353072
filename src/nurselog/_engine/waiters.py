"""Who waits for the end of which workflow: told one by one, so that a thousand waiters cost no more than one."""

from __future__ import annotations

import trio

from .._log.lifecycle import Status
from ..abc import Store


class Waiters:
    """Those who wait for workflows that are not in this engine's memory, by the workflows' ids."""

    def __init__(self) -> None:
        self._events: dict[str, trio.Event] = {}

    def event(self, id: str) -> trio.Event:
        """Return what is set when something has become of a workflow."""
        return self._events.setdefault(id, trio.Event())

    def tell(self, id: str) -> None:
        """Something has become of a workflow."""
        event = self._events.pop(id, None)
        if event is not None:
            event.set()

    def tell_all(self) -> None:
        """Nothing more will be told."""
        for id in list(self._events):
            self.tell(id)

    async def look(self, store: Store) -> None:
        """Find out in one query what other processes have brought to an end."""
        if self._events:
            for row in await store.find(list(self._events)):
                if row.status.final or row.status is Status.STUCK:
                    self.tell(row.id)

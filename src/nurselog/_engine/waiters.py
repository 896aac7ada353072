"""Who waits for a workflow's end, or for its log: told one by one, so that a thousand cost no more than one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from .._log.lifecycle import Status
from ..abc import Store


class Waiters:
    """Those who wait for something to become of a workflow, by the workflows' ids."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[trio.Event]] = {}

    @contextmanager
    def waiting(self, id: str) -> Generator[trio.Event]:
        """Give what is set when something has become of a workflow; nobody looks for it any more after the block."""
        told = trio.Event()
        self._waiting.setdefault(id, []).append(told)
        try:
            yield told
        finally:
            others = self._waiting.get(id, [])
            if told in others:
                others.remove(told)
                if not others:
                    del self._waiting[id]

    def tell(self, id: str) -> None:
        """Something has become of a workflow."""
        for told in self._waiting.pop(id, ()):
            told.set()

    def tell_all(self) -> None:
        """Something may have become of each, or nothing more will be told."""
        for id in list(self._waiting):
            self.tell(id)

    async def look(self, store: Store) -> None:
        """Find out in one query what other processes have brought to an end."""
        if self._waiting:
            for row in await store.find(list(self._waiting)):
                if row.status.final or row.status is Status.STUCK:
                    self.tell(row.id)

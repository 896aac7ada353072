"""Who waits for a workflow's end, or for its log: told one by one, so that a thousand cost no more than one.

They wait for a workflow by its key: its id may be another one's by the time that somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

import trio

from .._log.events import PUBLIC, Event
from .._log.lifecycle import Status
from ..abc import Store, Workflow, WorkflowKey


class _Watched(NamedTuple):
    """A workflow that somebody waits for."""

    id: str
    waiting: list[trio.Event]


class Waiters:
    """Those who wait for something to become of a workflow.

    Args:
        came: called when somebody has come.
    """

    def __init__(self, came: Callable[[], None] = lambda: None) -> None:
        self._came = came
        self._watched: dict[WorkflowKey, _Watched] = {}

    @contextmanager
    def waiting(self, row: Workflow) -> Generator[trio.Event]:
        """Give what is set when something has become of a workflow; nobody looks for it any more after the block."""
        told = trio.Event()
        watched = self._watched.setdefault(row.key, _Watched(row.id, []))
        watched.waiting.append(told)
        self._came()
        try:
            yield told
        finally:
            watched.waiting.remove(told)
            if not watched.waiting and self._watched.get(row.key) is watched:
                del self._watched[row.key]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._watched)

    def tell(self, key: WorkflowKey) -> None:
        """Something has become of a workflow."""
        if key in self._watched:
            for told in self._watched.pop(key).waiting:
                told.set()

    def tell_all(self) -> None:
        """Something may have become of each, or nothing more will be told."""
        for key in list(self._watched):
            self.tell(key)

    async def look(self, store: Store) -> None:
        """Find out in one query what other processes have brought to an end, or deleted since."""
        if self._watched:
            asked = {key: watched.id for key, watched in self._watched.items()}
            found = await store.find(list(set(asked.values())))
            going = {row.key for row in found if not (row.status.final or row.status is Status.STUCK)}
            for key in asked.keys() - going:
                self.tell(key)


class Readers:
    """Those who wait for more of a workflow's log: apart, so that who waits for a public row sleeps through the others.

    Args:
        came: called when somebody has come.
    """

    def __init__(self, came: Callable[[], None] = lambda: None) -> None:
        self.public: Waiters = Waiters(came)
        """Who waits for a public row."""
        self.each: Waiters = Waiters(came)
        """Who waits for each row."""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.public or self.each)

    def tell_of(self, key: WorkflowKey, event: Event) -> None:
        """A workflow's log has a row more."""
        if isinstance(event, PUBLIC):
            self.public.tell(key)
        self.each.tell(key)

    def tell(self, key: WorkflowKey) -> None:
        """Something else has become of a workflow."""
        self.public.tell(key)
        self.each.tell(key)

    def tell_all(self) -> None:
        """Something may have become of each, or nothing more will be told."""
        self.public.tell_all()
        self.each.tell_all()

"""The judge's account of children: they begin with their parents' rows, end before them, and both logs agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nurselog.abc import Batch, Created, Creation, Receipt, Workflow, WorkflowKey
from nurselog.lowlevel import ChildEnded, ChildStarted, Ended, Event, Result, Row, decode_event
from tests.simulation.database import Database
from tests.simulation.history import History
from tests.simulation.laws import Breach, Law


class Family:
    """Watches who is made by whom, and who ends before whom."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._families: dict[WorkflowKey, list[WorkflowKey]] = {}

    def committed(self, batch: Batch, receipt: Receipt) -> Iterator[Breach]:
        """A batch was committed; find what is wrong with it."""
        for creation, created in zip(batch.creations, receipt.created, strict=True):
            if creation.parent is not None and created is not None:
                yield from self._born(creation, created, batch)
        for append in batch.appends:
            if append.standing and append.standing.status.final and append.key not in receipt.refused:
                yield from self._over(append.key)

    def _born(self, creation: Creation, created: Created, batch: Batch) -> Iterator[Breach]:
        assert creation.parent is not None
        if not created.new:
            yield Breach(Law.FAMILY, f"the id of {creation.id} was taken by another one", creation.id)
            return
        kids = self._families.setdefault(creation.parent, [])
        if created.workflow.key not in kids:
            kids.append(created.workflow.key)
        rows = [row for append in batch.appends if append.key == creation.parent for row in append.rows]
        if _path(creation.id) not in {e.path for e in map(_event, rows) if isinstance(e, ChildStarted)}:
            yield Breach(Law.FAMILY, "it was made, and not by the commit that says so to its parent", creation.id)

    def _over(self, key: WorkflowKey) -> Iterator[Breach]:
        if _event(self._database.logs[key][-1]) == Ended(result=Result.KILLED):
            return
        for kid in self._families.get(key, ()):
            if not (workflow := self._database.workflows[kid]).status.final:
                yield Breach(Law.OUTLIVED, f"{workflow.id} has not ended", self._database.workflows[key].id)

    def conclude(self, histories: Mapping[WorkflowKey, History]) -> Iterator[Breach]:
        """Compare what parents and children say in the end."""
        kids: dict[WorkflowKey, dict[str, Workflow]] = {}
        for one in self._database.workflows.values():
            if one.parent is not None:
                kids.setdefault(one.parent, {})[_path(one.id)] = one
        for key, history in histories.items():
            for problem in _disagreements(history, kids.get(key, {}), histories):
                yield Breach(Law.FAMILY, problem, history.id)


def _disagreements(
    parent: History, kids: Mapping[str, Workflow], histories: Mapping[WorkflowKey, History]
) -> Iterator[str]:
    started = {e.path: e.name for e in parent.events if isinstance(e, ChildStarted)}
    made = {path: kid.name for path, kid in kids.items()}
    if started != made:
        yield f"its log has the children {started}, and there are {made}"
    told: dict[str, list[object]] = {}
    for row, event in zip(parent.rows, parent.events, strict=True):
        if isinstance(event, ChildEnded):
            told.setdefault(event.path, []).append((event.result, event.reason, row.value or b""))
    ends: dict[str, list[object]] = {path: _end_of(histories[kid.key]) for path, kid in kids.items()}
    for path in sorted(told.keys() | ends.keys()):
        if told.get(path, []) != ends.get(path, []) and (path in told or not parent.killed):
            yield f"of the child at {path} it has been told {told.get(path)}, and its log says {ends.get(path)}"


def _end_of(history: History) -> list[object]:
    last = history.events[-1]
    return [(last.result, last.reason, history.rows[-1].value or b"")] if isinstance(last, Ended) else []


def _event(row: Row) -> Event:
    return decode_event(row.event)


def _path(id: str) -> str:
    return id.rpartition("/")[2]

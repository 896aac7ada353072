"""Parents that are lost while their children are on their way to the store."""

from __future__ import annotations

from typing import Any, cast

from nurselog import Status
from nurselog._engine.journal import Journal
from nurselog.abc import Created, Creation, Standing, WorkflowKey
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory


class Parent:
    """A writer who says whether it was refused."""

    def __init__(self) -> None:
        self.key = WorkflowKey(1)
        self.number = 7
        self.lost = False

    def refused(self) -> None:
        self.lost = True


def creation(parent: WorkflowKey, id: str) -> Creation:
    return Creation(
        id=id, parent=parent, name="w", digest="", status=Status.RUNNING, owner=None, at=0, rows=(), shard=0
    )


async def test_children_of_a_former_run_are_dropped_with_its_rows() -> None:
    """Else the store would make them with the rows of the run that follows, which may not come to their place."""
    journal = Journal(in_memory(VirtualClock()), None)
    former, again = (cast("Any", Parent()) for _ in range(2))
    made = list[Created | None]()
    journal.make_child(former, creation(former.key, "w/1"), made.append)
    journal.make_child(former, creation(former.key, "w/2"), made.append)
    journal.stand(again, Standing(status=Status.RUNNING, due_at=0))
    journal.make_child(again, creation(again.key, "w/3"), made.append)
    assert (former.lost, again.lost) == (True, False)
    assert made == [None, None]
    assert [one.id for lot in journal._queued for one in lot.batch().creations] == ["w/3"]

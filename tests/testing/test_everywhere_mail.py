"""Everything tried on workflows that wait for messages which nobody sends, and send some to nobody."""

from __future__ import annotations

import pytest

from nurselog import (
    UsageError,
    Workflow,
    WorkflowNotFound,
    after,
    mailbox,
    move_on_after,
    promise,
    select,
    send,
    step,
    workflow,
)
from nurselog.testing import cancel_everywhere, crash_everywhere


@step
async def note(what: object) -> None:
    """Do nothing, with something."""


@workflow
async def waiting() -> int:
    box, approval = mailbox("t", int), promise(str)
    with move_on_after(10):
        await box.receive()
    taken = await select(box, approval, after(5))
    await note(taken.index)
    with move_on_after(10):
        async for number in box:
            await note(number)
    with move_on_after(10):
        await note(await approval.result())
    return taken.index


@workflow
async def sending() -> list[str]:
    said = []
    for key in (None, "k"):
        try:
            await send("nobody", "t", 1, key=key)
        except WorkflowNotFound as exc:
            said.append(exc.workflow_id)
    return said


@pytest.mark.parametrize("flow", [waiting, sending])
def test_it_survives_every_crash(flow: Workflow[[], object]) -> None:
    assert not crash_everywhere(flow, twice=True).findings
    assert not crash_everywhere(flow, suspend=True).findings


@pytest.mark.parametrize("flow", [waiting, sending])
def test_it_survives_every_cancellation(flow: Workflow[[], object]) -> None:
    assert not cancel_everywhere(flow, crashes=True, scopes=True).findings


@workflow
async def alone() -> int:
    return 1


@workflow
async def not_alone() -> int:
    return await alone()


def test_children_are_not_tried() -> None:
    with pytest.raises(UsageError, match=r"starts another one, '.*alone', and these tests try one alone"):
        crash_everywhere(not_alone)

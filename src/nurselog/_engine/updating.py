"""Updates, from the side of who asks: a message is left, and its answer comes as a row of the workflow's log.

The key says which answer is meant, and the store leaves one message for each key. So whoever asks again, after a crash
or in another process, waits for the answer that there is, or will be; a second update there never is. A new one can be
answered only behind the rows that were there before it; that of a known one may be anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import InboxFull, WorkflowEnded
from .._log.events import Answered, Ended, Result
from .._log.failures import decode_error, rebuild_error
from ..abc import Posted
from ..abc import Workflow as WorkflowRow
from .follower import Follower
from .run import END_STATUS

if TYPE_CHECKING:
    from .desk import Desk


async def ask_for(desk: Desk, row: WorkflowRow, name: str, value: object, key: str, annotation: Any) -> Any:
    """Leave an update, and wait for its answer; raises what `Engine.update` does. A checkpoint."""
    message = desk.office.update_of(row, name, value, key)
    known = max((one.seq for one in await desk.read(row, -1)), default=0)
    with desk.opened():
        [posted] = await desk.office.leave([message])
    if posted is Posted.FULL:
        raise InboxFull(row.id, desk.office.max_inbox)
    data = await _answer(desk, row, key, known if posted is Posted.LEFT else 0)
    return desk.codec.decode(data, annotation)


async def _answer(desk: Desk, row: WorkflowRow, key: str, after: int) -> bytes:
    follower = Follower(desk, row, after)
    while True:
        for entry in await follower.more():
            match entry.event:
                case Answered(key=found, result=result) if found == key:
                    if result is Result.ERROR:
                        raise rebuild_error(decode_error(entry.row.value or b""))
                    return entry.row.value or b""
                case Ended(result=result):
                    raise WorkflowEnded(row.id, END_STATUS[result].value, update=key)
                case _:
                    pass

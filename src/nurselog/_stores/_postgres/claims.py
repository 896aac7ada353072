"""Taking workflows over: what is due and has no living owner.

One transaction picks, appends `claimed` and enters the new owner; only when it is committed are the logs read. From
`claimed` on, the former owner's appends do not pass the fence; so what is read is all that there is.

A claim whose answer is lost may have been committed: then workflows are this worker's, and it does not know. Nobody
would ever claim them while it lives. So each claim has a number, all its writers are made of it, and the next claim or
heartbeat undoes those whose outcome is unknown. One may even be on its way still, for networks stall, and deliver when
nobody waits any more. So the numbers ascend, from a random one on, and what was undone is not let in any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..._log.events import ROW_FORMAT, Claimed, encode_event
from ...abc import Claim, Message, Wanted, WorkflowKey
from .binary import INT8S, Parameter, column, int4, int8, int8s, number, text
from .driver import TrioConnection
from .queries import find_by_key, names_of, read_logs, read_messages
from .session import Session, persistently, shard_of_key
from .workers import remove_dead, undo_claims

_CLAIM = b"SELECT * FROM claim_workflows($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ORDER BY key"


async def claim(connection: TrioConnection, session: Session, wanted: Wanted, now: int) -> list[Claim]:
    """Take over what is wanted, and return it with its logs and messages.

    A worker without a lease gets nothing: nobody could see that it is gone, and what it owned would be lost.
    """
    await undo_claims(connection, session)
    claims: list[Claim] = []
    attempts: list[tuple[int, int]] = []
    try:
        for shard in _shards(session, wanted):
            limit = wanted.limit - len(claims)
            if limit > 0:
                await remove_dead(connection, session, shard, session.worker)
                session.claims += 1
                attempts.append((shard, session.claims))
                claims += await _claim_in(connection, session, attempts[-1], wanted, limit, now)
    except BaseException:
        session.unanswered |= {*attempts}  # also those that were answered: what they gave, nobody hears of
        raise
    return claims


async def _claim_in(
    connection: TrioConnection, session: Session, attempt: tuple[int, int], wanted: Wanted, limit: int, now: int
) -> list[Claim]:
    shard, claim_number = attempt
    parameters = [
        int4(shard),
        text(session.worker),
        int8(claim_number),
        int8(now),
        session.lease_now,
        int8(limit),
        Parameter(INT8S, None) if wanted.keys is None else int8s(sorted(wanted.keys)),
        *names_of(wanted),
        int8(ROW_FORMAT),
        text(encode_event(Claimed(worker=session.worker)).decode()),
    ]
    result = await persistently(partial(connection.call, _CLAIM, parameters))
    writers = dict(zip(column(result, 0, number), column(result, 1, number), strict=True))
    return await _read(connection, shard, {WorkflowKey(key): writer for key, writer in writers.items()})


async def _read(connection: TrioConnection, shard: int, writers: dict[WorkflowKey, int]) -> list[Claim]:
    keys = list(writers)
    if not keys:
        return []
    logs = await read_logs(connection, shard, keys)
    mail: dict[WorkflowKey, list[Message]] = {key: [] for key in keys}
    for message in await read_messages(connection, shard, keys):
        mail[message.key].append(message)
    workflows = {workflow.key: workflow for workflow in await find_by_key(connection, shard, keys)}
    return [
        Claim(workflow=workflows[key], writer=writer, rows=logs[key], messages=mail[key])
        for key, writer in writers.items()
    ]


def _shards(session: Session, wanted: Wanted) -> Sequence[int]:
    return range(session.shards) if wanted.keys is None else sorted({shard_of_key(key) for key in wanted.keys})

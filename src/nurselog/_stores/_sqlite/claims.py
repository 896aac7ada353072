"""Taking workflows over: what is due and has no living owner.

One transaction removes the dead, picks, appends `claimed` and enters the new owner; only when it is committed are the
logs read. From `claimed` on, the former owner's appends do not pass the fence; so what is read is all that there is.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

import msgspec

from ..._log.events import ROW_FORMAT, Claimed, encode_event
from ..._log.lifecycle import Status
from ...abc import Claim, Message, Wanted, WorkflowKey
from . import queries
from .bulk import FINAL, Query, as_json, transaction
from .session import Session
from .workers import let_go_of_unread, reap, remove_beacons

_KEYS = msgspec.json.Decoder(list[WorkflowKey])

_DUE = Query(
    _KEYS,
    "key",
    f"""
    workflow
    WHERE owner IS NULL AND due_at <= :now AND {queries.WANTED}
    ORDER BY due_at, key LIMIT :limit""",
)

_NAMED = Query(
    _KEYS,
    "key",
    """
    workflow
    WHERE key IN (SELECT value FROM json_each(:keys)) AND owner IS NULL
        AND status NOT IN (SELECT value FROM json_each(:final))
    ORDER BY key LIMIT :limit""",
)

_APPEND_CLAIMED = """
    INSERT INTO log (workflow, seq, at, after, writer, format, event)
    SELECT claim.key, coalesce(last.seq, 0) + 1, max(:now, coalesce(last.at, 0)), 0, claim.writer, :format, :event
    FROM (SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS writer FROM json_each(:writers))
        AS claim
    LEFT JOIN log AS last ON last.workflow = claim.key
        AND last.seq = (SELECT max(seq) FROM log WHERE workflow = claim.key)
    ORDER BY claim.key"""

# A cancelled workflow goes on being cancelled; everything else that is not final runs, also what was stuck.
_OWN = """
    UPDATE workflow SET owner = :worker, due_at = 0, problem = NULL, updated_at = :now,
        status = CASE status WHEN :cancelling THEN status ELSE :running END
    WHERE key IN (SELECT value FROM json_each(:keys))"""

_HIGHEST_WRITER = 2**63 - 1


def claim(session: Session, wanted: Wanted, now: int) -> list[Claim]:
    """Take over what is wanted, and return it with its logs and messages.

    A worker without a lease gets nothing: nobody could see that it is gone, and what it owned would be lost. What was
    claimed and could not be read is owned, and nobody knows: the next claim or heartbeat lets go of it.
    """
    with transaction(session.connection):
        roll = reap(session, now, spared=session.worker)
        let_go_of_unread(session)
        keys = sorted(_pick(session.connection, wanted, now)) if wanted.worker in roll.living else []
        writers = {key: 1 + secrets.randbelow(_HIGHEST_WRITER) for key in keys}
        if writers:
            _take_over(session.connection, wanted.worker, writers, now)
    session.unread = set(writers)
    remove_beacons(roll)
    if not writers:
        return []
    claims = _read(session, writers)
    session.unread.clear()
    return claims


def _pick(connection: sqlite3.Connection, wanted: Wanted, now: int) -> Sequence[WorkflowKey]:
    if wanted.keys is None:
        return _DUE.fetch(connection, now=now, limit=wanted.limit, **queries.wanted_parameters(wanted))
    return _NAMED.fetch(connection, keys=as_json(wanted.keys), final=FINAL, limit=wanted.limit)


def _take_over(connection: sqlite3.Connection, worker: str, writers: dict[WorkflowKey, int], now: int) -> None:
    claimed = {
        "writers": as_json(list(writers.items())),
        "now": now,
        "format": ROW_FORMAT,
        "event": encode_event(Claimed(worker=worker)).decode(),
    }
    connection.execute(_APPEND_CLAIMED, claimed)
    owned = {
        "worker": worker,
        "now": now,
        "cancelling": Status.CANCELLING.value,
        "running": Status.RUNNING.value,
        "keys": as_json(list(writers)),
    }
    connection.execute(_OWN, owned)


def _read(session: Session, writers: dict[WorkflowKey, int]) -> list[Claim]:
    keys = list(writers)
    logs = queries.read_logs(session, keys)
    mail: dict[WorkflowKey, list[Message]] = {key: [] for key in keys}
    for message in queries.read_messages(session, keys):
        mail[message.key].append(message)
    workflows = {workflow.key: workflow for workflow in queries.find_by_key(session, keys)}
    return [
        Claim(workflow=workflows[key], writer=writer, rows=logs[key], messages=mail[key])
        for key, writer in writers.items()
    ]

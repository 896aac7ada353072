"""Workers come and go: the rows in `worker`, and who of them lives.

A worker is dead when its lease has expired, or when its beacon is out. Its workflows and its row are let go in one
transaction, so a row that is there means: nobody has taken anything from this worker. Therefore only who has a row may
own a workflow; the others must enter again first, with nothing in their hands. And therefore a lease that has expired
may be extended as long as the row is there: whoever looks first, the worker or another one, decides.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..._errors import StoreUnavailable
from . import beacon
from .bulk import Query, as_json, transaction
from .schema import check_version, load_migrations
from .session import Session


class _Worker(msgspec.Struct, frozen=True, array_like=True):
    id: str
    expires_at: int
    beacon: str | None


_WORKERS = Query(msgspec.json.Decoder(list[_Worker]), "json_array(id, expires_at, beacon)", "worker")

_ENTER = """
    INSERT INTO worker (id, expires_at, pid, host, beacon)
    VALUES (:worker, :expires_at, :pid, :host, :beacon)"""

_EXTEND = "UPDATE worker SET expires_at = :expires_at WHERE id = :worker"

_LET_GO = "UPDATE workflow SET owner = NULL WHERE owner IN (SELECT value FROM json_each(:workers))"

_DISOWN = "UPDATE workflow SET owner = NULL WHERE owner = :worker AND key IN (SELECT value FROM json_each(:keys))"

_REMOVE = "DELETE FROM worker WHERE id IN (SELECT value FROM json_each(:workers))"


class Roll(NamedTuple):
    """Who is there, after the dead were removed."""

    living: frozenset[str]
    graves: tuple[Path, ...]
    """The beacons of the dead, to be removed when the transaction is committed: while a row is there, its beacon
    must be there, or nobody could see by it that the worker is dead."""


def enter(session: Session, now: int) -> None:
    """Enter the worker.

    Raises:
        StoreUnavailable: if a living one has the same id.
    """
    with transaction(session.connection):
        roll = reap(session, now)
        if session.worker in roll.living:
            raise StoreUnavailable(
                f"{session.location.url}: a worker {session.worker!r} is alive; give each engine an id of its own, or "
                "wait until the lease of its predecessor has expired"
            )
        _enter(session, now)
    remove_beacons(roll)


def renew(session: Session, now: int) -> bool:
    """Extend the lease; where others were faster, enter again with nothing in hand, and return False."""
    check_version(session.connection, session.location.url, len(load_migrations()))
    expires_at = now + session.lease.duration
    with transaction(session.connection):
        let_go_of_unread(session)
        extended = session.connection.execute(_EXTEND, {"worker": session.worker, "expires_at": expires_at}).rowcount
        if not extended:
            _enter(session, now)
    session.unread.clear()
    return bool(extended)


def reenter(session: Session, now: int) -> None:
    """Enter again with nothing in hand."""
    with transaction(session.connection):
        _enter(session, now)


def leave(session: Session) -> None:
    """Remove the worker, and let its workflows go."""
    with transaction(session.connection):
        _remove(session, [session.worker])


def reap(session: Session, now: int, spared: str | None = None) -> Roll:
    """Remove the dead, and let their workflows go; inside a transaction.

    Not the one who asks, `spared`, should it be too late with its lease: it does not count among the living, but keeps
    what it has until somebody else looks.
    """
    workers = _WORKERS.fetch(session.connection)
    dead = [worker for worker in workers if _is_dead(session, worker, now)]
    removed = [worker for worker in dead if worker.id != spared]
    if removed:
        _remove(session, [worker.id for worker in removed])
    return Roll(
        living=frozenset(worker.id for worker in workers if worker not in dead),
        graves=tuple(path for worker in removed if (path := _beacon_path(session, worker))),
    )


def let_go_of_unread(session: Session) -> None:
    """Let go of what was claimed and could not be read; inside a transaction."""
    if session.unread:
        session.connection.execute(_DISOWN, {"worker": session.worker, "keys": as_json(session.unread)})


def remove_beacons(roll: Roll) -> None:
    """Remove what the dead left beside the database."""
    for path in roll.graves:
        beacon.remove(path)


def _enter(session: Session, now: int) -> None:
    _remove(session, [session.worker])
    session.put_out_beacon()
    path = session.location.path
    session.beacon = beacon.light(path) if path else None
    row = {
        "worker": session.worker,
        "expires_at": now + session.lease.duration,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "beacon": session.beacon.name if session.beacon else None,
    }
    session.connection.execute(_ENTER, row)


def _remove(session: Session, workers: list[str]) -> None:
    parameters = {"workers": as_json(workers)}
    session.connection.execute(_LET_GO, parameters)
    session.connection.execute(_REMOVE, parameters)


def _is_dead(session: Session, worker: _Worker, now: int) -> bool:
    path = _beacon_path(session, worker)
    return worker.expires_at <= now or (path is not None and beacon.is_out(path))


def _beacon_path(session: Session, worker: _Worker) -> Path | None:
    """Beacons stand beside the database. None for one that has none."""
    path = session.location.path
    return path.with_name(worker.beacon) if path and worker.beacon else None

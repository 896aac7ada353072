"""Workers come and go: the rows in `worker`, one for each shard, so that whoever claims looks at one shard only.

A worker is dead when its lease has expired, by the database's clock: machines have one each, and a shard has one.
It is dead, too, when its *beacon* is out: a lock that its listening connection holds, and that the server lets go of
when the process dies, however it dies. So a takeover need not wait for the lease. A connection can also break while the
process lives. It makes a new one at once, with a new beacon; if somebody is faster, a living worker is taken over,
which costs a replay and lets unfinished steps run twice, but no more, because what makes a takeover safe is the log.
When the server itself was restarted all beacons are out, and mean nothing: then leases count, until each worker has lit
a new one.

Whoever finds a worker dead removes its row and lets its workflows go, in one transaction; so a row that is there means:
nobody has taken anything from this worker. Therefore a lease that has expired may be extended as long as it is there.
"""

from __future__ import annotations

import os
import socket

from ..._errors import StoreTooNew, StoreUnavailable
from .binary import int4, int8, number, text, texts, truth
from .driver import TrioConnection
from .migrations import load_migrations
from .session import Session

_REMOVE_DEAD = b"SELECT remove_dead($1, $2, $3)"

_ENTER = b"SELECT enter_worker($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

_REMOVE = b"SELECT remove_workers($1, $2)"

_RENEW = b"SELECT renew_worker($1, $2, $3, $4)"

_UNDO = b"SELECT undo_claim($1, $2, $3)"

_OLDEST = b"SELECT oldest FROM about"


async def enter(connection: TrioConnection, session: Session, *, again: bool = False) -> None:
    """Enter the worker with nothing in its hands.

    Args:
        connection: a connection.
        session: says which worker.
        again: whether it has been here before, and may still have rows.

    Raises:
        StoreUnavailable: if a living one has the same id.
    """
    for shard in range(session.shards):
        await remove_dead(connection, session, shard)
        parameters = [
            int4(shard),
            text(session.worker),
            int8(session.lease.duration),
            session.lease_now,
            int8(os.getpid()),
            text(socket.gethostname()),
            int4(session.voice.beacon),
            int8(session.voice.lit_since),
            int8(session.claims),
            int8(int(again)),
        ]
        if not truth((await connection.call(_ENTER, parameters)).get_value(0, 0)):
            raise StoreUnavailable(
                f"{session.address.shown}: a worker {session.worker!r} is alive; give each engine an id of its own, or "
                "wait until the lease of its predecessor has expired"
            )


async def renew(connection: TrioConnection, session: Session) -> bool:
    """Extend the lease; where others were faster, enter again with nothing in hand, and return False."""
    oldest, known = number((await connection.call(_OLDEST)).get_value(0, 0)), len(load_migrations())
    if oldest > known:
        raise StoreTooNew(session.address.shown, oldest, known)
    await undo_claims(connection, session)
    for shard in range(session.shards):
        parameters = [int4(shard), text(session.worker), int8(session.lease.duration), session.lease_now]
        if not truth((await connection.call(_RENEW, parameters)).get_value(0, 0)):
            session.lost = True
    if not session.lost:
        return True
    await reenter(connection, session)
    return False


async def reenter(connection: TrioConnection, session: Session) -> None:
    """Enter again with nothing in hand, shard by shard; if that is broken off, `renew` says that the lease is lost."""
    session.lost = True
    await enter(connection, session, again=True)
    session.lost = False  # not before the answer: whoever has to ask again must hear it


async def leave(connection: TrioConnection, session: Session) -> None:
    """Remove the worker, and let its workflows go."""
    for shard in range(session.shards):
        await connection.call(_REMOVE, [int4(shard), texts([session.worker])])


async def remove_dead(connection: TrioConnection, session: Session, shard: int, spared: str | None = None) -> None:
    """Remove the dead, but not the one who asks, should it be too late with its lease; let their workflows go."""
    await connection.call(_REMOVE_DEAD, [int4(shard), session.lease_now, text(spared)])


async def undo_claims(connection: TrioConnection, session: Session) -> None:
    """Let go of what was claimed if the answer was lost: nobody knows of it."""
    while session.unanswered:
        shard, attempt = min(session.unanswered)
        await connection.call(_UNDO, [int4(shard), text(session.worker), int8(attempt)])
        session.unanswered.discard((shard, attempt))  # another claim of this worker may have done it meanwhile

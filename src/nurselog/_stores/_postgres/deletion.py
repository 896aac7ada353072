"""Removing families that have ended, with everything that belongs to them; the SQL is in `sql/postgres_0001.sql`."""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Deleted, WorkflowKey
from .binary import column, int4, int8, int8s, number, string_or_none
from .driver import TrioConnection
from .session import Session, shard_of_key

_DELETE = b"SELECT * FROM delete_families($1, $2)"

# How it has ended, as the index on that has it, or it would not be used. Ids of descendants begin with the root's and a
# slash; `0` is what comes behind the slash.
_EXPIRED = b"""
    SELECT key FROM workflow AS root
    WHERE shard = $1 AND parent IS NULL AND status IN ('completed', 'failed', 'cancelled', 'killed')
        AND updated_at < $2 AND NOT EXISTS (
            SELECT FROM workflow AS member
            WHERE member.shard = $1 AND member.id > root.id || '/' AND member.id < root.id || '0'
                AND member.status NOT IN ('completed', 'failed', 'cancelled', 'killed')
        )
    ORDER BY updated_at LIMIT $3"""


async def delete(connection: TrioConnection, roots: Sequence[WorkflowKey]) -> list[Deleted]:
    """Remove the families of these roots in which all have ended, shard by shard."""
    by_shard: dict[int, list[WorkflowKey]] = {}
    for root in roots:
        by_shard.setdefault(shard_of_key(root), []).append(root)
    became: dict[int, Deleted] = {}
    for shard, some in sorted(by_shard.items()):
        result = await connection.call(_DELETE, [int4(shard), int8s(some)])
        lines = zip(
            column(result, 0, number), column(result, 1, number), column(result, 2, string_or_none), strict=True
        )
        became |= {root: Deleted(removed=removed, living=living) for root, removed, living in lines}
    return [became.get(root, Deleted()) for root in roots]


async def expired(connection: TrioConnection, session: Session, before: int, limit: int) -> list[WorkflowKey]:
    """Return roots that ended before a time, and in whose families all have ended, shard by shard."""
    found: list[int] = []
    for shard in range(session.shards):
        result = await connection.call(_EXPIRED, [int4(shard), int8(before), int8(limit - len(found))])
        found += column(result, 0, number)
    return [WorkflowKey(key) for key in found]

"""A workflow as a list shows it, and which ones a list shows."""

# No `from __future__ import annotations`: as text, they would be looked up where the class is public, not here.

from collections.abc import Iterable
from datetime import datetime
from typing import Self, cast

import msgspec

from .._errors import UsageError
from .._flow.arguments import NATURAL
from .._flow.names import text_or_none
from .._flow.times import from_microseconds
from .._log.lifecycle import Status
from ..abc import Filter, Workflow, WorkflowKey


class WorkflowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One workflow of a list."""

    id: str
    name: str
    """The recorded name of its function."""
    version: str | None
    status: Status
    problem: str | None
    """Why it is stuck, or that this engine has no function of its name."""
    due: datetime | None
    """When it goes on by itself, UTC; None if it is under way, has ended, or waits for somebody."""
    created: datetime
    updated: datetime
    key: WorkflowKey
    """Its place in the list, for the next page."""

    @classmethod
    def of(cls, row: Workflow, *, here: bool) -> Self:
        """Make it from the store's row, for an engine that has the workflow's function here, or has not."""
        problem, version = row.problem, f" in version {row.version!r}" if row.version else ""
        if problem is None and not (row.status.final or row.owner or here):
            problem = f"no worker for {row.name!r}{version} here"
        return cls(
            id=row.id,
            name=row.name,
            version=row.version,
            status=row.status,
            problem=problem,
            due=from_microseconds(row.due_at) if row.due_at else None,
            created=from_microseconds(row.created_at),
            updated=from_microseconds(row.updated_at),
            key=row.key,
        )


_MOST = 2**63 - 1
"""The largest limit that a database takes; nobody sees the difference to a larger one."""


def filter_of(
    status: Iterable[Status] | None, name: str | None, prefix: str | None, limit: int, before: WorkflowInfo | None
) -> Filter:
    """Return what the arguments of `Engine.list` ask for.

    Raises:
        UsageError: if one of them is not what it should be.
    """
    NATURAL.check("limit", limit)
    if not isinstance(before, WorkflowInfo | None):
        raise UsageError(f"before must be a WorkflowInfo, as list() returns them, not {before!r}")
    return Filter(
        status=None if status is None else _statuses(status),
        name=text_or_none("name", name),
        prefix=text_or_none("prefix", prefix),
        limit=min(limit, _MOST),
        before=None if before is None else before.key,
    )


def _statuses(given: object) -> frozenset[Status]:
    found = tuple(cast("Iterable[object]", given)) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(one, Status) for one in found):
        raise UsageError(f"status must be a list of nurselog.Status, not {given!r}")
    return frozenset(cast("tuple[Status, ...]", found))

"""A workflow as a list shows it."""

# No `from __future__ import annotations`: as text, they would be looked up where the class is public, not here.

from datetime import datetime
from typing import Self

import msgspec

from .._flow.times import from_microseconds
from .._log.lifecycle import Status
from ..abc import Workflow, WorkflowKey


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

"""An engine's nursery is its own affair: what stops an engine must not come out in a group."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from .._flow.groups import members_of


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise a single error as it is, not in the group that a nursery makes of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        members = members_of(group)
        if len(members) != 1:
            raise
        error = members[0]
        context, cause, suppress = error.__context__, error.__cause__, error.__suppress_context__
    else:
        return
    try:
        raise error
    finally:
        error.__context__, error.__cause__, error.__suppress_context__ = context, cause, suppress
        del error, context, cause

"""An engine's nursery is its own affair: what the host's code raises must come out as it went in."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from .._errors import EngineClosed
from .._flow.strand import members_of


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise a single error as it is, not in the group that a nursery makes of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        members = members_of(group)
        causes = [one for one in members if not isinstance(one, EngineClosed)]  # that is but the echo of another one
        if len(causes or members) > 1:
            raise
        error = (causes or members)[0]
        context, cause, suppress = error.__context__, error.__cause__, error.__suppress_context__
    else:
        return
    try:
        raise error
    finally:
        error.__context__, error.__cause__, error.__suppress_context__ = context, cause, suppress
        del error, context, cause

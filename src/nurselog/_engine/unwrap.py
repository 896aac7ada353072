"""An engine's nursery is its own affair: what the host's code raises must come out as it went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise a single error as it is, not in the group that a nursery makes of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
        context, cause, suppress = error.__context__, error.__cause__, error.__suppress_context__
    else:
        return
    try:
        raise error
    finally:
        error.__context__, error.__cause__, error.__suppress_context__ = context, cause, suppress
        del error, context, cause

"""Ids of spans that each process can compute.

A workflow begins in one process and ends in another, and its steps, whose parent its span is, end in both.
OpenTelemetry draws a span's id when the span is made, and a span is sent when it ends: no process can go on with
another's. What it can do is make the same span again, when the ids are a digest of what the span is of. Then it does
not matter who ends it, and what was begun and never ended was never sent.

OpenTelemetry has no argument for ids; the SDK asks its id generator. So what is wanted is left in a context variable
for `ids.IdGenerator`, which the application gives to the SDK.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import NamedTuple


class Ids(NamedTuple):
    """Of one span."""

    trace: int
    """128 bits; for spans without a parent, as all others have their parent's."""
    span: int
    """64 bits."""


def ids_of(seed: str, id: str, what: str) -> Ids:
    """Return the ids of a span.

    Args:
        seed: the workflow's, which its forks share: so they are in the same trace.
        id: the workflow's.
        what: which of the workflow's spans it is.
    """
    return Ids(_digest(16, seed), _digest(8, seed, id, what))


def _digest(size: int, *parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=size).digest()) or 1  # 0 is no id


wanted: ContextVar[Ids | None] = ContextVar("nurselog_wanted_ids", default=None)
"""The ids of the span that is being made."""


@contextmanager
def wanting(ids: Ids) -> Generator[None]:
    """Have the span that is made in the block get these ids."""
    token = wanted.set(ids)
    try:
        yield
    finally:
        wanted.reset(token)

"""Names that outlive a process: paths, workflow ids, step keys, and the seeds of what looks random.

All of it follows from what is in the log, by BLAKE2b and never by `hash()`, so that every process and every version
of Python finds the same. Each use has its own `person` string: equal inputs of two uses have nothing in common.
"""

from __future__ import annotations

import base64
import random
import re
import uuid
from hashlib import blake2b
from typing import TypeAlias

from .._errors import UsageError

Path: TypeAlias = tuple[int, ...]
"""A place in a workflow's tree; the empty path is the workflow itself. The order of paths is the order of tuples."""

TASK = 1 << 32
"""Added to the number of a plain task, so that tasks and durable operations count apart, and tasks come last."""

_COMPONENT = re.compile(r"(t?)([1-9][0-9]{0,9})")
_ID = re.compile(r"[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")


def format_path(path: Path) -> str:
    """Return the path as the log has it: `2.t1.1`, and nothing for the workflow itself."""
    return ".".join([str(n) if n < TASK else f"t{n - TASK}" for n in path])


def parse_path(text: str) -> Path:
    """Return the path that `format_path` made `text` of.

    Raises:
        ValueError: if it made it of none.
    """
    return tuple(_parse_component(part, text) for part in text.split(".")) if text else ()


def _parse_component(part: str, text: str) -> int:
    match = _COMPONENT.fullmatch(part)
    number = int(match[2]) if match else TASK
    if match is None or number >= TASK:
        raise ValueError(f"{text!r} is no path: {part!r} is neither a number from 1 on, nor `t` and such a number")
    return TASK + number if match[1] else number


def check_id(id: object) -> None:
    """Check that `id` can name a workflow that has no parent.

    Raises:
        UsageError: if it is not text, empty, longer than 200 characters, or has a slash (children's ids have those),
            a control character, or half a surrogate pair, which no database takes.
    """
    if not isinstance(id, str) or _ID.fullmatch(id) is None:
        raise UsageError(
            f"{id!r} cannot be a workflow's id: it must be a text of 1 to 200 characters, without '/' and without "
            "control characters"
        )


def step_key(workflow_id: str, path: Path) -> str:
    """Return a name for the step at `path` that other services can take as an idempotency key.

    The same over retries, restarts and takeovers; another one in a fork, since that has its own id.

    Returns:
        32 characters, all of them letters, digits, `-` or `_`.
    """
    return base64.urlsafe_b64encode(_digest(b"step key", 24, workflow_id, path)).decode()


def transaction_key(workflow_id: str, seed: str, path: Path) -> str:
    """Return the name of the transaction at `path` in a database, which several stores may use at the same time.

    Unlike a step key it is another one when a workflow is made anew under an id that was used before, in another store
    or after it was deleted: the outcome of that one's transaction is not this one's.
    """
    return base64.urlsafe_b64encode(_digest(b"transaction", 24, f"{seed}/{workflow_id}", path)).decode()


def seeded_random(seed: str, path: Path) -> random.Random:
    """Return a generator that yields the same numbers whenever the workflow comes to `path`.

    Args:
        seed: the workflow's, from its `started` event.
        path: where it is asked for.
    """
    return random.Random(int.from_bytes(_digest(b"random", 32, seed, path), "big"))


def seeded_uuid4(seed: str, path: Path) -> uuid.UUID:
    """Return the version 4 UUID that belongs to `path`; arguments as for `seeded_random`."""
    return uuid.UUID(bytes=_digest(b"uuid4", 16, seed, path), version=4)


def child_id(workflow_id: str, path: str) -> str:
    """Return the id of the child workflow that was started at `path`."""
    return f"{workflow_id}/{path}"


def child_seed(seed: str, path: Path) -> str:
    """Return the seed of the child workflow that was started at `path`: 16 hexadecimal digits."""
    return _digest(b"child", 8, seed, path).hex()


def _digest(use: bytes, size: int, name: str, path: Path) -> bytes:
    """The path goes first: it has no NUL, so no two pairs of path and name make the same bytes."""
    return blake2b(f"{format_path(path)}\0{name}".encode(), digest_size=size, person=use).digest()

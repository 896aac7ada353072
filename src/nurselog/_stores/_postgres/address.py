"""A store's address, taken apart. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from ..._errors import UsageError

MOST_SHARDS = 1024
"""A key has room for so many."""

_ADDRESS = re.compile(r"postgres(?:ql)?://(?P<place>[^?\0\ud800-\udfff]*)(?:\?(?P<options>[^\0\ud800-\udfff]*))?")
_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,39}")
_SECRETS = re.compile(r"(?<=://)(?P<user>[^:@/?]*):.*@|(?<=[?&])(?P<name>(?:ssl)?password)=[^&]*")

OURS = frozenset({"schema", "shards", "synchronous"})


class Address(NamedTuple):
    """Where a store is."""

    shown: str
    """For messages: without a password."""
    conninfo: str
    """What `libpq` is told: the address without what is for us."""
    schema: str
    shards: int | None = None
    """How many it must have; None: as many as it has, and one if it is made anew."""
    durable: bool = True
    """Whether a commit waits for the disk: `synchronous=full`, or `normal`."""


def parse(url: str) -> Address:
    """Return where a `postgresql:` address points to.

    Raises:
        UsageError: if it points nowhere.
    """
    found = _ADDRESS.fullmatch(url)
    pairs = [pair.partition("=") for pair in (found["options"] or "").split("&") if pair] if found else []
    ours = {name: unquote(value) for name, _, value in pairs if name in OURS}
    schema, given = ours.get("schema", "nurselog"), ours.get("shards")
    shards = None if given is None else int(given) if given.isdecimal() else 0
    synchronous = ours.get("synchronous", "full")
    fits = _SCHEMA.fullmatch(schema) and (shards is None or 1 <= shards <= MOST_SHARDS)
    if not found or not fits or synchronous not in {"full", "normal"}:
        raise UsageError(
            f"{hide(url)!r} is no address of a PostgreSQL store. Write postgresql://user@host/database, with any "
            "options of libpq after a question mark; beside those there are schema= (lower-case letters, digits and "
            f"_, but no pg_ at the beginning), shards= (1 to {MOST_SHARDS}) and synchronous=normal."
        )
    rest = "&".join("".join(pair) for pair in pairs if pair[0] not in OURS)
    conninfo = f"postgresql://{found['place']}{'?' if rest else ''}{rest}"
    return Address(hide(url), conninfo, schema, shards, synchronous == "full")


def check_schema(schema: str) -> None:
    """See that a store can be in a schema of this name.

    Raises:
        UsageError: if none can.
    """
    if not _SCHEMA.fullmatch(schema):
        raise UsageError(
            f"{schema!r} is no name of a store's schema: it has lower-case letters, digits and _, but no pg_ at the "
            "beginning"
        )


def hide(url: str) -> str:
    """Return an address without its password."""
    return _SECRETS.sub(lambda found: f"{found['user']}:***@" if found["name"] is None else f"{found['name']}=***", url)

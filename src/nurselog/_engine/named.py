"""A workflow that is known by its name only: who starts it does not have its code.

The names of its parameters are the code's, too. So such a call is recorded by position, as an array, where a call by
the function itself is an object; whoever runs it binds the one as Python would, and reads the other. What has a default
and was left out is not in such a log: it gets the default that the code has when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from .._log.signature import Decode, Encode


class Positions:
    """What takes the place of a signature."""

    def encode_call(self, encode: Encode, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """Return the bytes of a call."""
        assert not kwargs, "there is no way to give them"
        return encode(list(args), Any)

    def decode_call(self, decode: Decode, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call by position, however it was recorded: parameters are in their order."""
        found: object = decode(data, Any)
        values = cast("dict[str, Any]", found).values() if isinstance(found, dict) else cast("list[Any]", found)
        return tuple(values), {}


class Named(NamedTuple):
    """A workflow function that is not here."""

    name: str
    version: str | None

    @property
    def signature(self) -> Positions:
        """How its calls are recorded."""
        return Positions()

    @property
    def returns(self) -> Any:
        """What it returns: whatever that is."""
        return Any

"""Values as PostgreSQL's binary formats have them, in and out. Pure functions; `call` of `driver` takes what they make.

Why not psycopg's adaptation? It looks at each value of each list to choose among types, for each statement anew. A
store knows its types: an array of numbers is one `struct.pack`. Measured, a batch of 100 rows: 25 against 310 us.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")

INT4, INT8, TEXT, BYTEA = 23, 20, 25, 17
"""Oids of types, which never change."""
INT8S, TEXTS, BYTEAS = 1016, 1009, 1001
"""Those of their arrays."""

_NULL = b"\xff\xff\xff\xff"
_EMPTY = struct.Struct("!iii")
_HEAD = struct.Struct("!iiiii")
_LENGTH = struct.Struct("!i")
_NUMBER = struct.Struct("!q")
_RECORD = struct.Struct("!4x" + "8xq" * 5 + "8xi")
_pack_length, _pack_number = _LENGTH.pack, _NUMBER.pack


class Parameter(NamedTuple):
    """A value, and the oid of its type."""

    oid: int
    data: bytes | None


def int4(value: int) -> Parameter:
    """Return a parameter of type `integer`."""
    return Parameter(INT4, _pack_length(value))


def int8(value: int | None) -> Parameter:
    """Return a parameter of type `bigint`."""
    return Parameter(INT8, None if value is None else _pack_number(value))


def text(value: str | None) -> Parameter:
    """Return a parameter of type `text`. PostgreSQL has no NUL in texts: one becomes the character that shows it."""
    return Parameter(TEXT, None if value is None else _encode(value))


def int8s(values: Sequence[int | None]) -> Parameter:
    """Return a parameter of type `bigint[]`."""
    if None in values:
        return _array(INT8S, INT8, [None if value is None else _pack_number(value) for value in values])
    if not values:
        return Parameter(INT8S, _EMPTY.pack(0, 0, INT8))
    count = len(values)
    flat = [8] * (2 * count)
    flat[1::2] = values  # type: ignore[assignment]  # there is no None in it
    return Parameter(INT8S, struct.pack("!iiiii" + "iq" * count, 1, 0, INT8, count, 1, *flat))


def texts(values: Sequence[str | None]) -> Parameter:
    """Return a parameter of type `text[]`."""
    return _array(TEXTS, TEXT, [None if value is None else _encode(value) for value in values])


def encoded_texts(values: Sequence[bytes | None]) -> Parameter:
    """Return a parameter of type `text[]`, of texts that are UTF-8 already."""
    return _array(TEXTS, TEXT, values)


def byteas(values: Sequence[bytes | None]) -> Parameter:
    """Return a parameter of type `bytea[]`."""
    return _array(BYTEAS, BYTEA, values)


def without_nul(value: str) -> str:
    """Return a text as PostgreSQL can have it."""
    return value.replace("\0", "\N{SYMBOL FOR NULL}")


def _encode(value: str) -> bytes:
    return without_nul(value).encode("utf-8", "backslashreplace")


def _array(oid: int, element: int, values: Sequence[bytes | None]) -> Parameter:
    if not values:
        return Parameter(oid, _EMPTY.pack(0, 0, element))
    parts = [_HEAD.pack(1, int(None in values), element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_pack_length(len(value)), value)
    return Parameter(oid, b"".join(parts))


class Result(Protocol):
    """What the server answered."""

    @property
    def ntuples(self) -> int:
        """How many rows."""
        ...

    def get_value(self, row_number: int, column_number: int) -> bytes | None:
        """One field."""
        ...


def number(data: bytes | None) -> int:
    """Read an `integer` or a `bigint` that is not NULL."""
    return int.from_bytes(raw(data), "big", signed=True)


def number_or_none(data: bytes | None) -> int | None:
    """Read an `integer` or a `bigint` that may be NULL."""
    return None if data is None else number(data)


def string(data: bytes | None) -> str:
    """Read a `text` that is not NULL."""
    return raw(data).decode()


def string_or_none(data: bytes | None) -> str | None:
    """Read a `text` that may be NULL."""
    return None if data is None else data.decode()


def truth(data: bytes | None) -> bool:
    """Read a `boolean` that is not NULL."""
    return raw(data) != b"\0"


def raw(data: bytes | None) -> bytes:
    """Read a field as it is.

    Raises:
        ValueError: if it is NULL.
    """
    if data is None:
        raise ValueError("NULL where there must be a value")
    return data


def numbers(data: bytes | None) -> list[int]:
    """Read a `bigint[]` without NULLs."""
    array = raw(data)
    (dimensions,) = _LENGTH.unpack_from(array)
    if not dimensions:
        return []
    (count,) = _LENGTH.unpack_from(array, _EMPTY.size)
    return list(struct.unpack_from("!" + "xxxxq" * count, array, _HEAD.size))


def record(data: bytes | None) -> tuple[int, int, int, int, int, int]:
    """Read a row of five `bigint` and an `integer`; before each of them stand its oid and its length."""
    return _RECORD.unpack(raw(data))


def column(result: Result, place: int, read: Callable[[bytes | None], T], skip: int = 0) -> list[T]:
    """Read one column, from row number `skip` on."""
    return [read(result.get_value(row, place)) for row in range(skip, result.ntuples)]

"""What becomes of recorded values when the classes of the code change: the table of docs/data.md.

For each change and each kind of class: what the code of today gets, if a value of yesterday is in the log.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import attrs
import msgspec
import pydantic

from nurselog import DecodingError
from nurselog.lowlevel import JsonCodec

NEEDED = object()
"""The default of a field that has none."""


class Field(NamedTuple):
    """A field of a class."""

    name: str
    type: Any = int
    default: Any = NEEDED


class Change(NamedTuple):
    """What was changed, between yesterday and today."""

    text: str
    before: Sequence[Field]
    value: Mapping[str, Any]
    """What was recorded."""
    after: Sequence[Field]


A, B = Field("a"), Field("b")
BOTH = {"a": 1, "b": 2}

CHANGES = [
    Change("`c: int = 0` is added", (A, B), BOTH, (A, B, Field("c", int, 0))),
    Change("`c: int` is added, without a default", (A, B), BOTH, (A, B, Field("c"))),
    Change("`b` is removed", (A, B), BOTH, (A,)),
    Change("`b: int` is called `c: int` now", (A, B), BOTH, (A, Field("c"))),
    Change("`b: int = 0` is called `c: int = 0` now", (A, Field("b", int, 0)), BOTH, (A, Field("c", int, 0))),
    Change("`a` and `b` change places", (A, B), BOTH, (B, A)),
    Change("`b: int` becomes `b: int \\| None`", (A, B), BOTH, (A, Field("b", int | None))),
    Change("`b: int` becomes `b: float`", (A, B), BOTH, (A, Field("b", float))),
    Change("`b: int` becomes `b: str`", (A, B), BOTH, (A, Field("b", str))),
    Change("`b: str` becomes `b: int`", (A, Field("b", str)), {"a": 1, "b": "2"}, (A, B)),
    Change("`b: int \\| None` becomes `b: int`", (A, Field("b", int | None)), {"a": 1, "b": None}, (A, B)),
]


def _dataclass(fields: Sequence[Field]) -> Any:
    made = [(one.name, one.type, *_default(one, lambda value: dataclasses.field(default=value))) for one in fields]
    return dataclasses.make_dataclass("Record", made)


def _attrs(fields: Sequence[Field]) -> Any:
    made = {
        one.name: attrs.field(type=one.type, **({} if one.default is NEEDED else {"default": one.default}))
        for one in fields
    }
    return attrs.make_class("Record", made)


def _struct(fields: Sequence[Field]) -> Any:
    return msgspec.defstruct("Record", [(one.name, one.type, *_default(one, lambda value: value)) for one in fields])


def _model(fields: Sequence[Field]) -> Any:
    made: Any = {one.name: (one.type, ... if one.default is NEEDED else one.default) for one in fields}
    return pydantic.create_model("Record", **made)


def _typed_dict(fields: Sequence[Field]) -> Any:
    made = {one.name: one.type if one.default is NEEDED else NotRequired[one.type] for one in fields}
    return TypedDict("Record", made)  # type: ignore[operator]  # its fields are known at run time only


def _named_tuple(fields: Sequence[Field]) -> Any:
    defaults = [one.default for one in fields if one.default is not NEEDED]
    made: Any = collections.namedtuple("Record", [one.name for one in fields], defaults=defaults)  # noqa: PYI024 - see above
    made.__annotations__ = {one.name: one.type for one in fields}
    return made


def _default(field: Field, make: Callable[[Any], Any]) -> Sequence[Any]:
    return () if field.default is NEEDED else (make(field.default),)


KINDS: dict[str, Callable[[Sequence[Field]], Any]] = {
    "dataclass": _dataclass,
    "attrs": _attrs,
    "msgspec": _struct,
    "pydantic": _model,
    "TypedDict": _typed_dict,
    "NamedTuple": _named_tuple,
}

STUCK = "stuck"


def shown(value: Any) -> str:
    """Return a record's fields, as the table has them."""
    found = value.get if isinstance(value, dict) else functools.partial(getattr, value)
    fields = {name: field for name in "abc" if (field := found(name, NEEDED)) is not NEEDED}
    return " ".join(f"`{name}={fields[name]!r}`" for name in fields)


def outcome(change: Change, kind: str) -> str:
    """Return what becomes of the recorded value."""
    codec, before, after = JsonCodec(), KINDS[kind](change.before), KINDS[kind](change.after)
    data = codec.encode(before(**change.value), before)
    try:
        return shown(codec.decode(data, after))
    except DecodingError:
        return STUCK


def row(change: Change) -> Sequence[str]:
    """Return the table's line for a change."""
    return (change.text, *(outcome(change, kind) for kind in KINDS))

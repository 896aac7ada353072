"""Values that carry their types, for what has no annotation: what an exception holds.

Null, booleans, numbers, text and lists of these stand for themselves. Everything else is `{"type": "module:name",
"value": …}`: tuples, sets and dicts as lists of their packed items, classes as their names, other errors as records,
and what the codec knows (bytes, dates, enums, dataclasses …) as the codec's JSON for that class.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from .._errors import DecodingError, EncodingError
from .codec import JsonCodec

PackError = Callable[[Exception], object]

_PLAIN: Final = frozenset({type(None), bool, int, str})
_ARRAYS: Final[frozenset[object]] = frozenset({tuple, set, frozenset})
_CONTAINERS: Final[frozenset[object]] = _ARRAYS | {dict}
_MOVED = {"pathlib._local": "pathlib", "__mp_main__": "__main__"}
"""Where Python 3.13 alone, or a worker process alone, says that a class lives, and where everybody has it."""

_module: Any = vars(type)["__module__"]
_qualname: Any = vars(type)["__qualname__"]

_codec = JsonCodec()


def pack(value: Any, pack_error: PackError) -> Any:
    """Return the JSON data from which `unpack` makes `value` again.

    Raises:
        EncodingError: if there is none.
    """
    kind = cast("type[object]", type(value))
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [pack(item, pack_error) for item in value]
    return {"type": _reference(kind), "value": _pack_typed(kind, value, pack_error)}


def _pack_typed(kind: type[Any], value: Any, pack_error: PackError) -> Any:
    if issubclass(kind, Exception):
        return pack_error(value)
    if issubclass(kind, type):
        return _reference(value)
    if kind is dict:
        return [[pack(key, pack_error), pack(item, pack_error)] for key, item in value.items()]
    if kind in _ARRAYS:
        items = [pack(item, pack_error) for item in value]
        return items if kind is tuple else sorted(items, key=msgspec.json.encode)
    data = _codec.encode(value, kind)
    if _codec.decode(data, kind) != value:
        raise EncodingError(f"this {kind.__qualname__} would come back as another one")
    return msgspec.json.decode(data)


def unpack(data: Any, unpack_error: Callable[[Any], Exception]) -> Any:
    """Return the value that `pack` made `data` of.

    Raises:
        DecodingError: if a class is not there any more, or is another one.
    """
    shape = cast("type[object]", type(data))
    if shape is list:
        return [unpack(item, unpack_error) for item in data]
    if shape is not dict:
        return data
    kind, value = find_type(*data["type"].split(":")), data["value"]
    if issubclass(kind, Exception):
        return unpack_error(value)
    if issubclass(kind, type):
        return find_type(*value.split(":"))
    if kind in _CONTAINERS:
        return kind(unpack(item, unpack_error) for item in value)
    return _codec.decode(msgspec.json.encode(value), kind)


def _reference(kind: type[Any]) -> str:
    module, qualname = where_is(kind)
    if find_type(module, qualname) is not kind:
        raise EncodingError(f"{module}.{qualname} is not the class that has this name now")
    return f"{module}:{qualname}"


def where_is(kind: type[Any]) -> tuple[str, str]:
    """Return the module and the qualified name under which `kind` is recorded."""
    module: object = _module.__get__(kind)  # the class may say anything, and a metaclass may even raise
    name = module if isinstance(module, str) else "?"
    return _MOVED.get(name, name), _qualname.__get__(kind)


def find_type(module: str, qualname: str) -> type[Any]:
    """Return the class of this name; its module is imported if need be.

    Raises:
        DecodingError: if there is none.
    """
    try:
        found: object = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    except Exception as exc:  # importing a module runs it: anything can be raised
        raise DecodingError(f"{module}.{qualname} cannot be imported: {exc}") from exc
    if not isinstance(found, type):
        raise DecodingError(f"{module}.{qualname} is no class")
    return cast("type[Any]", found)

"""Values as trees: one order for what has none, and the place of what cannot be encoded.

msgspec writes deterministic JSON fast, within limits: it sorts sets by `<` and refuses elements that have none
(dataclasses, a mixture of types); it refuses keys that are not text; and for sets of frozensets `<` means "is a subset
of", which sorts nothing, silently. An order that hangs on the hash seed gives one call two digests, and a workflow
that did nothing wrong is stuck after a restart. So the codec sends what msgspec cannot sort through `ordered` first.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec

from .._errors import EncodingError

Encode = Callable[[Any], bytes]

_LEAVES: Final = frozenset({str, int, float, bool, type(None)})
_SETS: Final = (set, frozenset)
_LISTS: Final = (list, tuple)
_DEEPEST: Final = 50
"""How many levels `blame` goes down."""


def ordered(value: Any, encode: Encode) -> Any:
    """Return a value with the same JSON, but with lists for sets, and everything in the order of its JSON text.

    Args:
        value: what msgspec could not sort; it is not changed.
        encode: makes JSON of an element or a key.

    Raises:
        EncodingError: if two keys of a dict have the same JSON text, and one of them would be lost.
    """
    kind = cast("type[object]", type(value))
    if kind in _LEAVES:
        return value
    if issubclass(kind, dict):
        return _ordered_dict(value, encode)
    if issubclass(kind, _SETS):
        return sorted((ordered(element, encode) for element in value), key=encode)
    if issubclass(kind, _LISTS):
        return [ordered(item, encode) for item in value]
    return _ordered_record(value, encode)


def _ordered_dict(value: dict[Any, Any], encode: Encode) -> dict[Any, Any]:
    keys = {_key_text(key, encode): key for key in value}
    if len(keys) < len(value):
        raise EncodingError("two of its keys are the same text in JSON, and one entry would be lost")
    return {_plain_key(keys[text]): ordered(value[keys[text]], encode) for text in sorted(keys)}


def _key_text(key: Any, encode: Encode) -> bytes:
    try:
        return encode({_plain_key(key): 0})
    except Exception as exc:
        raise EncodingError(f"its key {key!r} cannot be a key in JSON") from exc


def _plain_key(key: Any) -> Any:
    """Return what msgspec takes as a key: before 0.22 it reads enums as keys, but does not write them."""
    return key.value if isinstance(key, enum.Enum) else key


def _ordered_record(value: Any, encode: Encode) -> Any:
    """Return a copy in which only the sets are others, since msgspec knows how fields are named and tagged."""
    changed = {name: new for name, old in _fields(value) if (new := ordered(old, encode)) is not old}
    if not changed:
        return value
    twin = copy.copy(value)
    setter: Callable[[Any, str, Any], None] = (
        msgspec.structs.force_setattr if isinstance(twin, msgspec.Struct) else object.__setattr__
    )
    for name, new in changed.items():
        setter(twin, name, new)
    return twin


def blame(value: Any, sound: Callable[[Any], bool]) -> tuple[str, Any]:
    """Return the part of `value` that is to blame for its not being sound, and the path to it, such as `$.items[2]`."""
    path = "$"
    for _ in range(_DEEPEST):
        culprit = next(((label, part) for label, part in _parts(value) if not sound(part)), None)
        if culprit is None:
            break
        path, value = path + culprit[0], culprit[1]
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    kind = cast("type[object]", type(value))
    if issubclass(kind, dict):
        return ((f"[{key!r}]", item) for key, item in value.items())
    if issubclass(kind, _LISTS):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    if issubclass(kind, _SETS):
        return (("{}", element) for element in value)
    return ((f".{name}", item) for name, item in _fields(value))


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a msgspec Struct, a dataclass or an attrs class; of all else none."""
    kind = cast("type[object]", type(value))
    names = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None)
    if names is None:
        names = (attribute.name for attribute in getattr(kind, "__attrs_attrs__", ()))
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))

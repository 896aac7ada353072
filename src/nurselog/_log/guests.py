"""Classes that the codec knows by what they can do, without importing what defines them: paths and pydantic models.

And arrays, to refuse them with a word that helps: numpy's and those of its relatives, and single numbers of theirs.

A path is what has `__fspath__` and is made of one text: `pathlib`'s classes, and `trio.Path` and others like them.

Of a pydantic model, its own JSON mode decides what it looks like, since it knows its serializers and its strictness.
Fields go by their names and not by their aliases: a model may write one alias and read another. That needs pydantic
2.11 or newer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import msgspec

from .._errors import EncodingError

Encode = Callable[[Any], bytes]

_SETS: Final = (set, frozenset)
_ARRAYS: Final = (list, tuple, *_SETS)

MASK: Final = b"*" * 10
"""What pydantic's secrets write instead of themselves."""


def is_path(kind: type) -> bool:
    """Return whether `kind` is a class of paths that can be made."""
    return hasattr(kind, "__fspath__") and not inspect.isabstract(kind)


def dump_path(path: Any) -> str:
    """Return the path as text."""
    text = path.__fspath__()
    if not isinstance(text, str):
        raise EncodingError("a path of bytes has no JSON form")
    return text


def load_path(kind: type, data: object) -> Any:
    """Return the path of class `kind` whose text is `data`; raises a `TypeError` if it is no text."""
    if not isinstance(data, str):
        raise TypeError(f"Expected `str` for `{kind.__name__}`, got `{type(data).__name__}`")
    return kind(data)


def is_array(kind: type) -> bool:
    """Return whether `kind` is a class of arrays, or of their elements."""
    return hasattr(kind, "dtype") and hasattr(kind, "tolist")


def is_model(kind: type) -> bool:
    """Return whether `kind` is a class of pydantic models."""
    return hasattr(kind, "model_dump") and hasattr(kind, "model_validate_json")


def dump_model(model: Any, encode: Encode) -> Any:
    """Return the model as what JSON has; `encode` gives the order of sets."""
    return _sort_sets(model, model.model_dump(mode="json", by_alias=False, round_trip=True), encode)


def check_unmasked(value: Any) -> str:
    """Return some text in the place of a guest, once it is seen that it has no secret in it.

    Raises:
        EncodingError: if a model has one: its dump has asterisks instead, and nobody would notice that it is lost.
    """
    if is_model(cast("type[object]", type(value))) and _has_secret(value.model_dump(round_trip=True)):
        raise EncodingError("it has a secret, which writes asterisks instead of itself; give it a serializer, or a str")
    return ""


def _has_secret(content: Any) -> bool:
    kind = cast("type[object]", type(content))
    if issubclass(kind, dict):
        content = list(content.values())
        kind = list
    return any(map(_has_secret, content)) if issubclass(kind, _ARRAYS) else hasattr(content, "get_secret_value")


def load_model(kind: Any, data: Any) -> Any:
    """Return the model of class `kind` whose dump is `data`; raises a `ValueError` if there is none."""
    return kind.model_validate_json(msgspec.json.encode(data), by_alias=False, by_name=True)


def _sort_sets(value: Any, dump: Any, encode: Encode) -> Any:
    """Put the dumps of sets and of dicts in order.

    Pydantic dumps a set in the set's own order, which differs from process to process, as a list like any other. So
    walk the value beside its dump. Where a custom serializer made something of another shape, that stands.
    """
    if getattr(value, "__pydantic_root_model__", False):
        value = value.root
    kind = cast("type[object]", type(value))
    shape = cast("type[object]", type(dump))
    if shape is dict:
        return _sort_sets_in_dict(value, dump, encode)
    if shape is not list or not issubclass(kind, _ARRAYS) or len(value) != len(dump):
        return dump
    items = [_sort_sets(old, new, encode) for old, new in zip(value, dump, strict=True)]
    return sorted(items, key=encode) if issubclass(kind, _SETS) else items


def _sort_sets_in_dict(value: Any, dump: dict[str, Any], encode: Encode) -> dict[str, Any]:
    kind = cast("type[object]", type(value))
    olds: Iterable[Any] = (getattr(value, name, None) for name in dump)
    if issubclass(kind, dict):
        olds = value.values() if len(value) == len(dump) else dump.values()
    items = {name: _sort_sets(old, new, encode) for old, (name, new) in zip(olds, dump.items(), strict=True)}
    return dict(sorted(items.items()))

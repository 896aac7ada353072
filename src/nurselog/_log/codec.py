"""The codec that comes with nurselog: JSON by msgspec, read back by the annotations of the code.

Only what can be read back is written. Whether an annotation can be decoded is found out once, when its decoder is
made, and before anything is encoded under it; whether a value fits its annotation is found out by decoding, which the
engine does straight after encoding. JSON has no NaN and no infinity: msgspec writes null for them, so a null in the
output is the sign to look closer, and everything without one costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, cast

import msgspec
import msgspec.inspect

from .._errors import DataError, DecodingError, EncodingError, ValueUnavailable
from .canonical import blame, ordered
from .guests import MASK, check_unmasked, dump_model, dump_path, is_array, is_model, is_path, load_model, load_path


class JsonCodec:
    """Turns values into JSON, the same text for the same value in every process.

    Knows what msgspec knows, and besides that paths and pydantic models.
    """

    def __init__(self) -> None:
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    def check(self, annotation: Any) -> None:
        """See that `annotation` can be decoded.

        Raises:
            EncodingError: if it cannot.
        """
        self._decoder(annotation, EncodingError)

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the JSON of `value`.

        Raises:
            EncodingError: if it has none, if some of it would be lost, or if `annotation` cannot be decoded.
        """
        self._decoder(annotation, EncodingError)
        try:
            data = _to_json(value)
            whole = value is None or b"null" not in data or _is_finite(value)
        except Exception as exc:  # also what a value's own code raises: a serializer, a property
            raise _refusal(value, exc) from exc
        if not whole:
            raise _refusal(value, None)
        return data

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value whose JSON is `data`.

        Raises:
            DecodingError: if it does not fit `annotation`, or if that cannot be decoded.
            ValueUnavailable: if it is no JSON at all.
        """
        decoder = self._decoder(annotation, DecodingError)
        try:
            return decoder.decode(data)
        except Exception as exc:  # also what a class's own code raises: a validator, a __post_init__
            raise _misfit(annotation, exc) from exc

    def _decoder(self, annotation: Any, error: type[DataError]) -> msgspec.json.Decoder[Any]:
        key = annotation
        try:
            found = self._decoders.get(key)
        except TypeError:  # not hashable: known by its identity, and kept alive by its decoder
            key = id(annotation)
            found = self._decoders.get(key)
        if found is None:
            found = self._decoders[key] = _make_decoder(annotation, error)
        return found


def digest(data: bytes) -> str:
    """Return 16 hexadecimal digits that stand for `data`."""
    return blake2b(data, digest_size=8).hexdigest()


def digest_arguments(
    args: Sequence[object], kwargs: Mapping[str, object], renamed: tuple[str, str] | None = None
) -> str | None:
    """Return the digest of a call's arguments, the same in every process; None where some have no JSON form.

    Args:
        args: by position.
        kwargs: by name.
        renamed: a text, and another one that is put in its place, wherever it is in the arguments.
    """
    try:
        data = _to_json(args, 1) + (_to_json(kwargs) if kwargs else b"")
    except Exception:  # noqa: BLE001 - whatever an argument's own code raises: no digest, and the call goes on
        return None
    if renamed is not None:
        was, now = (_unsorted.encode(text)[1:-1] for text in renamed)
        data = data.replace(was, now)
    return digest(data)


# -- encoding ------------------------------------------------------------------------------------


def _to_json(value: object, start: int = 0) -> bytes:
    """Encode fast, and a second time where msgspec's order cannot be had or trusted (see `canonical`).

    An array right inside an array may be a frozenset in a set. `start` is 1 if the outermost array is no set.
    """
    try:
        data = _sorting.encode(value)
    except TypeError:
        data = None
    if data is None or data.find(b"[[", start) >= 0:
        data = _unsorted.encode(ordered(value, _unsorted.encode))
    if MASK in data:
        msgspec.to_builtins(value, str_keys=True, enc_hook=check_unmasked)
    return data


def _encode_other(value: Any) -> Any:
    """What msgspec asks about types that it does not know."""
    kind = cast("type[object]", type(value))
    if is_path(kind):
        return dump_path(value)
    if is_model(kind):
        return dump_model(value, _unsorted.encode)
    if kind is msgspec.Raw:  # asked by to_builtins only
        return msgspec.json.decode(value)
    advice = "; its tolist() gives plain values, which have one" if is_array(kind) else ""
    raise EncodingError(f"a {_name(kind)} has no JSON form{advice}")


_sorting = msgspec.json.Encoder(enc_hook=_encode_other, order="deterministic")
_unsorted = msgspec.json.Encoder(enc_hook=_encode_other)
_finite = json.JSONEncoder(allow_nan=False, check_circular=False)


def _is_finite(value: object) -> bool:
    """Whether no float in `value` is NaN or infinite; json looks at each, in C."""
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_other)
    try:
        _finite.encode(plain)
    except ValueError:
        return False
    return True


def _is_sound(value: object) -> bool:
    try:
        return b"null" not in _to_json(value) or _is_finite(value)
    except Exception:  # noqa: BLE001 - whatever the value's own code raises
        return False


def _refusal(value: object, exc: Exception | None) -> EncodingError:
    if isinstance(exc, RecursionError):
        return EncodingError("the value contains itself, or is nested too deeply for JSON. Record a flat form of it.")
    where, culprit = blame(value, _is_sound)
    if exc is None:
        what = repr(culprit) if isinstance(culprit, float) else f"a {_name(type(culprit))} that holds NaN or infinity"
        return EncodingError(
            f"{where} is {what}, and JSON has no such number. Record None, a text or a decimal.Decimal instead."
        )
    return EncodingError(
        f"{where} (a {_name(type(culprit))}) cannot be recorded: {exc}. Use dataclasses, msgspec, attrs or pydantic "
        "models, and built-in types; let a step keep what lives only in this process, and return data about it."
    )


# -- decoding ------------------------------------------------------------------------------------


def _make_decoder(annotation: Any, error: type[DataError]) -> msgspec.json.Decoder[Any]:
    loaders: dict[type, Callable[[Any], Any]] = {}
    try:
        decoder = msgspec.json.Decoder[Any](annotation, dec_hook=lambda kind, data: loaders[kind](data))
        for kind in _foreign_types(msgspec.inspect.type_info(annotation)):
            loaders[kind] = _loader(kind)
    except Exception as exc:  # also what evaluating a class's own annotations raises
        raise error(
            f"{_name(annotation)} cannot be read back from JSON: {exc}. Annotate with a dataclass, a msgspec, attrs or "
            "pydantic class, or a built-in type (list for Iterable)."
        ) from exc
    return decoder


def _misfit(annotation: Any, exc: Exception) -> DecodingError:
    if isinstance(exc, msgspec.DecodeError) and not isinstance(exc, msgspec.ValidationError):
        return ValueUnavailable(f"recorded data is no JSON: {exc}. Read it with the codec that has written it.")
    return DecodingError(
        f"recorded data does not fit {_name(annotation)}: {exc}. Make the annotation accept what it accepted when the "
        "data was recorded."
    )


def _foreign_types(root: msgspec.inspect.Type) -> Iterator[type]:
    """Yield the classes in an annotation that msgspec leaves to us. Recursive classes make circles."""
    seen: set[int] = set()
    todo: list[object] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, msgspec.inspect.CustomType):
            yield node.cls
        elif isinstance(node, tuple):
            todo += node
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            todo += msgspec.structs.astuple(node)


def _loader(kind: type) -> Callable[[Any], Any]:
    """Return what makes a `kind` of JSON data."""
    if kind is object:
        return lambda data: data
    if is_path(kind):
        return partial(load_path, kind)
    if is_model(kind):
        return partial(load_model, kind)
    advice = "; annotate with what its tolist() gives, such as float or list[float]" if is_array(kind) else ""
    raise TypeError(f"nothing makes a {_name(kind)} of JSON{advice}")


def _name(annotation: Any) -> str:
    if not isinstance(annotation, type):
        return str(annotation)
    module, name = annotation.__module__, annotation.__qualname__
    return name if module == "builtins" else f"{module}.{name}"

"""A function's annotations, and a workflow's call as bytes and back.

The input of a workflow is one JSON object with the parameters' names as keys. However a call was spelled, its bytes
are the same, so that the digest of an input tells whether two calls are the same call. Defaults are written out:
a workflow that sleeps for a month must wake up with what it was called with, whatever the code's default is by then.
Names, and not positions, because code changes under running workflows: a parameter that was added with a default is
not in older logs and gets that default; parameters may change places; but a name that the log has and the function has
not is an error, for dropping an argument in silence would be worse.

Only who calls a workflow by its name, without its code, does not know the names of its parameters. Such an input is a
JSON array with the arguments by position, and is bound when it is read.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from .._errors import DecodingError, RegistrationError

Encode = Callable[[object, Any], bytes]
Decode = Callable[[bytes, Any], Any]


@dataclass(frozen=True)
class Signature:
    """What a workflow takes and returns; made by `signature_of`."""

    name: str
    returns: Any
    """The annotation of the result; `Any` where there is none."""
    call: type[msgspec.Struct]
    """The annotation of a whole call: a record with a field for each parameter."""
    parameters: inspect.Signature
    plain: bool
    """Whether all parameters may be given by position, each by itself."""

    def encode_call(self, encode: Encode, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """Return the bytes of a call, the same for every spelling of it.

        Args:
            encode: the codec's.
            args: positional arguments.
            kwargs: keyword arguments.

        Raises:
            TypeError: if the function cannot be called like this.
            EncodingError: if an argument has no JSON form.
        """
        names = self.call.__struct_fields__
        if self.plain and not kwargs and len(args) == len(names):
            given = dict(zip(names, args, strict=True))
        else:
            try:
                given = self.parameters.bind(*args, **kwargs).arguments
            except TypeError as exc:
                raise TypeError(f"{self.name}(): {exc}") from None
        return encode(self.call(**given), self.call)

    def decode_call(self, decode: Decode, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the keyword arguments of the call whose bytes are `data`.

        Raises:
            DecodingError: if they do not fit the parameters that the function has now.
        """
        try:
            call = decode(data, self.call)
        except DecodingError as exc:
            return self._by_position(decode, data, exc)
        if self.plain:
            return msgspec.structs.astuple(call), {}
        values = {name: getattr(call, name) for name in self.parameters.parameters}
        bound = inspect.BoundArguments(self.parameters, OrderedDict(values))
        return bound.args, bound.kwargs

    def _by_position(self, decode: Decode, data: bytes, unfit: DecodingError) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call that is an array: who made it did not have the function."""
        given: object = None
        with suppress(DecodingError):
            given = decode(data, Any)
        if not isinstance(given, list):
            raise unfit
        try:
            bound = self.parameters.bind(*given)
        except TypeError as exc:
            raise DecodingError(f"recorded data does not fit {self.name}(): {exc}") from None
        fields = {field.name: field.type for field in msgspec.structs.fields(self.call)}
        annotations: list[Any] = []
        for name, value in bound.arguments.items():
            many = self.parameters.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            annotations += [get_args(fields[name])[0]] * len(value) if many else [fields[name]]
        args: tuple[Any, ...] = decode(data, tuple[(*annotations,)])  # type: ignore[valid-type]  # it is made here
        return args, {}


def signature_of(fn: Callable[..., Any]) -> Signature:
    """Return the signature of a function, a method (without `self`) or a `functools.partial`.

    Raises:
        RegistrationError: if it has none, or an annotation names what is not there when the program runs.
    """
    name = _name(fn)
    try:
        parameters = inspect.signature(fn)
    except (TypeError, ValueError) as exc:
        raise RegistrationError(f"{name} has no signature, so its calls cannot be recorded. Wrap it in a def.") from exc
    fields = [_field(parameter, _annotation(fn, parameter.name)) for parameter in parameters.parameters.values()]
    call = msgspec.defstruct(
        f"{name}(...)", fields, module=_annotated(fn).__module__, frozen=True, kw_only=True, forbid_unknown_fields=True
    )
    plain = all(parameter.kind in _BY_POSITION for parameter in parameters.parameters.values())
    return Signature(name, returns_of(fn), call, parameters, plain)


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def returns_of(fn: Callable[..., Any]) -> Any:
    """Return the annotation of what `fn` returns, `Any` where there is none.

    The parameters' annotations are not looked at: a step may take what only a type checker can name.

    Raises:
        RegistrationError: if the annotation names what is not there when the program runs.
    """
    return _annotation(fn, "return")


def _field(parameter: inspect.Parameter, annotation: Any) -> tuple[str, Any, Any]:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return parameter.name, tuple[annotation, ...], msgspec.field(default=())
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return parameter.name, dict[str, annotation], msgspec.field(default_factory=dict[str, Any])
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, annotation, msgspec.field()
    default = parameter.default
    return parameter.name, annotation, msgspec.field(default_factory=lambda: default)


def _annotation(fn: Callable[..., Any], name: str) -> Any:
    """Evaluate one annotation by itself, so that another one's fault is not this one's, and an error can name it."""
    owner = _annotated(fn)

    def stand_in() -> None:
        """Bear the annotation."""

    scope = getattr(owner, "__globals__", {})
    generic = {parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())}
    try:
        stand_in.__annotations__ = {name: getattr(owner, "__annotations__", {}).get(name, Any)}
        return get_type_hints(stand_in, scope, generic, include_extras=True)[name]
    except Exception as exc:  # an annotation is code: it can raise anything
        what = "result" if name == "return" else f"parameter {name!r}"
        raise RegistrationError(
            f"{_name(fn)}: the annotation of its {what} means nothing at run time: {exc}. It is needed to read "
            "recorded data back: import the name outside `if TYPE_CHECKING:`, and define it at module level."
        ) from exc


def _annotated(fn: Any) -> Any:
    """Return the function that has the annotations: below partials and wrappers, and behind a callable object."""
    while isinstance(fn, functools.partial) or hasattr(fn, "__wrapped__"):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__wrapped__
    return fn if inspect.isroutine(fn) else type(fn).__call__


def _name(fn: Callable[..., Any]) -> str:
    owner = _annotated(fn)
    return getattr(owner, "__qualname__", repr(owner))

"""The codec as the engine uses it: whatever a codec of the user's does, its errors are of two kinds, and in time."""

from __future__ import annotations

from typing import Any

from .._errors import EncodingError, NurselogError, ValueUnavailable
from ..abc import Codec


class CheckedCodec:
    """A codec that reads back what it has written, before anybody relies on it."""

    def __init__(self, inner: Codec) -> None:
        self._inner = inner

    def check(self, annotation: Any) -> None:
        """See that values could be read back as `annotation` says.

        Raises:
            EncodingError: if none could.
        """
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the bytes for `value`.

        Raises:
            EncodingError: if it has none, or they do not come back as `annotation` says.
        """
        try:
            data: object = self._inner.encode(value, annotation)
        except NurselogError:
            raise
        except Exception as exc:
            raise EncodingError(f"the codec cannot write a value: {exc!r}") from exc
        if not isinstance(data, bytes):
            raise EncodingError(f"the codec must make bytes of a value, not a {type(data).__name__}")
        if annotation is not Any:
            try:
                self._inner.decode(data, annotation)
            except Exception as exc:
                name = getattr(annotation, "__name__", annotation)
                raise EncodingError(f"a value does not fit its annotation {name}: {exc.__cause__ or exc}") from exc
        return data

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value whose bytes are `data`.

        Raises:
            DecodingError: if they do not fit `annotation`.
            ValueUnavailable: if the codec cannot read them, whatever it raises.
        """
        try:
            return self._inner.decode(data, annotation)
        except NurselogError:
            raise
        except Exception as exc:
            raise ValueUnavailable(f"the codec cannot read what is recorded: {exc!r}") from exc

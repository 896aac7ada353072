"""Values that are compressed, where that makes them smaller."""

from __future__ import annotations

import zlib
from typing import Any, Final

from .._errors import ValueUnavailable
from .._flow.arguments import check_interface
from .._log.codec import JsonCodec
from ..abc import Codec

_MARK: Final = b"\0zlib:"
"""Before what is compressed. No JSON begins so: what is not compressed needs no mark, and old logs are read as ever."""

_SMALLEST: Final = 256
"""Bytes below which it is not tried."""


class CompressedCodec:
    """Compresses what another codec writes, with zlib, where that is smaller.

    What was recorded before, without it, is read as it is. So an engine may begin to compress at any time, while
    workflows are under way; it may not stop before they are deleted.

    Args:
        inner: turns values into bytes; by default JSON.

    Raises:
        UsageError: if `inner` is no codec.
    """

    def __init__(self, inner: Codec | None = None) -> None:
        self._inner: Codec = inner or JsonCodec()
        check_interface("inner", self._inner, Codec)

    def check(self, annotation: Any) -> None:
        """See that values could be read back as `annotation` says; raises what the inner codec does."""
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the bytes for `value`; raises what the inner codec does."""
        data = self._inner.encode(value, annotation)
        marked = data.startswith(_MARK)  # by an inner codec like this one: it must not pass for what is ours
        if len(data) < _SMALLEST and not marked:
            return data
        packed = _MARK + zlib.compress(data)
        return packed if marked or len(packed) < len(data) else data

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value whose bytes are `data`.

        Raises:
            ValueUnavailable: if they are damaged, or what the inner codec raises.
        """
        if data.startswith(_MARK):
            try:
                data = zlib.decompress(data[len(_MARK) :])
            except zlib.error as exc:
                raise ValueUnavailable(f"recorded data is damaged, and cannot be decompressed: {exc}") from exc
        return self._inner.decode(data, annotation)

"""A codec that writes other bytes each time, as one that encrypts does."""

from __future__ import annotations

import secrets
from typing import Any

from nurselog.lowlevel import JsonCodec

SALT = 8


class SaltedCodec:
    """Writes JSON that is mixed with random bytes, which stand before it."""

    def __init__(self) -> None:
        self._inner = JsonCodec()

    def check(self, annotation: Any) -> None:
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        salt = secrets.token_bytes(SALT)
        return salt + _mixed(salt, self._inner.encode(value, annotation))

    def decode(self, data: bytes, annotation: Any) -> Any:
        return self._inner.decode(_mixed(data[:SALT], data[SALT:]), annotation)


def _mixed(salt: bytes, data: bytes) -> bytes:
    return bytes(byte ^ salt[place % SALT] for place, byte in enumerate(data))

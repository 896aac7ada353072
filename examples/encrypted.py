"""Values that are encrypted: the database does not tell what workflows know, and keys are changed while they run.

    python examples/encrypted.py

The codec wraps the one that writes JSON. The first key encrypts; each of them decrypts. A new key is put before the old
ones in all processes, and an old one is given up when no log has values of its time any more: rows are never written
anew. A workflow that meets a value whose key is missing is stuck, and goes on once it is resumed with the key.

Codecs write values. Names, ids, topics and reasons of cancellations can be read by whoever reads the database, and so
can errors: what they say must be no secret.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from nurselog import Engine, ValueUnavailable, WorkflowStuck, mailbox, open_engine, step, workflow
from nurselog.abc import Codec
from nurselog.codecs import JsonCodec


class EncryptedCodec:
    """Encrypts what another codec writes.

    Args:
        keys: the newest first; there must be one.
        inner: turns values into bytes; by default JSON.
    """

    def __init__(self, keys: Sequence[bytes], inner: Codec | None = None) -> None:
        self._inner = inner or JsonCodec()
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def check(self, annotation: Any) -> None:
        """See that values could be read back."""
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the bytes for a value, which are others each time."""
        return self._fernet.encrypt(self._inner.encode(value, annotation))

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value."""
        try:
            plain = self._fernet.decrypt(data)
        except InvalidToken as exc:
            raise ValueUnavailable("a value was encrypted with a key that this process does not have") from exc
        return self._inner.decode(plain, annotation)


@step
async def charge(card: str, cents: int) -> str:
    """Take money from a card."""
    return f"{cents} cents from {card}"


@workflow
async def membership(card: str) -> str:
    """Take the fee, and once more when the member renews."""
    first = await charge(card, 900)
    months = await mailbox("renewal", int).receive()
    return f"{first}, then {await charge(card, 500 * months)}"


@asynccontextmanager
async def process(database: Path, title: str, *keys: bytes) -> AsyncGenerator[Engine]:
    """Be a process that has some keys; its workflows are suspended when it ends."""
    print(f"{title}:")
    async with open_engine(f"sqlite:///{database}", [membership], codec=EncryptedCodec(keys)) as engine:
        yield engine


def show_rows(database: Path) -> None:
    """Print what somebody sees who reads the database."""
    with closing(sqlite3.connect(database)) as connection:
        values = [value for (value,) in connection.execute("SELECT value FROM log WHERE value IS NOT NULL")]
    telling = [value for value in values if b"ann-4711" in value or b"bob-4711" in value]
    print(f"  {len(values)} values, such as {values[-1].decode()[:6]}..., {len(telling)} of them tell a card")


async def main(database: Path) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    async with process(database, "with one key", old) as engine:
        members = [await engine.submit(membership, f"{name}-4711", id=name) for name in ("ann", "bob")]
        while engine.statistics().waiting < len(members):  # noqa: ASYNC110 - until both have paid, and wait
            await trio.sleep(0.01)
    show_rows(database)

    async with process(database, "with a new key before it", new, old) as engine:
        ann = await engine.submit(membership, "ann-4711", id="ann")  # the same run, though its bytes are others
        await engine.send("ann", "renewal", 12)
        print(f"  ann: {await ann.result()}")

    async with process(database, "without the old key", new) as engine:
        await engine.send("bob", "renewal", 1)
        try:
            await (await engine.get("bob")).result()
        except WorkflowStuck as stuck:
            print(f"  bob is stuck: {'a key that this process does not have' in stuck.problem}")

    async with process(database, "with both again", new, old) as engine:
        await engine.resume("bob")
        print(f"  bob: {await (await engine.get('bob')).result()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        trio.run(main, Path(place) / "members.db")

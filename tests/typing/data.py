"""What the names of `nurselog.codecs` mean to a type checker."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from nurselog import DecodingError, Outbox, ValueUnavailable, open_engine
from nurselog.abc import Codec
from nurselog.codecs import CompressedCodec, FileCodec, JsonCodec, Swept, sweep


async def wrap(folder: Path) -> None:
    codec: Codec = FileCodec(folder, CompressedCodec(JsonCodec()), above=5)
    Outbox(codec=CompressedCodec())
    async with open_engine("sqlite://", codec=codec):
        swept = await sweep("sqlite:///forest.db", "values", older=5)
    assert_type(swept, Swept)
    assert_type(swept.removed, int)
    error: DecodingError = ValueUnavailable("there is no key")
    print(error)
    FileCodec("values", "json")  # type: ignore[arg-type]  # no codec  # pyright: ignore[reportArgumentType]  # the same
    await sweep("sqlite:///forest.db", "values", older="week")  # type: ignore[arg-type]  # no seconds  # pyright: ignore[reportArgumentType]  # too

"""Values that are compressed where that makes them smaller."""

from __future__ import annotations

import secrets
import zlib
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given

from nurselog import DecodingError, UsageError, WorkflowStuck, sleep, step, workflow
from nurselog.codecs import CompressedCodec, JsonCodec
from nurselog.testing import VirtualClock
from tests.data.salted import SaltedCodec
from tests.engine.rig import on_file
from tests.log.values import typed

Clock = trio.testing.MockClock

LONG = "fir, spruce, " * 1000

codec = CompressedCodec()


@step(name="compressed.repeat")
async def repeat(text: str) -> str:
    return text


@workflow(name="compressed.echo")
async def echo(text: str) -> str:
    said = await repeat(text)
    await sleep(10)
    return said


@pytest.mark.parametrize("value", [None, 1, "fir", ["fir"] * 20, LONG, {"a": [LONG, 1]}, secrets.token_hex(5000)])
def test_a_value_comes_back(value: Any) -> None:
    for one in (codec, CompressedCodec(codec), CompressedCodec(CompressedCodec(codec))):
        assert one.decode(one.encode(value, Any), Any) == value


@given(typed)
def test_whatever_has_json_comes_back(example: tuple[Any, Any]) -> None:
    value, annotation = example
    assert codec.decode(codec.encode([value] * 50, list[annotation]), list[annotation]) == [value] * 50  # type: ignore[valid-type]  # known at run time


class Noise(SaltedCodec):
    def encode(self, value: object, annotation: Any) -> bytes:
        return secrets.token_bytes(1000)


def test_only_what_gets_smaller_is_compressed() -> None:
    plain = JsonCodec()
    for value in ("fir", ["fir"] * 20):
        assert codec.encode(value, Any) == plain.encode(value, Any)
    assert len(CompressedCodec(Noise()).encode(None, None)) == 1000
    assert len(codec.encode(LONG, str)) < len(LONG) / 50


class Bare(SaltedCodec):
    """Writes bytes as they are."""

    def encode(self, value: Any, annotation: Any) -> bytes:
        data: bytes = value
        return data

    def decode(self, data: bytes, annotation: Any) -> Any:
        return data


@pytest.mark.parametrize(
    "data", [b"", b"\0zlib", b"\0zlib:", b"\0zlib:" + zlib.compress(b"fir"), b"\0zlib:" + b"x" * 300]
)
def test_what_an_inner_codec_writes_does_not_pass_for_compressed(data: bytes) -> None:
    one = CompressedCodec(Bare())
    assert one.decode(one.encode(data, bytes), bytes) == data


def test_what_was_recorded_before_is_read() -> None:
    assert codec.decode(JsonCodec().encode(LONG, str), str) == LONG


def test_the_same_value_has_the_same_bytes() -> None:
    assert codec.encode(LONG, str) == CompressedCodec().encode(LONG, str)


@pytest.mark.parametrize("cut", [7, 40, -1])
def test_damaged_data(cut: int) -> None:
    with pytest.raises(DecodingError, match=r"recorded data is damaged, and cannot be decompressed"):
        codec.decode(codec.encode(LONG, str)[:cut], str)


def test_an_annotation_is_the_inner_codecs_business() -> None:
    codec.check(list[int])
    with pytest.raises(Exception, match="cannot be read back from JSON"):
        codec.check(complex)


def test_what_is_no_codec() -> None:
    with pytest.raises(UsageError, match=r"inner must have the interface of nurselog\.abc\.Codec"):
        CompressedCodec("zlib")  # type: ignore[arg-type]  # that is the point


async def test_an_engine_may_begin_to_compress_at_any_time(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, echo, clock=clock) as engine:
        await engine.submit(echo, LONG, id="before")
        await trio.sleep(1)
    async with on_file(path, echo, clock=clock, codec=codec) as engine:
        await engine.submit(echo, LONG, id="after")
        assert await (await engine.get("before")).result() == LONG
        assert await (await engine.get("after")).result() == LONG
        log = await (await engine.get("after")).log()
        assert all(len(entry.value) < len(LONG) for entry in log if entry.value)


async def test_an_engine_that_stops_to_compress_says_so(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock, said = tmp_path / "log.db", VirtualClock(), r"recorded data is no JSON: .* Read it with the codec that"
    async with on_file(path, echo, clock=clock, codec=codec) as engine:
        await engine.submit(echo, LONG, id="one")
        await trio.sleep(1)
    async with on_file(path, echo, clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match=said):
            await (await engine.get("one")).result()
    async with on_file(path, echo, clock=clock, codec=codec) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == LONG

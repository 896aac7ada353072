"""Values that cannot go into the log, or are too large for it; and data that no longer fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    DecodingError,
    EncodingError,
    NonDeterminismError,
    PayloadTooLargeError,
    Retry,
    Status,
    StepFailed,
    WorkflowStuck,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog.abc import Codec
from nurselog.lowlevel import JsonCodec
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, kinds, on_file

Clock = trio.testing.MockClock
LIMIT = 3000


class Opaque:
    pass


@dataclass
class Point:
    x: int
    y: int


@step
async def quick() -> int:
    return 1


@step
async def give(what: Any) -> Any:
    return large() if what == "large" else Opaque() if what == "opaque" else float("nan") if what == "nan" else what


@step(retry=Retry(attempts=2, delay=0))
async def fail_largely() -> None:
    raise ValueError(large())


@workflow
async def taking(what: Any) -> Any:
    await quick()
    return what


@workflow
async def giving(what: str) -> Any:
    await quick()
    return {"large": large(), "opaque": Opaque(), "nan": float("nan")}[what]


@workflow
async def asking(what: str) -> Any:
    return await give(what)


@workflow
async def wrong_result() -> Point:
    await quick()
    return "no point"  # type: ignore[return-value]  # that is the point


def large() -> str:
    return "x" * LIMIT


# -- workflows' own values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        (Opaque(), EncodingError),
        (float("inf"), EncodingError),
        ({1: {2: [Opaque()]}}, EncodingError),
        (large(), PayloadTooLargeError),
    ],
    ids=["opaque", "infinity", "deep inside", "large"],
)
async def test_an_argument_is_refused_before_anything_is_written(
    autojump_clock: Clock, argument: object, error: type[Exception]
) -> None:
    async with in_memory(max_payload=LIMIT) as engine:
        with pytest.raises(error):
            await engine.submit(taking, argument, id="one")
        assert await engine.list() == []
        assert await engine.run(taking, 5, id="one") == 5


@pytest.mark.parametrize(
    ("what", "error"), [("opaque", EncodingError), ("nan", EncodingError), ("large", PayloadTooLargeError)]
)
async def test_a_result_fails_its_workflow(autojump_clock: Clock, what: str, error: type[Exception]) -> None:
    async with in_memory(max_payload=LIMIT) as engine:
        handle = await engine.submit(giving, what)
        with pytest.raises(error):
            await handle.result()
        assert await handle.status() is Status.FAILED


async def test_what_is_just_small_enough(autojump_clock: Clock) -> None:
    async with in_memory(max_payload=LIMIT) as engine:
        text = "x" * (LIMIT - len('{"what":""}'))
        assert await engine.run(taking, text) == text
        with pytest.raises(PayloadTooLargeError, match=f"is {LIMIT + 1:,} bytes, and the limit is {LIMIT:,}"):
            await engine.run(taking, text + "x")


async def test_a_result_of_another_type_than_the_annotation(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(wrong_result)
        with pytest.raises((EncodingError, DecodingError)):
            await handle.result()
        assert await handle.status() is Status.FAILED, "it is told when it is recorded, not to each who asks"


async def test_an_argument_of_another_type_than_the_annotation(autojump_clock: Clock) -> None:
    @workflow(name="typed")
    async def typed(point: Point) -> int:
        return point.x

    async with in_memory() as engine:
        with pytest.raises(EncodingError, match=r"(?i)point"):
            await engine.submit(typed, "no point", id="one")  # type: ignore[arg-type]  # that is the point
        assert await engine.run(typed, Point(1, 2), id="one") == 1


# -- steps' values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "error"), [("opaque", EncodingError), ("nan", EncodingError), ("large", PayloadTooLargeError)]
)
async def test_a_result_of_a_step_is_the_steps_error(autojump_clock: Clock, what: str, error: type[Exception]) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        with pytest.raises(error):
            await give(what)
        return "lived on"

    async with in_memory(max_payload=LIMIT) as engine:
        assert await engine.run(flow) == "lived on"


async def test_an_error_that_is_too_large(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        try:
            await fail_largely()
        except (StepFailed, PayloadTooLargeError) as exc:
            return type(exc).__name__
        return "never"

    @workflow(name="failing largely")
    async def failing() -> None:
        raise ValueError(large())

    async with in_memory(max_payload=500) as engine:
        assert await engine.run(flow) in {"StepFailed", "PayloadTooLargeError"}
        with pytest.raises((StepFailed, PayloadTooLargeError)):
            await engine.run(failing)
        assert await engine.run(taking, 1) == 1


async def test_a_step_of_another_type_than_its_annotation(autojump_clock: Clock) -> None:
    @step(name="mistaken")
    async def mistaken() -> Point:
        return "no point"  # type: ignore[return-value]  # that is the point

    @workflow(name="flow")
    async def flow() -> str:
        async with open_nursery() as nursery:
            outcome = await nursery.go(mistaken).receive()
            try:
                await mistaken()
            except (EncodingError, DecodingError) as exc:
                return f"{type(outcome).__name__} {type(exc).__name__}"
        return "never"

    async with in_memory() as engine:
        assert (await engine.run(flow)).startswith("Failed ")


async def test_arguments_of_steps_need_no_encoding(autojump_clock: Clock) -> None:
    @step(name="using")
    async def using(what: Opaque) -> bool:
        return isinstance(what, Opaque)

    @workflow(name="flow")
    async def flow() -> bool:
        return await using(Opaque())

    async with in_memory(max_payload=LIMIT) as engine:
        assert await engine.run(flow)


# -- data that no longer fits --------------------------------------------------------------------


async def test_a_recorded_value_that_no_longer_fits(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    def code(annotation: Any) -> Any:
        async def give_one() -> Any:
            return 1

        give_one.__annotations__["return"] = annotation
        recorded = step(name="give one")(give_one)

        @workflow(name="flow")
        async def flow() -> Any:
            first = await recorded()
            await give_slowly()
            return first

        return flow

    @step(name="give slowly")
    async def give_slowly() -> None:
        await trio.sleep(10)

    original = code(int)
    async with on_file(path, original, clock=clock) as engine:
        await engine.submit(original, id="one")
        await trio.sleep(1)
    async with on_file(path, code(list[int]), clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match="does not fit"):
            await (await engine.get("one")).result()
    async with on_file(path, code(float), clock=clock) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == 1


async def test_other_arguments_than_the_log_has(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    argument = ["first"]

    @step(name="checked")
    async def checked(what: str) -> str:
        return what

    unchecked = step(name="unchecked", check_arguments=False)(checked.fn)

    @step(name="slow")
    async def slow() -> None:
        await trio.sleep(10)

    @workflow(name="flow")
    async def flow() -> list[str]:
        got = [await unchecked(argument[0])]
        await slow()
        return [*got, await unchecked(argument[0])]

    @workflow(name="checking flow")
    async def checking() -> list[str]:
        async with open_nursery() as nursery:
            handle = nursery.go(checked, argument[0])
            await slow()
        return [await handle.result()]

    async with on_file(path, flow, checking, clock=clock) as engine:
        await engine.submit(flow, id="drifting")
        await engine.submit(checking, id="checked")
        await trio.sleep(1)
    argument[0] = "second"
    async with on_file(path, flow, checking, clock=clock) as engine:
        assert await (await engine.get("drifting")).result() == ["first", "second"]
        with pytest.raises(WorkflowStuck, match=r"other arguments(?s:.)*check_arguments=False"):
            await (await engine.get("checked")).result()
        assert "Ended" not in await kinds(await engine.get("checked"))
    assert issubclass(NonDeterminismError, Exception)


async def test_an_error_type_that_is_gone(autojump_clock: Clock, tmp_path: Path, monkeypatch: Any) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    @step(name="failing")
    async def failing() -> None:
        raise Gone("soon")

    @step(name="slow")
    async def slow() -> None:
        await trio.sleep(10)

    @workflow(name="flow")
    async def flow() -> str:
        try:
            await failing()
        except Gone as exc:
            await slow()
            return str(exc)
        return "never"

    async with on_file(path, flow, clock=clock) as engine:
        await engine.submit(flow, id="one")
        await trio.sleep(1)
    with monkeypatch.context() as patch:
        patch.delattr(f"{__name__}.Gone")
        async with on_file(path, flow, clock=clock) as engine:
            with pytest.raises(WorkflowStuck, match="Bring the class back"):
                await (await engine.get("one")).result()
    async with on_file(path, flow, clock=clock) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == "soon"


class Gone(Exception):
    pass


# -- codecs of one's own -------------------------------------------------------------------------


class Rot13:
    """A codec that does not write what it is given in plain text."""

    def __init__(self) -> None:
        self._json = JsonCodec()

    def check(self, annotation: Any) -> None:
        self._json.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        return bytes(255 - byte for byte in self._json.encode(value, annotation))

    def decode(self, data: bytes, annotation: Any) -> Any:
        return self._json.decode(bytes(255 - byte for byte in data), annotation)


async def test_a_codec_of_ones_own_sees_all_values(autojump_clock: Clock, tmp_path: Path) -> None:
    codec: Codec = Rot13()
    path = tmp_path / "log.db"
    async with on_file(path, codec=codec) as engine:
        assert await engine.run(asking, "secret", id="one") == "secret"
        values = [entry.value for entry in await (await engine.get("one")).log()]
        assert not any(value and b"secret" in value for value in values)
    async with on_file(path, asking) as engine:
        with pytest.raises(DecodingError):
            await (await engine.get("one")).result()


class Broken(Rot13):
    """Raises what a codec should not."""

    def encode(self, value: object, annotation: Any) -> bytes:
        if value == "large":
            raise ZeroDivisionError("in the codec")
        return super().encode(value, annotation)

    def decode(self, data: bytes, annotation: Any) -> Any:
        value = super().decode(data, annotation)
        if value == "nan":
            raise ZeroDivisionError("in the codec")
        return value


@pytest.mark.parametrize("what", ["large", "nan"])
async def test_a_codec_that_breaks_does_not_take_the_engine_down(autojump_clock: Clock, what: str) -> None:
    @workflow(name="flow")
    async def flow(what: str) -> Any:
        return await echo(what.strip())

    @step(name="echo")
    async def echo(what: str) -> str:
        return what

    async with in_memory(codec=Broken()) as engine:
        handle = await engine.submit(flow, what + " ")
        with pytest.raises(Exception, match="in the codec"):
            await handle.result()
        assert await engine.run(flow, "fine") == "fine"


class Faulty(Rot13):
    """Makes of one value what no codec should."""

    def __init__(self, fault: object) -> None:
        super().__init__()
        self._fault = fault

    def encode(self, value: object, annotation: Any) -> bytes:
        if b'"faulty"' in self._json.encode(value, annotation):
            if isinstance(self._fault, Exception):
                raise self._fault
            return self._fault  # type: ignore[return-value]  # that is the point
        return super().encode(value, annotation)


FAULTS = {
    "an error of its own": (KeyError("in the codec"), r"the codec cannot write a value: KeyError\('in the codec'\)"),
    "a text": ("a text", "the codec must make bytes of a value, not a str"),
    "nothing": (None, "the codec must make bytes of a value, not a NoneType"),
    "the right error": (EncodingError("as it is"), "^as it is$"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_codec_does_is_an_encoding_error(autojump_clock: Clock, fault: str) -> None:
    """To who submits, to the code that gets a step's result, and to who waits for a workflow's."""
    made, said = FAULTS[fault]

    @workflow(name="stepping")
    async def stepping(what: str) -> Any:
        return len(await echo(what.strip()))

    @workflow(name="returning")
    async def returning(what: str) -> Any:
        return what.strip()

    @step(name="echo")
    async def echo(what: str) -> str:
        return what

    async with in_memory(codec=Faulty(made)) as engine:
        for what, flow in (("faulty", returning), ("faulty ", returning), ("faulty ", stepping)):
            with pytest.raises(EncodingError, match=said):
                await engine.run(flow, what)
        assert await engine.run(returning, "fine") == "fine"


class Forgetful(Rot13):
    """Reads what it has written while it was written, and later on only if it has its key."""

    def __init__(self, *, key: bool) -> None:
        super().__init__()
        self.key = key

    def decode(self, data: bytes, annotation: Any) -> Any:
        if not self.key:
            raise ZeroDivisionError("no key")
        return super().decode(data, annotation)


async def test_what_a_codec_cannot_read_any_more_is_a_decoding_error(autojump_clock: Clock, tmp_path: Path) -> None:
    """Whatever the codec raises: to who asks for a result, and to a workflow that is under way."""

    @workflow(name="slow")
    async def slow() -> str:
        first = await echo("a")
        await sleep(10)
        return first

    @step(name="echo")
    async def echo(what: str) -> str:
        return what

    path, said = tmp_path / "log.db", r"the codec cannot read what is recorded: ZeroDivisionError\('no key'\)"
    async with on_file(path, slow, codec=Forgetful(key=True)) as engine:
        assert await engine.run(asking, "secret", id="ended") == "secret"
        await engine.submit(slow, id="under way")
        await trio.sleep(1)
    async with on_file(path, slow, asking, codec=Forgetful(key=False)) as engine:
        with pytest.raises(DecodingError, match=said):
            await (await engine.get("ended")).result()
        with pytest.raises(WorkflowStuck, match=said):
            await (await engine.get("under way")).result()
    async with on_file(path, slow, codec=Forgetful(key=True)) as engine:
        await engine.resume("under way")
        assert await (await engine.get("under way")).result() == "a"

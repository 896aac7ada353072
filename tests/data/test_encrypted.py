"""What becomes of values that are encrypted: by the codec of examples/encrypted.py."""

from __future__ import annotations

import importlib.util
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.fernet import Fernet

from nurselog import (
    DecodingError,
    Outbox,
    WorkflowConflict,
    WorkflowStuck,
    mailbox,
    open_engine,
    publish,
    send,
    step,
    submit,
    workflow,
    workflow_id,
)
from nurselog.abc import Codec
from nurselog.cli import main
from nurselog.codecs import CompressedCodec, FileCodec
from nurselog.testing import VirtualClock, crash_everywhere
from tests.engine.rig import in_memory, on_file
from tests.house.tree import ROOT

Clock = trio.testing.MockClock

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
SECRET = "a fir on the hill"


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("encrypted_example", ROOT / "examples" / "encrypted.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EncryptedCodec = load_example().EncryptedCodec


@step(name="encrypted.repeat")
async def repeat(text: str) -> str:
    return text


@workflow(name="encrypted.echo")
async def echo(text: str) -> str:
    said = await repeat(text)
    publish("said", said)
    return await mailbox("more", str).receive()


@workflow(name="encrypted.other")
async def other(text: str) -> str:
    return text


@workflow(name="encrypted.talk")
async def talk(text: str) -> str:
    said = await repeat(text)
    await send(workflow_id(), "note", said)
    return await mailbox("note", str).receive()


@workflow(name="encrypted.parent")
async def parent(text: str) -> str:
    return f"{await other(text)}, {await submit(other, text, id='nobody')}"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_workflow_survives_with_it_whatever_happens(tmp_path: Path, *, wrapped: bool) -> None:
    codec: Codec = EncryptedCodec([OLD])
    if wrapped:
        codec = FileCodec(tmp_path, EncryptedCodec([OLD], CompressedCodec()), above=50)
    assert crash_everywhere(talk, SECRET, codec=codec, twice=True).misfortunes > 5


async def test_children_and_workflows_of_workflows(autojump_clock: Clock) -> None:
    async with in_memory(codec=EncryptedCodec([OLD]), workflows=[parent, other]) as engine:
        await engine.submit(other, SECRET, id="nobody")
        assert await engine.run(parent, SECRET) == f"{SECRET}, nobody"


async def test_nothing_can_be_read_without_the_key(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([OLD])) as engine:
        await engine.submit(echo, SECRET, id="one")
        await trio.sleep(1)
        await engine.send("one", "more", SECRET)
        assert await (await engine.get("one")).result() == SECRET
        values = [entry.value for entry in await (await engine.get("one")).log() if entry.value]
        assert values
        assert not any(SECRET.encode() in value for value in values)
    async with on_file(path, clock=clock) as engine:
        with pytest.raises(DecodingError, match=r"no JSON: .* Read it with the codec that has written"):
            await (await engine.get("one")).result()
        assert await (await engine.get("one")).status()
        assert len(await (await engine.get("one")).log()) == 5


async def test_keys_are_changed_under_running_workflows(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([OLD])) as engine:
        await engine.submit(echo, SECRET, id="one")
        await trio.sleep(1)
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([NEW])) as engine:
        await engine.send("one", "more", SECRET)
        with pytest.raises(WorkflowStuck, match="a key that this process does not have"):
            await (await engine.get("one")).result()
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([NEW, OLD])) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == SECRET
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([NEW])) as engine:
        assert await (await engine.get("one")).result() == SECRET, "what is new needs no old key"


async def test_the_same_id_is_the_same_run(autojump_clock: Clock) -> None:
    async with in_memory(codec=EncryptedCodec([NEW, OLD])) as engine:
        await engine.submit(echo, SECRET, id="one")
        await engine.submit(echo, SECRET, id="one")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(echo, "another one", id="one")


async def test_an_outbox_encrypts_too(tmp_path: Path) -> None:
    url, codec = f"sqlite:///{tmp_path / 'log.db'}", EncryptedCodec([OLD])
    async with open_engine(url, [echo], codec=codec) as engine:
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
            Outbox(codec=codec).submit(connection, echo, SECRET, id="one")
            Outbox(codec=codec).send(connection, "one", "more", SECRET)
        assert await (await engine.get("one")).result() == SECRET


def test_the_command_draws_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    drawn: list[str] = []
    for number, codec in enumerate((
        EncryptedCodec([OLD]),
        CompressedCodec(),
        FileCodec(tmp_path / "values", above=50),
    )):

        async def run(codec: Codec = codec, id: str = f"w{number}") -> None:
            async with open_engine(url, [echo], codec=codec) as engine:
                await engine.submit(echo, SECRET * 100, id=id)
                await engine.send(id, "more", "enough")
                await (await engine.get(id)).result()

        trio.run(run)
        assert main(["log", url, f"w{number}"]) == 0
        [line] = [line for line in capsys.readouterr().out.splitlines() if "encrypted.repeat" in line]
        drawn.append(line.partition(" -> ")[2])
    assert drawn[0].startswith("gAAAA")
    assert drawn[1].endswith(" bytes")
    assert drawn[2].startswith("nurselog-file:")


async def test_who_cannot_read_an_input_cannot_know_that_it_is_the_same(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, echo, clock=clock, codec=EncryptedCodec([OLD])) as engine:
        await engine.submit(echo, SECRET, id="one")
    async with on_file(path, clock=clock, codec=EncryptedCodec([NEW])) as engine:
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(echo, SECRET, id="one")

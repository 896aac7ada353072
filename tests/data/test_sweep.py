"""Files that nothing in a store speaks of are removed, and no others."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import Engine, Letter, StoreError, UsageError, mailbox, open_engine, step, transaction, workflow
from nurselog._stores import find_traces
from nurselog.cli import main
from nurselog.codecs import FileCodec, Swept, sweep
from nurselog.codecs import sweeping as sweeping_module
from nurselog.codecs.files import MARK

DAY = 86_400.0

Names = Callable[[], set[str]]


@step(name="sweep.grow")
async def grow(kind: str) -> str:
    return kind * 1000


@workflow(name="sweep.forest")
async def forest(kind: str) -> int:
    return len(await grow(kind))


@workflow(name="sweep.waiting")
async def waiting() -> str:
    said: str = await mailbox("talk", str).receive()
    return said


@transaction(name="sweep.note")
def note(connection: sqlite3.Connection, kind: str) -> str:
    return kind * 1000


@workflow(name="sweep.noting")
async def noting(kind: str) -> int:
    return len(await note(kind))


@pytest.fixture(params=["sqlite", "postgres", "shards"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param != "sqlite":
        address = str(request.getfixturevalue("postgres_url"))
        return f"{address}{'&' if '?' in address else '?'}shards=3" if request.param == "shards" else address
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "values"


@pytest.fixture
def codec(folder: Path) -> FileCodec:
    return FileCodec(folder, above=100)


@asynccontextmanager
async def opened(url: str, codec: FileCodec, *workflows: Any) -> AsyncIterator[Engine]:
    async with open_engine(url, workflows, codec=codec) as engine:
        yield engine


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def age(folder: Path, days: float = 30) -> None:
    """Make all files that old."""
    for path in folder.iterdir():
        when = path.stat().st_mtime - days * DAY
        os.utime(path, (when, when))


def lost(codec: FileCodec) -> str:
    """Make a file that no row speaks of; return its name."""
    return codec.encode("lost" * 1000, str)[len(MARK) :].decode()


async def test_what_no_row_speaks_of_is_removed(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec, forest) as engine:
        await engine.run(forest, "fir")
        kept, useless = names(folder), lost(codec)
        assert len(kept) == 1
        (folder / ".new-cut").write_bytes(b"cut")
        (folder / "readme.txt").write_text("not ours")
        age(folder)
        assert await sweep(url, folder) == Swept(removed=2, size=4002 + 3, kept=1)
        assert names(folder) == kept | {"readme.txt"}
        assert useless not in names(folder)
        assert await sweep(url, folder) == Swept(0, 0, 1)


async def test_what_was_used_lately_is_kept(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec, forest) as engine:
        await engine.run(forest, "fir")
        lost(codec)
        age(folder, 6.9)
        assert await sweep(url, folder) == Swept(0, 0, 2)
        assert await sweep(url, folder, older=6.8 * DAY) == Swept(1, 4002, 1)


async def test_files_go_when_nobody_is_left_who_has_them(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec, forest) as engine:
        for id, kind in (("one", "fir"), ("two", "fir"), ("three", "yew")):
            await engine.run(forest, kind, id=id)
        age(folder)
        await engine.delete("one")
        await engine.delete("three")
        assert await sweep(url, folder) == Swept(1, 3002, 1)
        await engine.run(forest, "fir", id="two")
        log = await (await engine.get("two")).log()
        assert "fir" * 1000 in [codec.decode(entry.value, Any) for entry in log if entry.value]


async def test_messages_that_wait_are_looked_at(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec, waiting) as engine:
        await engine.submit(waiting, id="one")
    async with opened(url, codec) as engine:  # it has no workflows: nobody takes the messages
        await engine.send("one", "talk", "fir" * 1000)
        await engine.send("two", "talk", "yew" * 1000, early=True)
        await engine.send_all([Letter("one", "talk", "short")])
    lost(codec)
    age(folder)
    assert await sweep(url, folder) == Swept(1, 4002, 2)
    async with opened(url, codec, waiting) as engine:
        assert await (await engine.get("one")).result() == "fir" * 1000
        assert await engine.run(waiting, id="two") == "yew" * 1000


async def test_outcomes_of_transactions_are_looked_at(tmp_path: Path, codec: FileCodec, folder: Path) -> None:
    """Also where the process has died before the row in the log."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with opened(url, codec, noting) as engine:
        await engine.run(noting, "fir")
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("DELETE FROM log WHERE seq > 1")
    connection.close()
    lost(codec)
    age(folder)
    assert await sweep(url, folder) == Swept(1, 4002, 1)


async def test_a_file_that_is_used_while_a_sweep_looks_is_kept(
    url: str, codec: FileCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url, codec, forest) as engine:
        await engine.run(forest, "fir")
    useless = lost(codec)
    gone = codec.encode("gone" * 1000, str)
    age(folder)

    async def look(url: str, mark: bytes) -> Any:
        found = await find_traces(url, mark)
        assert lost(codec) == useless
        (folder / gone[len(MARK) :].decode()).unlink()  # another sweep is at it
        return found

    monkeypatch.setattr(sweeping_module, "find_traces", look)
    assert await sweep(url, folder) == Swept(0, 0, 3)
    assert useless in names(folder)


async def test_files_that_change_while_a_sweep_looks_are_left_alone(
    tmp_path: Path, codec: FileCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, is_whole = f"sqlite:///{tmp_path / 'log.db'}", sweeping_module._is_whole
    async with opened(url, codec, forest) as engine:
        await engine.run(forest, "fir")
    new = folder / ".new-one"
    new.write_bytes(b"new")

    def look(name: str) -> bool:
        if name == new.name:
            new.rename(folder / ("f" * 60))  # its writer has done
        return is_whole(name)

    monkeypatch.setattr(sweeping_module, "_is_whole", look)
    assert await sweep(url, folder) == Swept(0, 0, 1)
    assert len(names(folder)) == 2


async def test_the_folder_of_another_store_is_left_alone(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec, forest):
        lost(codec)
        assert await sweep(url, folder) == Swept(0, 0, 1), "it is young"
        age(folder)
        with pytest.raises(UsageError, match=r"the store speaks of none of the files in .*values\. Are they its own\?"):
            await sweep(url, folder)
    assert len(names(folder)) == 1


async def test_a_folder_without_files(url: str, codec: FileCodec, folder: Path) -> None:
    async with opened(url, codec):
        assert await sweep(url, folder) == Swept(0, 0, 0)
        (folder / ".new-cut").write_bytes(b"cut")
        age(folder)
        assert await sweep(url, folder) == Swept(1, 3, 0)


async def test_a_store_that_is_not_there(tmp_path: Path, folder: Path, codec: FileCodec, postgres_url: str) -> None:
    with pytest.raises(StoreError, match="there is no file"):
        await sweep(f"sqlite:///{tmp_path / 'none.db'}", folder)
    with pytest.raises(StoreError, match="there is no file"):
        await sweep("sqlite://", folder)
    (tmp_path / "foreign.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="no SQLite database"):
        await sweep(f"sqlite:///{tmp_path / 'foreign.db'}", folder)
    with pytest.raises(StoreError, match="there is no store of this release"):
        await sweep(postgres_url, folder)
    with pytest.raises(UsageError, match="address"):
        await sweep("mysql://", folder)
    with pytest.raises(UsageError, match="there is no folder"):
        await sweep(postgres_url, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="older must be a number of seconds"):
        await sweep(postgres_url, folder, older=-1)


async def test_a_message_that_cannot_be_read_stops_it(tmp_path: Path, codec: FileCodec, folder: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with opened(url, codec) as engine:
        await engine.send("two", "talk", "yew" * 1000, early=True)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE early_message SET body = 'x' || body")
        connection.execute("UPDATE early_message SET body = CAST(body AS BLOB)")
    connection.close()
    lost(codec)
    age(folder)
    with pytest.raises(StoreError, match="a message that waits cannot be read"):
        await sweep(url, folder)
    assert len(names(folder)) == 2


def test_the_command(tmp_path: Path, codec: FileCodec, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"

    async def run() -> None:
        async with opened(url, codec, forest) as engine:
            await engine.run(forest, "fir")

    trio.run(run)
    lost(codec)
    age(folder, 2)
    assert main(["sweep", url, str(folder)]) == 0
    assert capsys.readouterr().out == "removed 0 files with 0 bytes, kept 2\n"
    assert main(["sweep", url, str(folder), "--older", "1"]) == 0
    assert capsys.readouterr().out == "removed 1 files with 4,002 bytes, kept 1\n"
    assert main(["sweep", url, str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err

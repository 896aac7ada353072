"""Large values in files: durable before their rows are, shared, checked, and missed with a clear word."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import DecodingError, EncodingError, UsageError, WorkflowStuck, open_engine, sleep, step, workflow
from nurselog.abc import Batch
from nurselog.codecs import CompressedCodec, FileCodec, JsonCodec
from nurselog.codecs.files import MARK, REFERENCE
from nurselog.testing import Broken, Returned, VirtualClock, crash_everywhere, load_log, replay, save_log
from tests.data.filer import SIZE
from tests.data.salted import SaltedCodec
from tests.engine.rig import Hooked, file_store, on_file
from tests.house.tree import ROOT

Clock = trio.testing.MockClock

LONG = "fir" * 1000


@step(name="files.repeat")
async def repeat(text: str) -> str:
    return text


@workflow(name="files.echo")
async def echo(text: str) -> str:
    said = await repeat(text)
    await sleep(10)
    return said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "values"


@pytest.fixture
def codec(folder: Path) -> FileCodec:
    return FileCodec(folder, above=100)


def files(folder: Path) -> list[Path]:
    """Return the files of a folder, but for its lock."""
    return sorted(path for path in folder.iterdir() if path.name != ".lock")


def test_only_what_is_large_has_a_file(codec: FileCodec, folder: Path) -> None:
    assert codec.encode("x" * 98, str) == b'"' + b"x" * 98 + b'"'
    assert files(folder) == []
    reference = codec.encode("x" * 99, str)
    assert REFERENCE.fullmatch(reference)
    [path] = files(folder)
    assert reference == MARK + path.name.encode()
    assert path.read_text() == '"' + "x" * 99 + '"'
    assert codec.decode(reference, str) == "x" * 99
    assert codec.decode(b'"fir"', str) == "fir"


def test_equal_values_share_a_file(codec: FileCodec, folder: Path) -> None:
    first = codec.encode(LONG, str)
    os.utime(files(folder)[0], (0, 0))
    assert codec.encode(LONG, str) == first
    assert codec.encode([LONG], list[str]) != first
    assert len(files(folder)) == 2
    assert all(path.stat().st_mtime > 0 for path in files(folder)), "what is used again is young"


@pytest.mark.parametrize("found", [b"cut", bytes(len(LONG) + 2)])
def test_a_file_that_is_damaged_is_written_anew(codec: FileCodec, folder: Path, found: bytes) -> None:
    reference = codec.encode(LONG, str)
    files(folder)[0].write_bytes(found)
    assert codec.encode(LONG, str) == reference
    assert codec.decode(reference, str) == LONG


def test_codecs_wrap_each_other(tmp_path: Path) -> None:
    for number, inner in enumerate([JsonCodec(), CompressedCodec(), SaltedCodec(), FileCodec(tmp_path, above=10)]):
        codec = FileCodec(tmp_path / str(number), inner, above=10)
        for value in ("fir", LONG):
            assert codec.decode(codec.encode(value, str), str) == value
        codec.check(str)
        with pytest.raises(Exception, match="cannot be read back"):
            codec.check(complex)


def test_what_an_inner_codec_marks_does_not_pass_for_a_name(tmp_path: Path) -> None:
    inner = FileCodec(tmp_path / "inner", above=10)
    outer = FileCodec(tmp_path / "outer", inner)
    assert inner.encode(LONG, str) != (reference := outer.encode(LONG, str))
    assert len(files(tmp_path / "outer")) == 1
    assert outer.decode(reference, str) == LONG


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_file_that_is_not_there(codec: FileCodec, folder: Path) -> None:
    reference = codec.encode(LONG, str)
    [path] = files(folder)
    path.unlink()
    with pytest.raises(DecodingError, match=rf"in the file {path}, which is not there\. Bring it back from a backup"):
        codec.decode(reference, str)


def test_a_file_that_is_damaged(codec: FileCodec, folder: Path) -> None:
    reference = codec.encode(LONG, str)
    [path] = files(folder)
    path.write_text(f'"{LONG.replace("fir", "fig", 1)}"')
    with pytest.raises(DecodingError, match=rf"in the file {path}, which is damaged"):
        codec.decode(reference, str)


def test_a_file_that_cannot_be_read(codec: FileCodec, folder: Path) -> None:
    reference = codec.encode(LONG, str)
    [path] = files(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(DecodingError, match=rf"in the file {path}, which cannot be read: .*directory"):
        codec.decode(reference, str)


@pytest.mark.parametrize("name", [b"", b"../../etc/passwd", b"0" * 59, b"0" * 61, b"G" * 60])
def test_a_name_that_is_none(codec: FileCodec, name: bytes) -> None:
    with pytest.raises(DecodingError, match="recorded data is damaged: it names no file"):
        codec.decode(MARK + name, str)


@pytest.mark.parametrize("function", ["fsync", "open"])
def test_a_disk_that_is_full(codec: FileCodec, folder: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(EncodingError, match=r"a value of 3,002 bytes cannot be kept in the folder .*: .*No space"):
            codec.encode(LONG, str)
    assert files(folder) == []
    assert codec.decode(codec.encode(LONG, str), str) == LONG


def test_a_writer_that_fails_leaves_what_is_there(
    codec: FileCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may be at the same file, and its row be written already when this one dies."""
    codec.encode(LONG, str)
    [path] = files(folder)
    path.write_bytes(b"what another one has written so far")

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(EncodingError, match="Input/output error"):
            codec.encode(LONG, str)
    assert files(folder) == [path]
    assert path.read_bytes() == b"what another one has written so far"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder .*/nowhere/values for large values cannot be made"):
        FileCodec(tmp_path / "nowhere" / "values")
    with pytest.raises(UsageError, match="above must be a whole number, 0 or more"):
        FileCodec(tmp_path, above=-1)
    with pytest.raises(UsageError, match=r"inner must have the interface of nurselog\.abc\.Codec"):
        FileCodec(tmp_path, "json")  # type: ignore[arg-type]  # that is the point


def test_a_folder_is_the_same_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    codec = FileCodec("values", above=10)
    reference = codec.encode(LONG, str)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert codec.decode(reference, str) == LONG


# -- in engines ----------------------------------------------------------------------------------


async def test_a_file_is_there_before_its_row(autojump_clock: Clock, tmp_path: Path, codec: FileCodec) -> None:
    clock, seen = VirtualClock(), []
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def look(batch: Batch) -> None:
        rows = [row for part in (*batch.creations, *batch.appends) for row in part.rows]
        seen.extend(codec.decode(row.value, Any) for row in rows if (row.value or b"").startswith(MARK))

    store.before_commit = look
    async with open_engine(store, [echo], clock=clock, codec=codec) as engine:
        assert await engine.run(echo, LONG) == LONG
    assert seen == [{"text": LONG}, LONG, LONG]


async def test_a_workflow_waits_for_a_file_that_is_gone(
    autojump_clock: Clock, tmp_path: Path, codec: FileCodec, folder: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, echo, clock=clock, codec=codec) as engine:
        await engine.submit(echo, LONG, id="one")
        await trio.sleep(1)
    away = await trio.Path(folder).rename(tmp_path / "away")
    async with on_file(path, echo, clock=clock, codec=FileCodec(folder)) as engine:
        with pytest.raises(WorkflowStuck, match=r"a value is in the file .*, which is not there"):
            await (await engine.get("one")).result()
    async with on_file(path, echo, clock=clock, codec=FileCodec(Path(away))) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == LONG


@pytest.mark.parametrize(("fresh", "moments"), [(True, 13), (False, 9)], ids=["new files", "files that are there"])
def test_whenever_the_process_dies_no_row_lacks_its_file(tmp_path: Path, moments: int, *, fresh: bool) -> None:
    run_filer(tmp_path / "log.db", tmp_path / "values")
    for moment in range(1, moments + 1):
        database = tmp_path / f"log-{moment}.db"
        folder = tmp_path / (f"values-{moment}" if fresh else "values")
        assert run_filer(database, folder, str(moment)).returncode == -signal.SIGKILL
        for reference in references(database) if database.exists() else ():
            FileCodec(folder).decode(reference, Any)
    assert run_filer(database, folder).stdout == f"{4 * SIZE}\n"
    last = run_filer(tmp_path / "last.db", tmp_path / ("last" if fresh else "values"), str(moments + 1))
    assert last.stdout == f"{4 * SIZE}\n", "there are no more moments"


def run_filer(database: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.data.filer", f"sqlite:///{database}", str(folder), *more]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )


def references(database: Path) -> list[bytes]:
    with closing(sqlite3.connect(database)) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM log") if REFERENCE.fullmatch(value or b"")]


async def test_a_value_that_cannot_be_kept_fails_its_step(
    autojump_clock: Clock, tmp_path: Path, codec: FileCodec, folder: Path
) -> None:
    async with on_file(tmp_path / "log.db", echo, codec=codec) as engine:
        one = await engine.submit(echo, "fir", id="one")
        assert await one.result() == "fir"
        await trio.Path(folder, ".lock").unlink(missing_ok=True)
        await trio.Path(folder).rmdir()
        with pytest.raises(EncodingError, match=r"cannot be kept in the folder .*: .*No such file"):
            await engine.submit(echo, LONG)


def test_a_saved_log_replays_with_the_codec(tmp_path: Path, codec: FileCodec) -> None:
    report = crash_everywhere(echo, LONG, codec=codec)
    assert report.live.outcome == Returned(LONG)
    save_log(report.live.entries, tmp_path / "one.json")
    replay(echo, load_log(tmp_path / "one.json"), codec=codec)
    with pytest.raises(Broken, match="no JSON"):
        replay(echo, load_log(tmp_path / "one.json"))

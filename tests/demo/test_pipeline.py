"""The pipeline in a process that is not killed: what it leaves, whatever the mirrors do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from nurselog import open_engine, workflow
from nurselog.demo import mirror_stdlib
from nurselog.demo.catalogue import create_catalogue, read_catalogue
from nurselog.demo.job import File, Job, Layout, read_jobs, read_trace, read_waits, write_jobs
from nurselog.demo.manifest import jobs, manifest
from nurselog.demo.mirror_stdlib import NobodyDelivered, discard, enter, keep, mirror_package
from nurselog.demo.mirrors import Mirror
from nurselog.demo.temper import Fault, Temper
from nurselog.demo.verify import check_bodies, check_outcomes, check_partial, verify


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "json").mkdir(parents=True)
    for number in range(6):
        (folder / "json" / f"module{number}.py").write_bytes(b"import this\n" * number * 5000)
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    folder = tmp_path / "run"
    folder.mkdir()
    create_catalogue(Layout(folder))
    return Layout(folder)


async def start(nursery: trio.Nursery, source: Path, *faults: Fault | None) -> dict[str, str]:
    """Start mirrors that have one fault each, at most; return their URLs by name."""
    tempers = [
        Temper(f"m{number}", {fault: 1.0} if fault else {}, fast=0, slow=0, bad_days=0)
        for number, fault in enumerate(faults)
    ]
    return {temper.name: await nursery.start(Mirror(source, temper, seed=7).serve) for temper in tempers}


def one_job(files: Sequence[File], mirrors: dict[str, str], layout: Layout) -> Job:
    (job,) = jobs(files, mirrors, layout)
    return job


@pytest.mark.parametrize("fault", [None, Fault.STALL, Fault.REFUSE, Fault.CUT, Fault.CORRUPT])
async def test_a_package_is_mirrored_whatever_one_mirror_does(
    source: Path, layout: Layout, fault: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_stdlib, "HEAD_START", 0.001)
    files = manifest(source, None, seed=1)
    async with trio.open_nursery() as nursery:
        job = one_job(files, await start(nursery, source, fault, None), layout)
        async with open_engine(layout.store, ()) as engine:
            assert await engine.run(mirror_package, job, id="json") == len(files)
            log = await (await engine.get("json")).log()
        nursery.cancel_scope.cancel()
    assert verify(layout, source, files) == []
    assert list(check_bodies(read_trace(layout), {"json": log})) == []
    assert list(check_outcomes(read_trace(layout), {"json": log})) == []


async def test_a_file_that_nobody_delivers_in_time_fails_and_leaves_nothing(
    source: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_stdlib, "HEAD_START", 0.001)
    monkeypatch.setattr(mirror_stdlib, "TIME_LIMITS", (0.05, 0.05))
    files = manifest(source, None, seed=1)[5:]
    async with trio.open_nursery() as nursery:
        job = one_job(files, await start(nursery, source, Fault.STALL, Fault.STALL), layout)
        async with open_engine(layout.store, ()) as engine:
            with pytest.RaisesGroup(NobodyDelivered):
                await engine.run(mirror_package, job, id="json")
        nursery.cancel_scope.cancel()
    assert verify(layout, source, files) == [
        "json/module5.py: there is no copy",
        "json/module5.py: entered 0 times in the catalogue",
    ]
    assert read_catalogue(layout) == []


@workflow
async def do_all_twice(folder: str, partial_file: str, target: str) -> tuple[bool, bool]:
    for _ in range(2):
        await keep(folder, partial_file, target)
        await enter(folder, File(path="module.py", sha256="0", size=4), "alder")
    return await discard(folder, target), await discard(folder, target)


async def test_steps_that_run_again_do_no_harm(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_stdlib, "step_key", lambda: "the same key")
    partial_file, target = layout.partial / "module.py", layout.copies / "module.py"
    partial_file.parent.mkdir()
    partial_file.write_bytes(b"pass")
    partial_file.with_name("module.py.17").write_bytes(b"pa")
    async with open_engine(layout.store, ()) as engine:
        discarded = await engine.run(do_all_twice, str(layout.folder), str(partial_file), str(target))
    assert discarded == (True, False)
    assert len(read_catalogue(layout)) == 1
    assert list(check_partial(layout)) == []


def test_jobs_come_back_as_they_were_written(source: Path, layout: Layout) -> None:
    made = jobs(manifest(source, None, seed=1), {"alder": "http://127.0.0.1:1"}, layout)
    write_jobs(layout, made)
    assert list(read_jobs(layout)) == list(made)


def test_a_run_without_steps_has_an_empty_trace(layout: Layout) -> None:
    assert read_trace(layout) == []
    assert read_waits(layout) == []


def test_a_line_that_is_just_being_written_is_not_read(layout: Layout) -> None:
    body = b'{"workflow":"json","step":"keep","key":"k","attempt":1,"pid":1,"at":1}'
    layout.trace.write_bytes(body[:9])
    assert read_trace(layout) == []
    layout.trace.write_bytes(body + b"\n" + body[:9])
    assert [one.workflow for one in read_trace(layout)] == ["json"]

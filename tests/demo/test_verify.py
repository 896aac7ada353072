"""A run is right only if the files, the catalogue and the trace all say so: each kind of damage is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from nurselog._log.identity import step_key
from nurselog.demo.catalogue import count_entries, create_catalogue
from nurselog.demo.job import Body, File, Layout
from nurselog.demo.manifest import manifest
from nurselog.demo.verify import check_bodies, check_outcomes, check_partial, verify
from nurselog.lowlevel import Result, StepEnded, parse_path
from tests.demo.records import START, log_of

ADD = "INSERT INTO entry VALUES (?, ?, ?, 'alder')"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "json").mkdir(parents=True)
    (folder / "json" / "decoder.py").write_bytes(b"import re\n")
    (folder / "empty.py").write_bytes(b"")
    return folder


@pytest.fixture
def files(source: Path) -> Sequence[File]:
    return manifest(source, None, seed=1)


@pytest.fixture
def run(tmp_path: Path, source: Path, files: Sequence[File]) -> Layout:
    """A run that went well."""
    layout = Layout(tmp_path / "run")
    for file in files:
        (layout.copies / file.path).parent.mkdir(parents=True, exist_ok=True)
        (layout.copies / file.path).write_bytes((source / file.path).read_bytes())
    create_catalogue(layout)
    for number, file in enumerate(files):
        execute(layout, ADD, f"key {number}", file.path, file.sha256)
    return layout


def execute(layout: Layout, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(layout.catalogue, isolation_level=None)) as db:
        db.execute(statement, values)


def test_a_run_that_went_well_has_no_problems(run: Layout, source: Path, files: Sequence[File]) -> None:
    assert verify(run, source, files) == []
    assert count_entries(run) == len(files) == 2


DAMAGE: Sequence[tuple[Callable[[Layout], object], str]] = [
    (lambda run: (run.copies / "empty.py").unlink(), "empty.py: there is no copy"),
    (
        lambda run: (run.copies / "json/decoder.py").write_bytes(b"import rE\n"),
        "json/decoder.py: the copy differs from the original",
    ),
    (lambda run: (run.copies / "extra.py").write_bytes(b""), "extra.py: a copy of nothing"),
    (
        lambda run: execute(run, "INSERT INTO entry SELECT * FROM entry WHERE path = 'empty.py'"),
        "empty.py: entered 2 times in the catalogue",
    ),
    (
        lambda run: execute(run, "DELETE FROM entry WHERE path = 'empty.py'"),
        "empty.py: entered 0 times in the catalogue",
    ),
    (
        lambda run: execute(run, "UPDATE entry SET sha256 = 'bad' WHERE path = 'empty.py'"),
        "empty.py: entered with another checksum",
    ),
    (lambda run: execute(run, ADD, "key 3", "ghost.py", "bad"), "ghost.py: entered, but not in the manifest"),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGE, ids=[problem for _, problem in DAMAGE])
def test_each_kind_of_damage_is_found(
    run: Layout, source: Path, files: Sequence[File], damage: Callable[[Layout], object], problem: str
) -> None:
    damage(run)
    assert verify(run, source, files) == [problem]


# -- bodies --------------------------------------------------------------------------------------

KEY = step_key("json", parse_path("1.1"))


def body(at: int, key: str = KEY) -> Body:
    return Body(workflow="json", step="enter", key=key, attempt=1, pid=1, at=at)


LOG = {"json": log_of(StepEnded(path="1.1", name="enter", result=Result.VALUE))}


def test_bodies_that_ran_before_their_outcome_was_recorded_are_no_problem() -> None:
    assert list(check_bodies([body(START - 2), body(START - 1)], LOG)) == []


def test_a_body_after_the_record_is_a_problem() -> None:
    problems = list(check_bodies([body(START - 1), body(START + 1)], LOG))
    assert problems == [f"step enter {KEY}: its body began after its outcome was recorded"]


def test_a_body_without_a_record_is_a_problem() -> None:
    problems = list(check_bodies([body(START - 1), body(START - 1, key="other")], LOG))
    assert problems == ["step enter other: its body began, and no log has its outcome"]


def test_a_record_without_a_body_is_a_problem_unless_it_was_cancelled() -> None:
    cancelled = {"json": log_of(StepEnded(path="1.1", name="enter", result=Result.CANCELLED, begun=False))}
    assert list(check_outcomes([], LOG)) == [f"step enter {KEY}: its outcome is recorded, and its body never began"]
    assert list(check_outcomes([], cancelled)) == []


def test_a_partial_file_is_seen(run: Layout) -> None:
    assert list(check_partial(run)) == []
    (run.partial / "alder" / "json").mkdir(parents=True)
    (run.partial / "alder" / "json" / "decoder.py.17").write_bytes(b"impo")
    assert list(check_partial(run)) == ["alder/json/decoder.py.17: a partial file was left"]

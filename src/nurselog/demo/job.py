"""The records that the demo and its pipeline share, and where each file of a run lies."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from .. import attempt, step_key, workflow_id

R = TypeVar("R", bound=msgspec.Struct)

STORE = "NURSELOG_DEMO_STORE"
"""The variable that tells a worker the store's address. In an argument, everybody could read its password."""


class File(msgspec.Struct, frozen=True):
    """A line of the manifest."""

    path: str
    """Below the standard library's folder, with `/`."""
    sha256: str
    size: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one workflow has to mirror."""

    name: str
    """The package's, or that of a part of it: the workflow's id."""
    files: tuple[File, ...]
    mirrors: dict[str, str]
    """Their URLs by name."""
    folder: str
    """The run's own folder, see `Layout`."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A step's body began: a line of the trace."""

    workflow: str
    step: str
    key: str
    """The step's `step_key()`."""
    attempt: int
    pid: int
    at: int
    """UTC microseconds."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A row waited for its commit, longer than any before in the same process: a line of the waits."""

    pid: int
    seconds: float


@dataclass(frozen=True)
class Layout:
    """Where the files of a run lie."""

    folder: Path

    @property
    def copies(self) -> Path:
        """The folder of the mirrored files."""
        return self.folder / "copies"

    @property
    def partial(self) -> Path:
        """The folder of downloads under way; empty in the end."""
        return self.folder / "partial"

    @property
    def catalogue(self) -> Path:
        """The SQLite file in which each mirrored file has one entry."""
        return self.folder / "catalogue.db"

    @property
    def trace(self) -> Path:
        """The file with a line for every step body that began."""
        return self.folder / "trace.jsonl"

    @property
    def waits(self) -> Path:
        """The file with how long workers waited for their store."""
        return self.folder / "waits.jsonl"

    @property
    def jobs(self) -> Path:
        """The file with what there is to do."""
        return self.folder / "jobs.json"

    @property
    def store(self) -> str:
        """The URL of the workflows' store, unless that is in PostgreSQL."""
        return f"sqlite:///{self.folder / 'workflows.db'}"

    @property
    def output(self) -> Path:
        """The file with what the workers wrote to their standard error."""
        return self.folder / "worker.log"

    @property
    def restart_output(self) -> Path:
        """The file with what the command wrote that restarts the database."""
        return self.folder / "restart.log"


def witness(folder: str, step: str) -> None:
    """Note that the body of a step has begun; call it first in the body.

    The trace is the world's own view, which knows nothing of the log: the demo compares the two. A single write to a
    file opened for appending survives SIGKILL whole, or did not happen.
    """
    body = Body(
        workflow=workflow_id(),
        step=step,
        key=step_key(),
        attempt=attempt(),
        pid=os.getpid(),
        at=time.time_ns() // 1000,
    )
    _append(Layout(Path(folder)).trace, body)


def read_trace(layout: Layout) -> Sequence[Body]:
    """Return the bodies that have begun, in the order in which they did."""
    return _read(layout.trace, Body)


def note_wait(layout: Layout, seconds: float) -> None:
    """Note how long a row has waited for its commit in this process."""
    _append(layout.waits, Wait(pid=os.getpid(), seconds=seconds))


def read_waits(layout: Layout) -> Sequence[Wait]:
    """Return the longest waits of all workers."""
    return _read(layout.waits, Wait)


def _append(path: Path, record: Body | Wait) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, msgspec.json.encode(record) + b"\n")
    finally:
        os.close(fd)


def _read(path: Path, kind: type[R]) -> Sequence[R]:
    """Return the records of a file; one that is just being written may be there in part, and is left out."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return msgspec.json.Decoder(kind).decode_lines(whole)


def write_jobs(layout: Layout, jobs: Sequence[Job]) -> None:
    """Leave what there is to do for the worker."""
    layout.jobs.write_bytes(msgspec.json.encode(jobs))


def read_jobs(layout: Layout) -> Sequence[Job]:
    """Return what there is to do."""
    return msgspec.json.decode(layout.jobs.read_bytes(), type=tuple[Job, ...])

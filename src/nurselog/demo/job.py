"""The records that the demo and its pipeline share, and where each file of a run lies."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .. import attempt, step_key


class File(msgspec.Struct, frozen=True):
    """A line of the manifest."""

    path: str
    """Below the standard library's folder, with `/`."""
    sha256: str
    size: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one workflow has to mirror."""

    package: str
    files: tuple[File, ...]
    mirrors: dict[str, str]
    """Their URLs by name."""
    folder: str
    """The run's own folder, see `Layout`."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A step's body began: a line of the trace."""

    step: str
    key: str
    """The step's `step_key()`."""
    attempt: int
    pid: int
    at: int
    """UTC microseconds."""


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
    def jobs(self) -> Path:
        """The file with what there is to do."""
        return self.folder / "jobs.json"

    @property
    def store(self) -> str:
        """The URL of the workflows' store."""
        return f"sqlite:///{self.folder / 'workflows.db'}"

    @property
    def output(self) -> Path:
        """The file with what the workers wrote to their standard error."""
        return self.folder / "worker.log"


def witness(folder: str, step: str) -> None:
    """Note that the body of a step has begun; call it first in the body.

    The trace is the world's own view, which knows nothing of the log: the demo compares the two. A single write to a
    file opened for appending survives SIGKILL whole, or did not happen.
    """
    body = Body(step=step, key=step_key(), attempt=attempt(), pid=os.getpid(), at=time.time_ns() // 1000)
    line = msgspec.json.encode(body) + b"\n"
    fd = os.open(Layout(Path(folder)).trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def read_trace(layout: Layout) -> Sequence[Body]:
    """Return the bodies that began, in the order in which they did."""
    if not layout.trace.exists():
        return []
    return msgspec.json.Decoder(Body).decode_lines(layout.trace.read_bytes())


def write_jobs(layout: Layout, jobs: Sequence[Job]) -> None:
    """Leave what there is to do for the worker."""
    layout.jobs.write_bytes(msgspec.json.encode(jobs))


def read_jobs(layout: Layout) -> Sequence[Job]:
    """Return what there is to do."""
    return msgspec.json.decode(layout.jobs.read_bytes(), type=tuple[Job, ...])

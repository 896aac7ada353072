"""Whether a finished run is right: every file, every catalogue entry and every body, counted one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .._log.identity import step_key
from ..lowlevel import LogEntry, Result, StepEnded, parse_path
from .catalogue import Entry, read_catalogue
from .job import Body, File, Layout


def verify(layout: Layout, source: Path, files: Sequence[File]) -> Sequence[str]:
    """Return everything that is wrong with the mirrored files and the catalogue; nothing, if all is well.

    Args:
        layout: where the run's files lie.
        source: the folder that was mirrored.
        files: the manifest.
    """
    return [*_check_copies(layout, source, files), *_check_catalogue(read_catalogue(layout), files)]


def _check_copies(layout: Layout, source: Path, files: Sequence[File]) -> Iterator[str]:
    for file in files:
        copy = layout.copies / file.path
        if not copy.is_file():
            yield f"{file.path}: there is no copy"
        elif copy.read_bytes() != (source / file.path).read_bytes():
            yield f"{file.path}: the copy differs from the original"
    known = {file.path for file in files}
    yield from (f"{path}: a copy of nothing" for path in _files_below(layout.copies) if path not in known)


def check_partial(layout: Layout) -> Iterator[str]:
    """Yield the partial files that were left; there may be some where a worker was taken to be dead, and lived."""
    yield from (f"{path}: a partial file was left" for path in _files_below(layout.partial))


def _files_below(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _check_catalogue(entries: Sequence[Entry], files: Sequence[File]) -> Iterator[str]:
    times = Counter(entry.path for entry in entries)
    promised = {file.path: file.sha256 for file in files}
    yield from (f"{path}: entered {times[path]} times in the catalogue" for path in promised if times[path] != 1)
    yield from (f"{path}: entered, but not in the manifest" for path in times if path not in promised)
    for entry in entries:
        if entry.sha256 != promised.get(entry.path, entry.sha256):
            yield f"{entry.path}: entered with another checksum"


def check_bodies(trace: Sequence[Body], logs: Mapping[str, Sequence[LogEntry]]) -> Iterator[str]:
    """Yield the step bodies that began although the logs say nothing of it, or something else.

    Where a worker was taken to be dead, and lived, there may be some: what it did before it noticed is in no log.

    Args:
        trace: the bodies that began.
        logs: each workflow's whole log by id.
    """
    outcomes = {key: (at, event) for name, log in logs.items() for key, at, event in _outcomes(name, log)}
    for body in trace:
        if body.key not in outcomes:
            yield f"step {body.step} {body.key}: its body began, and no log has its outcome"
        elif body.at > outcomes[body.key][0]:
            yield f"step {body.step} {body.key}: its body began after its outcome was recorded"


def check_outcomes(trace: Sequence[Body], logs: Mapping[str, Sequence[LogEntry]]) -> Iterator[str]:
    """Yield the outcomes of step bodies that never began; the arguments are those of `check_bodies`."""
    began = {body.key for body in trace}
    for name, log in logs.items():
        for key, _, event in _outcomes(name, log):
            if event.result is not Result.CANCELLED and key not in began:
                yield f"step {event.name} {key}: its outcome is recorded, and its body never began"


def _outcomes(workflow_id: str, log: Sequence[LogEntry]) -> Iterator[tuple[str, int, StepEnded]]:
    """Yield the key of each step that has ended, when that was recorded, and its outcome."""
    for record in log:
        if isinstance(record.event, StepEnded):
            yield step_key(workflow_id, parse_path(record.event.path)), record.at, record.event

"""A process of its own, with a hash seed of its own: it replays the logs that it is given, one after the other.

`hash_seeds.py` starts it, and tells it by a line on standard input which file has the next request; the answer is a
line on standard output, which nothing else gets at here. It ends when there are no more lines.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import trio

from .. import Workflow
from .._flow.body import Body
from .._flow.call import outcome_of
from .._flow.strand import place
from .._flow.workflow import registry
from ..lowlevel import Event, LogEntry, Row, StepEnded, decode_event
from .fakes import standing_in
from .golden import replay
from .keeper import mail_in
from .life import Plan, live
from .report import Broken, essence, is_bookkeeping

MARK = "NURSELOG_TESTING_ELSEWHERE"
"""In the environment of such a process: a test that runs there, while its module is imported, starts no others."""


class Request(msgspec.Struct, frozen=True):
    """A log, and where the workflow is found whose log it is."""

    number: int
    folder: str
    path: list[str]
    """What `sys.path` is."""
    module: str
    file: str
    qualname: str
    name: str
    rows: list[Row]


class Followed(msgspec.Struct, frozen=True, tag=True):
    """The code follows the log here as well."""


class Strayed(msgspec.Struct, frozen=True, tag=True):
    """It does not."""

    problem: str
    where: str | None
    """File and line where the code stood then."""
    own: str
    """A digest of what it does here if nothing holds it to the log."""


class Untried(msgspec.Struct, frozen=True, tag=True):
    """It could not be tried."""

    why: str


Verdict = Followed | Strayed | Untried


class Answer(msgspec.Struct, frozen=True):
    """What came of a request."""

    number: int
    verdict: Verdict


def main() -> None:
    """Answer requests until there are none."""
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what the modules print is nobody's answer
        serve(questions, answers)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests, each in a file that a line names."""
    for line in questions:
        file = Path(os.fsdecode(line.rstrip(b"\n")))
        request = msgspec.msgpack.decode(file.read_bytes(), type=Request)
        file.unlink()
        answers.write(msgspec.json.encode(Answer(request.number, verdict(request))) + b"\n")
        answers.flush()


def verdict(request: Request) -> Verdict:
    """Find a workflow, and see whether it follows its log."""
    os.chdir(request.folder)
    sys.path[:] = request.path
    try:
        _load(request.module, request.file)
    except BaseException as exc:  # noqa: BLE001 - whatever a module raises that was not meant to be imported here
        return Untried(f"another process could not import {request.module}: {exc!r}")
    workflow = registry.get((request.module, request.qualname, request.name))
    if workflow is None:
        return Untried(f"importing {request.module} does not make workflow {request.name!r}")
    try:
        replay(workflow, [LogEntry.of(row) for row in request.rows])
    except Broken as broken:
        finding = broken.report.findings[0]
        return Strayed(finding.problem, finding.where, _own(workflow, request.rows))
    return Followed()


# -- the workflow's module ------------------------------------------------------------------------


def _load(module: str, file: str) -> None:
    """Import a module by its name, or, where a test runner has found it in another way, from its file."""
    if getattr(sys.modules.get(module), "__file__", None) == file:
        return
    sys.modules.pop(module, None)
    spec = _spec(module)
    if spec is None or spec.origin != file:
        spec = importlib.util.spec_from_file_location(module, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[module] = made = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[module]
        raise


def _spec(module: str) -> ModuleSpec | None:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(module)
    return None


# -- what it does by itself -----------------------------------------------------------------------


def _own(workflow: Workflow[..., Any], rows: list[Row]) -> str:
    """Run a workflow from its start, with all its mail, and steps that have the outcomes that they had there."""
    ended = ((event, row.value) for event, row in _events(rows) if isinstance(event, StepEnded))
    recorded = {(event.path, event.name): (event, value) for event, value in ended}

    async def as_recorded(*_: object, **__: object) -> Any:
        call = cast("Body", place.get()).call
        found = recorded.get((call.path, call.step.name))
        if found is None:
            return await trio.sleep_forever()
        return outcome_of(call.sequencer, call.step, *found).unwrap()

    with standing_in({None: as_recorded}):
        life = live(workflow, rows[:1], Plan(), instead={}, mail=mail_in(rows))
    said = [(essence(event), row.value) for event, row in _events(life.rows) if not is_bookkeeping(event)]
    return blake2b(repr(said).encode(), digest_size=8).hexdigest()


def _events(rows: Sequence[Row]) -> Iterator[tuple[Event, Row]]:
    return ((decode_event(row.event), row) for row in rows)

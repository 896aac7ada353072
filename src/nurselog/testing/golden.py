"""Golden logs: the logs of real runs, kept as files, and replayed by the code as it is now.

A change of workflow code that a running workflow cannot follow makes it stuck when the change is deployed. Its log
tells before: where the new code follows it to its last row, the workflow will go on; where it does not, the error says
what the log has, what the code did, and where. No step runs: what a log has, replay knows, and what it has not, is not
asked.

Logs of workflows that are still under way are worth the most. Their replay is over when the code has followed all rows
and would write the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from .. import UsageError, Workflow
from .._flow.workflow import registry
from ..abc import Codec
from ..lowlevel import (
    Ended,
    Event,
    JsonCodec,
    LogEntry,
    Result,
    Row,
    Started,
    decode_error,
    decode_event,
    encode_event,
)
from .keeper import ID
from .life import Hung, Life, Plan, Stuck, live
from .report import Broken, Finding, Law, Report


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row, as the file has it."""

    seq: int
    at: int
    after: int
    event: msgspec.Raw
    value: Any = msgspec.UNSET
    """Where the codec writes JSON as this does."""
    data: bytes | None = None
    """Where it writes something else."""


class _File(msgspec.Struct, frozen=True, omit_defaults=True):
    nurselog: int
    """The version of this form."""
    rows: list[_Line]
    id: str = ID
    """The workflow's."""


_FORM = 1


def save_log(log: Iterable[LogEntry], path: Path | str, *, id: str = ID) -> None:
    """Write a workflow's log into a file, as JSON that people and other programs can read.

    Args:
        log: what `WorkflowHandle.log()` returns, or `Life.entries`.
        path: the file; one that is there is replaced, and folders that are not there are made.
        id: the workflow's; where it gives that, or a promise's, to a step, no other will do. "run" is that of a `Life`.
    """
    rows = [_Line(one.seq, one.at, one.after, msgspec.Raw(encode_event(one.event)), *_value(one.value)) for one in log]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(_File(_FORM, rows, id)), indent=1) + b"\n")


def _value(value: bytes | None) -> tuple[Any, bytes | None]:
    if value is not None:
        with suppress(msgspec.DecodeError):
            found = msgspec.json.decode(value)
            if msgspec.json.encode(found) == value:
                return found, None
    return msgspec.UNSET, value


def load_log(path: Path | str) -> Sequence[LogEntry]:
    """Read a log from a file.

    Args:
        path: what `save_log` or `nurselog export` has written.

    Raises:
        UsageError: if the file has none, or one that a newer nurselog has written.
    """
    return _load(path)[1]


def _load(path: Path | str) -> tuple[str, Sequence[LogEntry]]:
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=_File)
        if found.nurselog != _FORM:
            raise UsageError(
                f"{path} has a log in form {found.nurselog}, and this nurselog reads form {_FORM}: replay it with the "
                "nurselog that has written it, or a newer one"
            )
        rows = (LogEntry(one.seq, one.at, one.after, decode_event(one.event), _bytes(one)) for one in found.rows)
        return found.id, list(rows)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} has no log as save_log writes them: {exc}") from exc


def _bytes(line: _Line) -> bytes | None:
    return line.data if line.value is msgspec.UNSET else msgspec.json.encode(line.value)


# -- replay --------------------------------------------------------------------------------------


def replay(
    workflow: Workflow[..., Any],
    log: Path | str | Sequence[LogEntry],
    *,
    id: str = ID,
    codec: Codec | None = None,
) -> Life:
    """See that the code follows a log to its last row, and, where the log has an end, comes to the same end.

    Args:
        workflow: the workflow whose log it is.
        log: the log, or the file that it is in.
        id: the workflow's, for a log; a file says it itself.
        codec: with which it was written; by default JSON.

    Returns:
        What was replayed.

    Raises:
        Broken: if the code does not follow the log.
        UsageError: if the file has no log, the log is another workflow's or version's, or Trio runs already.
    """
    id, entries = _load(log) if isinstance(log, Path | str) else (id, log)
    _check_owner(workflow, entries)
    rows = tuple(Row(one.seq, one.at, one.after, 1, encode_event(one.event), one.value) for one in entries)
    last = entries[-1].event
    end = rows[-1] if isinstance(last, Ended) and last.result is not Result.KILLED else None
    plan = Plan(id=id, follow=True, codec=codec or JsonCodec())
    life = live(workflow, rows[:-1] if isinstance(last, Ended) else rows, plan, instead={})
    if broken := _broken(life, end):
        report = Report(workflow.name, Life(rows, 0, life.outcome))
        report.lives = report.misfortunes = 1
        report.findings.append(Finding(broken[0], "is replayed", broken[1], life, life.where))
        raise Broken(report)
    return life


def workflow_of(log: Sequence[LogEntry]) -> Workflow[..., Any]:
    """Return the workflow whose log it is, among all that have been imported.

    Raises:
        UsageError: if there is none, or more than one.
    """
    started = _start(log)
    named = [one for one in registry.values() if one.name == started.name]
    found = [one for one in named if _takes_up(one, started)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{_called(one)} in {one.__module__}" for one in found or named)
    raise UsageError(
        f"the log is one of {_called(started)}, which {len(found) or 'none'} of all workflows that are imported can "
        f"take up{f'. There is {there}' if there else ''}"
    )


def _start(log: Sequence[LogEntry]) -> Started:
    started = log[0].event if log else None
    if not isinstance(started, Started):
        raise UsageError("a log begins with the start of a workflow, and this one does not")
    return started


def _check_owner(workflow: Workflow[..., Any], log: Sequence[LogEntry]) -> None:
    started = _start(log)
    if started.name != workflow.name or not _takes_up(workflow, started):
        raise UsageError(f"the log is one of {_called(started)}, and not of {_called(workflow)}")


def _takes_up(workflow: Workflow[..., Any], started: Started) -> bool:
    return workflow.version in {None, started.version}


def _called(what: Workflow[..., Any] | Started) -> str:
    return f"workflow {what.name!r}{'' if what.version is None else f', version {what.version!r}'}"


def _broken(life: Life, end: Row | None) -> tuple[Law, str] | None:
    if isinstance(life.outcome, Stuck):
        return Law.FOLLOWS, life.outcome.problem
    if isinstance(life.outcome, Hung) and life.outcome.circling:
        return Law.ENDS, "The code, replayed, goes in a circle."
    if end is None:
        return None
    if not life.ahead:
        return Law.REPLAYS, "The log has an end, and the code, replayed, waits for something."
    if _said(life.ahead[0]) != _said(end):
        return Law.REPLAYS, f"The log ends with {_said(end)}, and the code goes on with {_said(life.ahead[0])}"
    return None


def _said(row: Row) -> tuple[Event, object]:
    """Return what two ends share that are the same: of errors all but the traceback."""
    event = decode_event(row.event)
    if isinstance(event, Ended) and event.result is Result.ERROR:
        error = decode_error(row.value or b"")
        return event, (error.type_name, error.message)
    return event, row.value

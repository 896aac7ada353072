"""Logs without what must not leave the house, and which code still follows.

Nothing can be left out of a log, or it is another one. So texts stay as long as they were, and become illegible; what
stands for something else (a date, a member of an enum) can then not be read back, which is why there are fields.
Errors have none, and no annotations: their texts are crossed out wherever they are, and what would not be read back is
left out. The type stays, and all that is no text, so that `except` and the numbers of an error lead where they led.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace as replace_fields

from .. import UsageError
from .._log.failures import rebuild_error
from .._log.packing import find_type, unpack
from ..lowlevel import (
    Answered,
    Claimed,
    Ended,
    ErrorRecord,
    Event,
    Forked,
    LogEntry,
    Received,
    ScopeCancelled,
    StepEnded,
    decode_error,
)
from .report import has_error

EVERYTHING = "*"
"""Stands for all texts."""


def redact(log: Iterable[LogEntry], fields: Collection[str] = (EVERYTHING,)) -> Sequence[LogEntry]:
    """Return a log in which texts are crossed out: of each character there is an x.

    Args:
        log: a workflow's log.
        fields: the names of the fields whose texts are meant, however deep; "*" means all texts. Where a text stands
            for something else (a date, a member of an enum), it can then not be read back: name fields.

    The end is left out: it is made of the texts, and would not be the same. Keys and numbers stay; so do the keys of
    dicts, which look like the names of fields, also where they are data. Reasons, the names of workers, the keys of
    updates, the id of a workflow that this one was forked from and the texts in errors are crossed out, the errors'
    types stay. Digests of arguments are left out, since they would not fit any more.

    Raises:
        UsageError: if `fields` is a text: its letters would be taken for names.

    Warns:
        UserWarning: of fields that no value of the log has. Perhaps they are called otherwise.
    """
    if isinstance(fields, str):
        raise UsageError(f"fields= is a list of names, and not a text: write [{fields!r}]")
    pen = _Pen(fields)
    redacted = [_redacted(entry, pen) for entry in log if not isinstance(entry.event, Ended)]
    if pen.unseen:
        names = ", ".join(sorted(map(repr, pen.unseen)))
        warnings.warn(f"no value of the log has a field {names}: nothing is crossed out there", stacklevel=2)
    return redacted


def _redacted(entry: LogEntry, pen: _Pen) -> LogEntry:
    value = entry.value
    if value is not None:
        value = _redacted_error(value) if has_error(entry.event) else pen.redact(value)
    return replace_fields(entry, event=_redacted_event(entry.event), value=value)


def _redacted_event(event: Event) -> Event:
    match event:
        case StepEnded():
            return replace_fields(event, digest=None, reason=_crossed_out(event.reason))
        case ScopeCancelled():
            return replace_fields(event, reason=_crossed_out(event.reason))
        case Forked():
            return replace_fields(event, source=_crossed_out(event.source))
        case Claimed():
            return replace_fields(event, worker=_crossed_out(event.worker))
        case Received():
            return replace_fields(event, update=_crossed_out(event.update))
        case Answered():
            return replace_fields(event, key=_crossed_out(event.key))
        case _:
            return event


class _Pen:
    """Crosses out texts in values, and remembers which fields it has not come across."""

    def __init__(self, fields: Collection[str]) -> None:
        self._fields = fields
        self._everything = EVERYTHING in fields
        self.unseen: set[str] = set(fields) - {EVERYTHING}

    def redact(self, value: bytes) -> bytes:
        """Return a value's JSON without the texts that are meant."""
        try:
            return msgspec.json.encode(self._without(msgspec.json.decode(value), inside=self._everything))
        except msgspec.DecodeError as exc:
            raise UsageError(f"a value of the log is no JSON, and cannot be redacted: {exc}") from exc

    def _without(self, value: Any, *, inside: bool) -> Any:
        """Cross out texts, if one is inside of a field that is meant."""
        if isinstance(value, dict):
            members = cast("Mapping[str, Any]", value)
            self.unseen -= members.keys()
            return {key: self._without(one, inside=inside or key in self._fields) for key, one in members.items()}
        if isinstance(value, list):
            return [self._without(one, inside=inside) for one in cast("Sequence[Any]", value)]
        return _crossed_out(value) if inside else value


def _crossed_out(value: Any) -> Any:
    return "x" * len(value) if isinstance(value, str) else value


# -- errors --------------------------------------------------------------------------------------


def _redacted_error(value: bytes) -> bytes:
    return msgspec.json.encode(_bare(decode_error(value)))


def _bare(error: ErrorRecord) -> ErrorRecord:
    """Leave the types of an error and its members, and all that is no text."""
    return ErrorRecord(
        module=error.module,
        qualname=error.qualname,
        message=_crossed_out(error.message),
        args=_bare_part(error.args),
        attributes={name: _bare_part(part) for name, part in error.attributes.items()},
        cause=None if error.cause is None else _bare(error.cause),
        members=None if error.members is None else tuple(map(_bare, error.members)),
        rebuild=error.rebuild,
    )


def _bare_part(part: Any) -> Any:
    """Cross out the texts in what an error holds; leave out what could then not be read back."""
    if isinstance(part, list):
        return [_bare_part(one) for one in cast("Sequence[Any]", part)]
    if not isinstance(part, dict):
        return _crossed_out(part)
    packed = cast("Mapping[str, Any]", part)
    try:
        bare = {**packed, "value": _bare_value(find_type(*packed["type"].split(":")), packed["value"])}
        unpack(bare, lambda record: rebuild_error(msgspec.convert(record, ErrorRecord)))
    except Exception:  # noqa: BLE001 - its class is not here, or says in whatever way that this is none of its values
        return None
    return bare


def _bare_value(kind: type[Any], value: Any) -> Any:
    """Cross out the texts in what stands for a value of a type (see `_log.packing`)."""
    if issubclass(kind, Exception):
        return _bare(msgspec.convert(value, ErrorRecord))
    if issubclass(kind, type):
        return value
    if kind is dict:
        return [[key, _bare_part(one)] for key, one in value]
    if kind in {tuple, set, frozenset}:
        return _bare_part(value)
    return _Pen([EVERYTHING])._without(value, inside=True)

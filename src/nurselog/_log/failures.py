"""Errors as records, and back.

The problem: workflow code says `except CardDeclined`, in the process where the step failed and in another one after a
crash, and both must see the same error. Pickle would run code out of the database, and needs constructors that take
`args`, which many exceptions' do not. Calling `__init__` with what was recorded fails for the same reason, or repeats
its effects.

So an error is recorded as its parts: type, arguments, attributes, notes, cause. It is put together without its own
class's `__new__` and `__init__`; only those of the nearest built-in class run, since built-in exceptions keep state
that no attribute reaches (a UnicodeDecodeError's bytes, an OSError's file name). Whether that gives the same error is
not guessed but tried, once, when it is recorded, on what the log will have: the twin must be of the same class, must
come apart into the same parts and print the same text. The verdict goes into the record, so that a replay cannot come
to another one. Everybody, live too, sees the twin, or `StepFailed` where there cannot be one.

A group is a tree of such records. If the type of a group cannot be rebuilt, it becomes a plain ExceptionGroup, as
`split` and `derive` have it, and its members remain what they are.

Not recorded: `__context__` (the traceback's text has it), and `__suppress_context__`: `raise … from None` hides what
was going on inside the step, of which nothing is left, and must not hide what goes on in the workflow.
"""

from __future__ import annotations

import traceback
import types
from functools import partial
from typing import Any, cast

import msgspec

from .._errors import DecodingError, EncodingError, StepFailed, StuckError
from .packing import find_type, pack, unpack, where_is

MAX_TEXT = 16_384
"""Characters of a message or a traceback; the rest is cut."""
MAX_DEPTH = 32
"""Levels of causes and of groups."""
MAX_ERRORS = 1_000
"""Errors in one record, a group that holds another one twice counted twice; what would come below is left out."""
MAX_FRAMES = 100
"""The innermost frames that a traceback's text shows of each error."""

MAX_NESTING = 3
"""Levels of errors that are arguments or attributes of errors."""

_cause: Any = vars(BaseException)["__cause__"]
_SHOW_ARGUMENTS = (BaseException.__str__, KeyError.__str__)
_PRIVATE = __name__.partition(".")[0] + "._"


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as the log has it."""

    module: str
    qualname: str
    message: str
    """Its text; of a group, without the number of its members."""
    args: list[Any] = []
    """What its built-in class is constructed with, packed; empty if it cannot be rebuilt."""
    attributes: dict[str, Any] = {}
    """What else it holds, in its `__dict__` and its slots, packed; empty if it cannot be rebuilt."""
    notes: tuple[str, ...] = ()
    cause: ErrorRecord | None = None
    members: tuple[ErrorRecord, ...] | None = None
    """Of a group."""
    traceback: str = ""
    """For the outermost record, and for each that cannot be rebuilt."""
    rebuild: bool = False
    """The verdict: whether the type can be rebuilt."""

    @property
    def type_name(self) -> str:
        """The type's module and name, as people write it."""
        return self.qualname if self.module == "builtins" else f"{self.module}.{self.qualname}"


_decoder = msgspec.json.Decoder(ErrorRecord)


def encode_error(record: ErrorRecord) -> bytes:
    """Return the record's JSON form."""
    return msgspec.json.encode(record)


def decode_error(data: bytes) -> ErrorRecord:
    """Return the record whose JSON form is `data`.

    Raises:
        DecodingError: if it is none.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DecodingError(f"this is no recorded error: {exc}") from exc


def record_error(exc: Exception) -> ErrorRecord:
    """Return the record of an error, with the verdict whether it can be rebuilt."""
    try:
        return _Recorder().record(exc, 0)
    except Exception:  # noqa: BLE001 - the error's own code runs, and whatever it raises, there must be a record
        module, qualname = where_is(type(exc))
        return ErrorRecord(module=module, qualname=qualname, message=_text(exc), traceback=_frames_text(exc))


def rebuild_error(record: ErrorRecord) -> Exception:
    """Return the error of a record: one of the recorded type, or `StepFailed` if the verdict was that it cannot be.

    Raises:
        StuckError: if it could be rebuilt when it was recorded, and cannot be now.
    """
    error = _rebuild(record)
    for note in record.notes:
        BaseException.add_note(error, note)
    if record.cause is not None:
        _cause.__set__(error, rebuild_error(record.cause))  # its class may forbid it to be set in the usual way
    return error


def _rebuild(record: ErrorRecord) -> Exception:
    if record.rebuild:
        try:
            return _make_twin(record)
        except StuckError:
            raise
        except Exception as exc:
            raise StuckError(
                f"the log has an error of type {record.type_name}, which cannot be made again here: {exc}. "
                "Bring the class back under that name, as it was, and resume the workflow."
            ) from exc
    if record.members is not None:
        return ExceptionGroup(record.message, [rebuild_error(member) for member in record.members])
    return StepFailed(record.type_name, record.message, record.traceback)


# -- recording -----------------------------------------------------------------------------------


class _Recorder:
    """Makes one record, of an error and of all that hangs on it."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        """The ids of errors that have a record: causes can form circles, and shared ones are recorded once."""
        self._left = MAX_ERRORS

    def record(self, exc: BaseException, depth: int) -> ErrorRecord:
        self._seen.add(id(exc))
        self._left -= 1
        deeper = depth < MAX_DEPTH and self._left > 0
        cause = _cause.__get__(exc) if deeper else None
        cause_record = None if cause is None or id(cause) in self._seen else self.record(cause, depth + 1)
        members = _members(exc) if deeper else None
        member_records = None if members is None else tuple([self.record(member, depth + 1) for member in members])
        record = _try_twin(exc, msgspec.structs.replace(_bare_record(exc), cause=cause_record, members=member_records))
        if depth and record.rebuild:
            return record
        text = _traceback_text(exc, chain=depth == 0) if self._left > 0 else _frames_text(exc)
        return msgspec.structs.replace(record, traceback=text)


def _members(exc: BaseException) -> tuple[Exception, ...] | None:
    return cast("ExceptionGroup[Exception]", exc).exceptions if isinstance(exc, ExceptionGroup) else None


def _bare_record(exc: BaseException) -> ErrorRecord:
    module, qualname = where_is(type(exc))
    notes: object = vars(exc).get("__notes__")
    return ErrorRecord(
        module=module,
        qualname=qualname,
        message=_text(exc.message if isinstance(exc, BaseExceptionGroup) else exc),
        notes=tuple(map(_text, cast("list[object]", notes))) if isinstance(notes, list) else (),
    )


def _try_twin(exc: BaseException, record: ErrorRecord, nesting: int = 0) -> ErrorRecord:
    """Return the record with the verdict, and with the parts if the verdict is good."""
    if (record.members is None) != (_members(exc) is None):
        return record  # a group that was too deep down
    try:
        parts = _parts(exc, nesting)
        args, attributes = msgspec.json.decode(parts)
        candidate = msgspec.structs.replace(record, args=args, attributes=attributes, rebuild=True)
        twin = _make_twin(candidate)
        same = type(twin) is type(exc) and _parts(twin, nesting) == parts and _prints_alike(twin, exc)
    except Exception:  # noqa: BLE001 - the error's own code runs here, and whatever it raises means: no twin
        return record
    return candidate if same else record


def _prints_alike(twin: Exception, exc: BaseException) -> bool:
    """Whether both have the same text. Where it only shows the arguments, a set in it may stand in another order."""
    return type(exc).__str__ in _SHOW_ARGUMENTS or str(twin) == str(exc)


def _parts(exc: Any, nesting: int) -> bytes:
    """Return the JSON of what an error consists of: what its built-in class takes, and what else it holds.

    Built-in classes know best what their constructor needs to make the same error again, and tell `pickle` by
    `__reduce__`. The class's own `__reduce__` is passed over, for it may call anything.
    """
    base: Any = _builtin_base(cast("type[object]", type(exc)))
    _, args, *state = base.__reduce__(exc)
    if issubclass(base, ExceptionGroup):
        args = (exc.message,)
    attributes: dict[str, Any] = _slots(exc)
    for part in state:
        attributes |= part
    for elsewhere in ("args", "__notes__"):
        attributes.pop(elsewhere, None)
    pack_error = partial(_pack_error, nesting)
    return msgspec.json.encode((
        [pack(item, pack_error) for item in args],
        {k: pack(v, pack_error) for k, v in attributes.items()},
    ))


def _slots(exc: Any) -> dict[str, Any]:
    """Return what is in the `__slots__` of the classes that are written in Python."""
    return {
        name: getattr(exc, name)
        for kind in type(exc).__mro__
        if kind.__module__ != "builtins"
        for name, member in vars(kind).items()
        if isinstance(member, types.MemberDescriptorType) and hasattr(exc, name)
    }


def _pack_error(nesting: int, exc: Exception) -> object:
    """Pack an error that another one holds; only as itself, for `except` may look for it there."""
    record = _try_twin(exc, _bare_record(exc), nesting + 1) if nesting < MAX_NESTING else _bare_record(exc)
    if not record.rebuild:
        raise EncodingError(f"{record.type_name} cannot be rebuilt")
    return record


def _unpack_error(data: Any) -> Exception:
    return rebuild_error(msgspec.convert(data, ErrorRecord))


def _make_twin(record: ErrorRecord) -> Exception:
    kind: Any = find_type(record.module, record.qualname)
    if not issubclass(kind, Exception):
        raise DecodingError(f"{record.type_name} is no class of exceptions")
    args = [unpack(item, _unpack_error) for item in record.args]
    if record.members is not None:
        args.append([rebuild_error(member) for member in record.members])
    base: Any = _builtin_base(kind)
    twin: Exception = base.__new__(kind, *args)
    base.__init__(twin, *args)
    for name, value in record.attributes.items():
        object.__setattr__(twin, name, unpack(value, _unpack_error))
    return twin


def _builtin_base(kind: type) -> type:
    """Return the built-in class that decides what the memory of a `kind` looks like."""
    while kind.__module__ != "builtins":
        kind = cast("type", kind.__base__)
    return kind


# -- text ----------------------------------------------------------------------------------------


def _text(value: object) -> str:
    """Return `str(value)`, short enough and fit for UTF-8, whatever the value's own code does."""
    try:
        text = "".join([str(value)])  # no subclass of `str`
    except Exception as exc:  # noqa: BLE001 - the error's own code
        text = f"<its text cannot be had: {type(exc).__name__}>"
    return _utf8(text[:MAX_TEXT])


def _traceback_text(exc: BaseException, *, chain: bool) -> str:
    """Format as Python does, from the first frame on that is not nurselog's own; keep the end, which says most."""
    try:
        lines = traceback.format_exception(type(exc), exc, _frames(exc), limit=-MAX_FRAMES, chain=chain)
    except Exception as failure:  # noqa: BLE001 - the error's own code is called here too
        return f"<its traceback cannot be had: {type(failure).__name__}>"
    text = _utf8("".join(lines))
    cut = len(text) - MAX_TEXT
    return text if cut <= 0 else f"[{cut:,} characters cut]\n{text[cut:]}"


def _frames_text(exc: BaseException) -> str:
    """Format the frames only: Python would go through all members of all groups, also where there are millions."""
    return _utf8("".join(traceback.format_tb(_frames(exc), limit=-MAX_FRAMES)))


def _frames(exc: BaseException) -> types.TracebackType | None:
    frames = exc.__traceback__
    while frames is not None and _is_ours(frames.tb_frame):
        frames = frames.tb_next
    return frames


def _is_ours(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(_PRIVATE)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()

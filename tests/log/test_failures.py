from __future__ import annotations

import abc
import datetime as dt
import decimal
import enum
import errno
import http
import json
import math
import os
import pathlib
import subprocess
import sys
import traceback
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.error import URLError

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nurselog import _errors
from nurselog._errors import DecodingError, StepFailed, StuckError
from nurselog._log import failures
from nurselog._log.codec import JsonCodec
from nurselog._log.failures import (
    MAX_DEPTH,
    MAX_TEXT,
    ErrorRecord,
    decode_error,
    encode_error,
    rebuild_error,
    record_error,
)


def again(exc: Exception) -> Exception:
    """Return what workflow code sees after `exc` went through the log."""
    return rebuild_error(decode_error(encode_error(record_error(exc))))


def raised(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as exc:  # noqa: BLE001 - whatever it is
        return exc
    raise AssertionError


def parts(exc: BaseException) -> object:
    """Return all that makes two errors the same, but identity and traceback.

    The text is left out, for sets print in any order; the texts of those that the test names are compared apart.
    """
    held = {name: parts(v) if isinstance(v, BaseException) else v for name, v in vars(exc).items()}
    members = [parts(member) for member in exc.exceptions] if isinstance(exc, BaseExceptionGroup) else None
    args = None if members else [parts(arg) if isinstance(arg, BaseException) else arg for arg in exc.args]
    cause = None if exc.__cause__ is None else parts(exc.__cause__)
    return type(exc), args, held, members, cause


def made(exc: Exception, held: dict[str, Any]) -> Exception:
    vars(exc).update(held)
    return exc


def caused(exc: Exception, cause: Exception) -> Exception:
    exc.__cause__ = cause
    return exc


# -- errors that come back -----------------------------------------------------------------------


class Reason(enum.Enum):
    POOR = "poor"


@dataclass(frozen=True)
class Money:
    amount: decimal.Decimal
    currency: str


class Declined(Exception):
    """An `__init__` that does not take `args`, with an effect and a text of its own."""

    made = 0

    def __init__(self, *, code: int, reason: Reason = Reason.POOR) -> None:
        Declined.made += 1
        super().__init__(f"declined: {code}")
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        return f"card declined ({self.code}, {self.reason.value})"


class Slotted(ValueError):
    __slots__ = ("__hidden", "code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code, self.__hidden = code, (1, 2)

    def hidden(self) -> tuple[int, int]:
        return self.__hidden


class Forwarding(Exception):
    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        return super().__new__(cls, "made by __new__")

    def __init__(self, value: object) -> None:
        self.value = value


class Guarded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        vars(self)["code"] = code

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        raise TypeError


class Quota(OSError):
    def __init__(self, used: int) -> None:
        super().__init__(errno.EDQUOT, "quota", "/data")
        self.used = used


@dataclass
class AsDataclass(Exception):
    code: int
    money: Money


@attrs.frozen
class AsAttrs(Exception):
    code: int


class Outer:
    class Inner(KeyError):
        pass


def with_notes() -> Exception:
    exc = ValueError("noted")
    exc.add_note("one")
    exc.add_note("two\nlines")
    return exc


MONEY = Money(decimal.Decimal("1.10"), "EUR")

FAITHFUL: list[Exception] = [
    Exception(),
    ValueError("plain"),
    ValueError("many", 1, 2.5, None, [True, [2]]),
    ValueError(("a", "tuple"), {"a": {1: "x"}}, {(1, 2): []}, -0.0),
    ValueError(b"\xff", dt.datetime(2020, 1, 2, tzinfo=dt.UTC), uuid.UUID(int=3), pathlib.Path("/a"), 10**30),
    ValueError(Reason.POOR, MONEY, [MONEY], {"m": (MONEY,)}, http.HTTPStatus.OK, dt.timedelta(1)),
    KeyError("missing"),
    KeyError(("a", 1)),
    Outer.Inner("x"),
    UnicodeDecodeError("utf-8", b"\xff\x00", 0, 1, "invalid start byte"),
    UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range"),
    FileNotFoundError(2, "No such file", "/a"),
    OSError(18, "Cross-device", "/a", None, "/b"),
    BlockingIOError(11, "busy", 5),
    ConnectionResetError("gone"),
    TimeoutError(),
    raised(lambda: int("x")),
    raised(pathlib.Path("/does/not/exist").read_text),
    raised(lambda: {}["x"]),
    raised(b"\xff".decode),
    raised(lambda: 1 / 0),
    raised(lambda: None.nothing),  # type: ignore[attr-defined]  # the point
    raised(lambda: nothing),  # type: ignore[name-defined]  # noqa: F821 - the point
    raised(lambda: __import__("does_not_exist")),
    raised(lambda: compile("a b", "file.py", "exec")),
    raised(lambda: json.loads("{")),
    raised(lambda: decimal.Decimal("x")),
    TypeError(int, abc.ABC, Reason),
    raised(lambda: msgspec.json.decode(b"{")),
    subprocess.CalledProcessError(2, ["ls", "-l"], output=b"out", stderr=b"err"),
    StopIteration(3),
    trio.TooSlowError(),
    trio.BrokenResourceError("gone"),
    Declined(code=5),
    Slotted(3),
    Forwarding(3),
    Guarded(3),
    Quota(7),
    AsDataclass(3, MONEY),
    AsAttrs(3),
    URLError(ConnectionResetError(104, "reset")),
    with_notes(),
    StepFailed("other.Error", "message", "traceback"),
    _errors.PayloadTooLargeError("the result", 10, 5),
    _errors.NonDeterminismError(workflow_id="w", path="1", recorded="a", called="b", where=None, remedy="c"),
    _errors.DeadlockError("w", ("one", "two")),
    _errors.StepInterrupted("step", "1.2"),
    _errors.ChildCancelled("1", None),
    _errors.WorkflowStuck("w", "problem"),
    _errors.StoreTooNew("url", 3, 2),
    ExceptionGroup("two", [ValueError("a"), Declined(code=1)]),
    ExceptionGroup("deep", [ExceptionGroup("inner", [KeyError("x"), with_notes()]), TimeoutError()]),
]


@pytest.mark.parametrize("exc", FAITHFUL, ids=range(len(FAITHFUL)))
def test_an_error_comes_back_as_itself(exc: Exception) -> None:
    record = record_error(exc)
    assert record.rebuild
    back = rebuild_error(decode_error(encode_error(record)))
    assert back is not exc
    assert parts(back) == parts(exc)
    assert str(back) == str(exc)
    assert getattr(back, "__notes__", None) == getattr(exc, "__notes__", None)
    assert not back.__suppress_context__
    assert textless(record_error(back)) == textless(record)


def textless(record: ErrorRecord) -> ErrorRecord:
    return msgspec.structs.replace(
        record,
        traceback="",
        message="",
        cause=record.cause and textless(record.cause),
        members=record.members and tuple(map(textless, record.members)),
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4) | st.sampled_from(Reason),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), max_size=3)
        | st.dictionaries(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)
leaves = st.builds(
    lambda kind, args, held: made(kind(*args), held),
    st.sampled_from([ValueError, KeyError, Outer.Inner, trio.TooSlowError]),
    st.lists(values, min_size=1, max_size=3).map(lambda args: args[:1]),
    st.dictionaries(st.sampled_from(["code", "detail"]), values, max_size=2),
)
errors = st.recursive(
    leaves,
    lambda inner: (
        st.builds(ExceptionGroup, st.text(max_size=5), st.lists(inner, min_size=1, max_size=3))
        | st.builds(caused, inner, inner)
    ),
    max_leaves=5,
)


@given(errors)
def test_trees_of_errors_come_back(exc: Exception) -> None:
    assert parts(again(exc)) == parts(exc)
    assert encode_error(textless(record_error(again(exc)))) == encode_error(textless(record_error(exc)))


def test_attributes_of_built_in_errors_come_back() -> None:
    missing = again(FileNotFoundError(2, "No such file", "/a"))
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/a")
    broken = again(UnicodeDecodeError("utf-8", b"\xff\x00", 0, 1, "bad"))
    assert isinstance(broken, UnicodeDecodeError)
    assert (broken.object, broken.end) == (b"\xff\x00", 1)
    absent = again(raised(lambda: __import__("does_not_exist")))
    assert isinstance(absent, ImportError)
    assert absent.name == "does_not_exist"
    quota = again(Quota(7))
    assert isinstance(quota, Quota)
    assert (quota.used, quota.filename, quota.errno) == (7, "/data", errno.EDQUOT)


def test_slots_come_back() -> None:
    slotted = again(Slotted(3))
    assert isinstance(slotted, Slotted)
    assert (slotted.code, slotted.hidden(), hasattr(slotted, "unset")) == (3, (1, 2), False)


def test_no_constructor_runs() -> None:
    exc = Declined(code=5)
    before = Declined.made
    assert isinstance(again(exc), Declined)
    assert Declined.made == before


def test_nan_is_no_argument_that_comes_back() -> None:
    assert not record_error(ValueError(math.nan)).rebuild


# -- errors that do not come back ----------------------------------------------------------------


class LateBase(LookupError, OSError):
    """Made by LookupError, in the memory of an OSError: no built-in class makes such a one from these arguments."""


class Connected(Exception):
    """Holds what lives in this process only."""

    def __init__(self) -> None:
        super().__init__("connection lost")
        self.connection = object()


class Moody(Exception):
    def __str__(self) -> str:
        return f"instance {id(self)}"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Reading(Exception):
    def __init__(self) -> None:
        super().__init__()
        self._text = "text"

    @property
    def text(self) -> str:
        return self._text


def shadowed() -> Exception:
    exc = Reading()
    vars(exc)["text"] = "under a property"
    return exc


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


def replaced() -> Exception:
    kind = type("Declined", (Exception,), {"__module__": __name__})
    exc: Exception = kind("impostor")
    return exc


def homeless() -> Exception:
    kind = type("Homeless", (Exception,), {"__module__": "does.not.exist"})
    exc: Exception = kind("homeless")
    return exc


def nameless() -> Exception:
    kind = type("FAITHFUL", (Exception,), {"__module__": __name__})
    exc: Exception = kind("nameless")
    return exc


def own_argument() -> Exception:
    exc = ValueError()
    exc.args = (exc,)
    return exc


def circular_argument() -> Exception:
    circle: list[Any] = []
    circle.append(circle)
    return ValueError(circle)


class Secret(str):
    __slots__ = ()


UNFAITHFUL: list[tuple[Exception, str]] = [
    (Connected(), "test_failures.Connected: connection lost"),
    (ValueError(object()), "ValueError: <object object at "),
    (ValueError(type(local())), "ValueError: <class 'test_failures.local.<locals>.Local'>"),
    (ValueError("\ud800"), "ValueError: \\ud800"),
    (ValueError(Secret("x")), "ValueError: x"),
    (ValueError(KeyboardInterrupt("x")), "ValueError: x"),
    (LateBase(2, "late", "/a"), "test_failures.LateBase: (2, 'late', '/a')"),
    (Mute(), "test_failures.Mute: <its text cannot be had: RuntimeError>"),
    (shadowed(), "test_failures.Reading: "),
    (local(), "test_failures.local.<locals>.Local: local"),
    (replaced(), "test_failures.Declined: impostor"),
    (ValueError([replaced()]), "ValueError: [Declined('impostor')]"),
    (homeless(), "does.not.exist.Homeless: homeless"),
    (nameless(), "test_failures.FAITHFUL: nameless"),
    (own_argument(), "ValueError: <its text cannot be had: RecursionError>"),
    (circular_argument(), "ValueError: [[...]]"),
    (URLError(Connected()), "urllib.error.URLError: <urlopen error connection lost>"),
    (ValueError(ExceptionGroup("g", [ValueError()])), "ValueError: g (1 sub-exception)"),
    (URLError(URLError(URLError(URLError(ValueError("deep"))))), "urllib.error.URLError: <urlopen error <urlopen"),
]


@pytest.mark.parametrize(("exc", "text"), UNFAITHFUL, ids=range(len(UNFAITHFUL)))
def test_what_cannot_be_rebuilt_is_a_failed_step(exc: Exception, text: str) -> None:
    record = record_error(exc)
    assert (record.rebuild, record.args, record.attributes) == (False, [], {})
    back = rebuild_error(decode_error(encode_error(record)))
    assert isinstance(back, StepFailed)
    assert str(back).startswith(text)
    assert back.type_name in back.traceback or "cannot be had" in back.traceback
    assert parts(again(back)) == parts(back)


def test_an_error_whose_text_changes_is_a_failed_step() -> None:
    assert isinstance(again(Moody()), StepFailed)


def test_errors_inside_errors_come_back_where_they_were() -> None:
    back = again(URLError(URLError(ConnectionResetError(104, "reset"))))
    assert isinstance(back, URLError)
    assert isinstance(back.reason, URLError)
    assert isinstance(back.reason.reason, ConnectionResetError)
    assert back.args[0].reason.errno == 104


# -- notes, causes, groups -----------------------------------------------------------------------


def test_odd_notes() -> None:
    exc = ValueError("x")
    exc.__notes__ = ["text", 5, Mute()]  # type: ignore[list-item]  # what Python allows
    assert again(exc).__notes__ == ["text", "5", "<its text cannot be had: RuntimeError>"]
    exc.__notes__ = "no list"  # type: ignore[assignment]  # what Python allows
    assert not hasattr(again(exc), "__notes__")


def test_notes_of_a_failed_step() -> None:
    exc = Connected()
    exc.add_note("noted")
    assert again(exc).__notes__ == ["noted"]


def test_a_chain_of_causes() -> None:
    back = again(caused(ValueError("top"), caused(Connected(), KeyError("root"))))
    assert isinstance(back.__cause__, StepFailed)
    assert "test_failures.Connected: connection lost" in back.__cause__.traceback
    assert isinstance(back.__cause__.__cause__, KeyError)
    assert back.__cause__.__cause__.__cause__ is None


def test_a_cause_that_is_no_exception_of_a_program() -> None:
    exc = ValueError("top")
    exc.__cause__ = KeyboardInterrupt()
    assert isinstance(again(exc).__cause__, StepFailed)
    exc.__cause__ = BaseExceptionGroup("g", [KeyboardInterrupt()])
    assert isinstance(again(exc).__cause__, StepFailed)


def test_causes_in_a_circle() -> None:
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    back = again(one)
    assert back.__cause__ is not None
    assert (back.args, back.__cause__.args, back.__cause__.__cause__) == ((1,), (2,), None)


def test_a_shared_cause_is_recorded_once() -> None:
    cause = ValueError("cause")
    back = again(ExceptionGroup("g", [caused(KeyError(n), cause) for n in range(3)]))
    assert isinstance(back, ExceptionGroup)
    assert [member.__cause__ is None for member in back.exceptions] == [False, True, True]


def depth(exc: BaseException | None) -> int:
    count = 0
    while exc is not None:
        exc = exc.__cause__
        count += 1
    return count


def test_long_chains_are_cut() -> None:
    exc = ValueError("root")
    for n in range(5_000):
        exc = caused(ValueError(n), exc)
    assert depth(again(exc)) == MAX_DEPTH + 1


def test_deep_groups_are_cut() -> None:
    group: Exception = ValueError("root")
    for _ in range(MAX_DEPTH + 5):
        group = ExceptionGroup("level", [group])
    back = again(group)
    for _ in range(MAX_DEPTH):
        assert isinstance(back, ExceptionGroup)
        back = back.exceptions[0]
    assert isinstance(back, StepFailed)


class Hostile(Exception):
    @property
    def __context__(self) -> Any:  # type: ignore[override]  # what a program may do
        raise RuntimeError


def test_a_traceback_that_python_cannot_format() -> None:
    assert record_error(Hostile("x")).traceback == "<its traceback cannot be had: RuntimeError>"


class Batch(ExceptionGroup[Exception]):
    def __new__(cls, number: int, members: list[Exception]) -> Self:
        made = super().__new__(cls, f"batch {number}", members)
        made.number = number
        return made

    number: int

    def derive(self, excs: Any) -> Batch:
        return Batch(self.number, excs)


def test_a_group_of_an_own_type_comes_back() -> None:
    back = again(Batch(3, [ValueError("x"), Connected()]))
    assert isinstance(back, Batch)
    assert (back.message, back.number) == ("batch 3", 3)
    assert isinstance(back.exceptions[0], ValueError)
    assert isinstance(back.exceptions[1], StepFailed)
    matching, rest = back.split(ValueError)
    assert isinstance(matching, Batch)
    assert isinstance(rest, Batch)


def test_a_group_that_cannot_be_rebuilt_is_a_plain_one_with_the_same_members() -> None:
    class LocalGroup(ExceptionGroup[Exception]):
        pass

    group = LocalGroup("two", [ValueError("a"), KeyError("b")])
    group.add_note("noted")
    record = record_error(group)
    assert (record.qualname.split(".")[-1], record.rebuild) == ("LocalGroup", False)
    back = rebuild_error(record)
    assert type(back) is ExceptionGroup
    assert (str(back), back.__notes__) == ("two (2 sub-exceptions)", ["noted"])
    assert [parts(member) for member in back.exceptions] == [parts(member) for member in group.exceptions]


def test_except_star_finds_rebuilt_members() -> None:
    found = []
    try:
        raise again(ExceptionGroup("g", [Declined(code=1), Connected()]))
    except* Declined as group:
        found.append(group.exceptions[0])
    except* StepFailed as group:
        found.append(group.exceptions[0])
    assert [type(exc) for exc in found] == [Declined, StepFailed]


# -- what is in the record -----------------------------------------------------------------------


def test_the_record_of_a_simple_error() -> None:
    record = record_error(ValueError("x", (1, b"y")))
    assert msgspec.json.decode(encode_error(record)) == {
        "module": "builtins",
        "qualname": "ValueError",
        "message": "('x', (1, b'y'))",
        "args": [
            "x",
            {"type": "builtins:tuple", "value": [1, {"type": "builtins:bytes", "value": "eQ=="}]},
        ],
        "traceback": "ValueError: ('x', (1, b'y'))\n",
        "rebuild": True,
    }


def test_a_record_can_go_through_a_codec() -> None:
    record, codec = record_error(Batch(1, [Declined(code=1)])), JsonCodec()
    assert codec.decode(codec.encode(record, ErrorRecord), ErrorRecord) == record


def test_paths_are_recorded_as_every_python_finds_them() -> None:
    assert b'"pathlib:PosixPath"' in encode_error(record_error(ValueError(pathlib.PosixPath("/a"))))


def test_bytes_that_are_no_record() -> None:
    for data in (b"{}", b"[", b'{"module":"\xff"}'):
        with pytest.raises(DecodingError, match="no recorded error"):
            decode_error(data)


def test_the_traceback_is_pythons() -> None:
    def inner() -> None:
        raise KeyError("inner")

    def outer() -> None:
        try:
            inner()
        except KeyError:
            raise ValueError("outer")  # noqa: B904 - the context is looked for in the text

    exc = raised(outer)
    assert record_error(exc).traceback == "".join(traceback.format_exception(exc))
    assert "During handling" in record_error(exc).traceback


def test_members_and_causes_have_a_traceback_where_they_cannot_be_rebuilt() -> None:
    bad = raised(lambda: (_ for _ in ()).throw(Connected()))
    record = record_error(caused(ExceptionGroup("g", [ValueError("x"), bad]), KeyError("cause")))
    assert record.members is not None
    assert record.cause is not None
    assert (record.members[0].traceback, record.cause.traceback) == ("", "")
    assert record.members[1].traceback == "".join(traceback.format_exception(bad))
    assert "Connected: connection lost" in record.traceback


def in_module(name: str, source: str) -> Callable[..., Any]:
    module = types.ModuleType(name)
    exec(source, vars(module))
    function: Callable[..., Any] = vars(module)["call"]
    return function


def test_our_own_frames_are_left_out_at_the_top() -> None:
    engine = in_module("nurselog._engine.body", "def call(f): f()")
    demo = in_module("nurselog.demo.job", "def call(): raise ValueError('x')")
    exc = raised(lambda: 1 / 0)

    def step() -> None:
        engine(demo)

    def strip(exc: Exception) -> list[str]:
        exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next  # the frame of `raised`
        return [line.split(" in ")[1] for line in record_error(exc).traceback.splitlines() if " in " in line]

    assert strip(raised(lambda: engine(step))) == ["<lambda>", "call", "step", "call", "call"]
    assert strip(raised(engine.__get__(step))) == ["step", "call", "call"]
    assert strip(raised(engine.__get__(demo))) == ["call"]
    exc.__traceback__ = None
    assert record_error(exc).traceback == "ZeroDivisionError: division by zero\n"


def test_long_texts_are_cut() -> None:
    record = record_error(ValueError("begin" + "x" * 3 * MAX_TEXT + "end"))
    assert record.rebuild
    assert len(record.message) == MAX_TEXT
    assert record.message.startswith("begin")
    assert len(record.traceback) < MAX_TEXT + 50
    assert record.traceback.startswith("[32,")
    assert record.traceback.endswith("end\n")
    assert str(rebuild_error(record)).endswith("end")


def test_only_the_innermost_frames_are_shown() -> None:
    def down(n: int) -> None:
        if n == 0:
            raise ValueError("bottom")
        return down(n - 1) if n % 2 else down(n - 1) or None

    text = record_error(raised(lambda: down(300))).traceback
    assert text.endswith("ValueError: bottom\n")
    assert "in <lambda>" not in text


def test_texts_of_other_languages_and_lone_surrogates() -> None:
    record = decode_error(encode_error(record_error(OSError(2, "weg", "/tmp\udcff"))))
    assert not record.rebuild
    assert "\\udcff" in record.message
    assert again(ValueError("Größe € \U0001f332")).args == ("Größe € \U0001f332",)


# -- another process, another time ---------------------------------------------------------------

RECORDING = """
import sys
from nurselog._log.failures import *
class InScript(Exception):
    pass
class Held:
    pass
sys.path.insert(0, "lib")
import shop
errors = [shop.Declined("a"), shop.Till.Empty("b"), InScript("c"), ValueError(shop.Money(3)),
          ExceptionGroup("g", [shop.Declined("d")]), ValueError(shop.Declined("e"))]
sys.stdout.buffer.write(b"\\n".join(encode_error(record_error(error)) for error in errors))
"""

REPLAYING = """
import sys
from nurselog._errors import StuckError
from nurselog._log.failures import *
class InScript(Exception):
    pass
sys.path.insert(0, sys.argv[1])
for line in sys.stdin.buffer.read().splitlines():
    try:
        print(repr(rebuild_error(decode_error(line))))
    except StuckError as exc:
        print("stuck:", exc)
"""

SHOP = """
from dataclasses import dataclass
class Declined(Exception):
    pass
class Till:
    class Empty(Exception):
        pass
@dataclass
class Money:
    amount: int
"""


def run(folder: pathlib.Path, source: str, *arguments: str, data: bytes = b"") -> bytes:
    source_root = pathlib.Path(failures.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        cwd=folder,
        input=data,
        env={**os.environ, "PYTHONPATH": str(source_root)},
        capture_output=True,
        check=True,
    ).stdout


def write(folder: pathlib.Path, source: str) -> None:
    folder.mkdir()
    (folder / "shop.py").write_text(source)


@pytest.fixture
def recorded(tmp_path: pathlib.Path) -> bytes:
    write(tmp_path / "lib", SHOP)
    return run(tmp_path, RECORDING)


def test_another_process_imports_what_it_needs(tmp_path: pathlib.Path, recorded: bytes) -> None:
    assert run(tmp_path, REPLAYING, "lib", data=recorded).decode().splitlines() == [
        "Declined('a')",
        "Empty('b')",
        "InScript('c')",
        "ValueError(Money(amount=3))",
        "ExceptionGroup('g', [Declined('d')])",
        "ValueError(Declined('e'))",
    ]


@pytest.mark.parametrize(
    "source",
    [
        None,
        "",
        "raise RuntimeError('half finished')",
        "Declined = Till = Money = 5",
        "class Declined: pass\nclass Till:\n  Empty = Declined\nclass Money: pass",
        "class Declined(BaseException): pass\nclass Till:\n  Empty = Declined\nMoney = complex",
    ],
)
def test_a_type_that_is_gone_is_never_another_type(tmp_path: pathlib.Path, recorded: bytes, source: str | None) -> None:
    if source is not None:
        write(tmp_path / "new", source)
    lines = run(tmp_path, REPLAYING, "new", data=recorded).decode().splitlines()
    assert [line[:5] == "stuck" for line in lines] == [True, True, False, True, True, True]
    assert lines[0].startswith("stuck: the log has an error of type shop.Declined, which cannot be made again here: ")
    assert lines[0].endswith("Bring the class back under that name, as it was, and resume the workflow.")


def test_a_missing_type_names_its_cause() -> None:
    record = msgspec.structs.replace(record_error(ValueError("x")), module="does_not_exist")
    with pytest.raises(StuckError, match=r"does_not_exist.ValueError cannot be imported: No module named") as caught:
        rebuild_error(record)
    assert isinstance(caught.value.__cause__, DecodingError)


def test_the_verdict_is_not_reached_again(monkeypatch: pytest.MonkeyPatch) -> None:
    record = decode_error(encode_error(record_error(Connected())))
    monkeypatch.setattr(Connected, "__init__", Exception.__init__)
    assert isinstance(rebuild_error(record), StepFailed)
    record = decode_error(encode_error(record_error(Declined(code=1))))
    monkeypatch.setattr(Declined, "__str__", lambda _: "another text")
    assert isinstance(rebuild_error(record), Declined)

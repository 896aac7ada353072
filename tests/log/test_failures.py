from __future__ import annotations

import abc
import datetime as dt
import decimal
import errno
import http
import json
import math
import pathlib
import subprocess
import uuid
from typing import Any
from urllib.error import URLError

import msgspec
import pytest
import trio

from nurselog import _errors
from nurselog._errors import StepFailed
from nurselog._log.failures import (
    decode_error,
    encode_error,
    rebuild_error,
    record_error,
)
from tests.log.errors import (
    AsAttrs,
    AsDataclass,
    Connected,
    Declined,
    Forwarding,
    Guarded,
    Money,
    Mute,
    Outer,
    Quota,
    Reason,
    Slotted,
    again,
    parts,
    raised,
    textless,
    with_notes,
)

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


class Moody(Exception):
    def __str__(self) -> str:
        return f"instance {id(self)}"


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


class Shouting(Exception):
    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, value: str) -> None:
        self._text = value.upper()


def quiet() -> Exception:
    exc = Shouting()
    exc.text = "loud"
    vars(exc)["text"] = "quiet"
    return exc


def of_another_type_by_its_number() -> Exception:
    exc = OSError()
    exc.args = (errno.ENOENT, "late")
    exc.errno, exc.strerror = exc.args
    return exc


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


def replaced() -> Exception:
    kind = type("Declined", (Exception,), {"__module__": Declined.__module__})
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


ODD_ZONE = dt.datetime(1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1)))


class Secret(str):
    __slots__ = ()


UNFAITHFUL: list[tuple[Exception, str]] = [
    (Connected(), "tests.log.errors.Connected: connection lost"),
    (ValueError(object()), "ValueError: <object object at "),
    (ValueError(type(local())), "ValueError: <class 'test_failures.local.<locals>.Local'>"),
    (ValueError("\ud800"), "ValueError: \\ud800"),
    (ValueError(Secret("x")), "ValueError: x"),
    (ValueError(KeyboardInterrupt("x")), "ValueError: x"),
    (LateBase(2, "late", "/a"), "test_failures.LateBase: (2, 'late', '/a')"),
    (Mute(), "tests.log.errors.Mute: <its text cannot be had: RuntimeError>"),
    (shadowed(), "test_failures.Reading: "),
    (quiet(), "test_failures.Shouting: "),
    (of_another_type_by_its_number(), "OSError: [Errno 2] late"),
    (ValueError(ODD_ZONE), "ValueError: 1900-01-01 00:00:00+00:00:01"),
    (ValueError(type(replaced())), "ValueError: <class 'tests.log.errors.Declined'>"),
    (local(), "test_failures.local.<locals>.Local: local"),
    (replaced(), "tests.log.errors.Declined: impostor"),
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


def test_the_verdict_is_not_reached_again(monkeypatch: pytest.MonkeyPatch) -> None:
    record = decode_error(encode_error(record_error(Connected())))
    monkeypatch.setattr(Connected, "__init__", Exception.__init__)
    assert isinstance(rebuild_error(record), StepFailed)
    record = decode_error(encode_error(record_error(Declined(code=1))))
    monkeypatch.setattr(Declined, "__str__", lambda _: "another text")
    assert isinstance(rebuild_error(record), Declined)

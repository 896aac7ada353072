from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from nurselog._errors import DecodingError, StuckError
from nurselog._log import failures
from nurselog._log.codec import JsonCodec
from nurselog._log.failures import (
    MAX_TEXT,
    ErrorRecord,
    decode_error,
    encode_error,
    rebuild_error,
    record_error,
)
from tests.log.errors import Batch, Connected, Declined, again, caused, raised


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


class Hostile(Exception):
    @property
    def __context__(self) -> Any:  # type: ignore[override]  # what a program may do
        raise RuntimeError


def test_a_traceback_that_python_cannot_format() -> None:
    assert record_error(Hostile("x")).traceback == "<its traceback cannot be had: RuntimeError>"


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
    start = "stuck: the log has an error of type shop.Declined, which cannot be made again here: "
    assert [line.startswith(start) for line in lines] == [True, False, False, False, True, False]
    assert lines[0].endswith("Bring the class back under that name, as it was, and resume the workflow.")


def test_a_missing_type_names_its_cause() -> None:
    record = msgspec.structs.replace(record_error(ValueError("x")), module="does_not_exist")
    with pytest.raises(StuckError, match=r"does_not_exist.ValueError cannot be imported: No module named") as caught:
        rebuild_error(record)
    assert isinstance(caught.value.__cause__, DecodingError)

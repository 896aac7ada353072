"""Instruments of `nurselog worker`, which are named on its command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nurselog.cli import main

WATCHED = """
import signal
from nurselog import workflow
from nurselog.abc import Happening, Instrument, Looked

class Watcher(Instrument):
    def happened(self, what: Happening) -> None:
        if isinstance(what, Looked):
            print("has looked")
            signal.raise_signal(signal.SIGTERM)

watcher = Watcher()

@workflow(name="worker.watched")
async def watched() -> None: ...
"""


@pytest.fixture(autouse=True)
def _yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module `yard` in a folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("yard.py").write_text(WATCHED, "utf-8")
    yield
    sys.modules.pop("yard", None)


def work(instrument: str) -> int:
    return main(["worker", "yard", "--store", "sqlite:///yard.db", "--instrument", instrument])


def test_its_instruments_are_told_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert work("yard:watcher") == 0
    assert capsys.readouterr().out == "has looked\n"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("yard", "the instrument in module 'yard' has a name: write --instrument yard:NAME"),
        ("yard:nobody", "there is no 'nobody' in module 'yard'"),
        ("yard:Watcher", "an instrument must be an object of a class that derives from nurselog.abc.Instrument"),
    ],
)
def test_what_is_no_instrument(capsys: pytest.CaptureFixture[str], named: str, said: str) -> None:
    assert work(named) == 2
    assert said in capsys.readouterr().err

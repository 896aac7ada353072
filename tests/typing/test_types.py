"""Both type checkers come to what the files beside this one say, errors included.

The comments that have an error ignored are for mypy; pyright, by the settings beside this file, heeds its own only.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

FILES = [str(path) for path in sorted(Path(__file__).parent.glob("*.py")) if not path.name.startswith("test_")]


def check(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_something_to_check() -> None:
    assert [Path(file).name for file in FILES] == [
        "clients.py",
        "data.py",
        "engines.py",
        "outboxes.py",
        "transactions.py",
        "workflows.py",
    ]


def test_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    check("mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), *FILES)


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_pyright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRIGHT_PYTHON_IGNORE_WARNINGS", "1")
    said = json.loads(
        check("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(Path(__file__).parent))
    )
    assert said["summary"]["filesAnalyzed"] == len(FILES)

"""`nurselog worker` with modules that configure Python's `logging` for themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURED = """
import logging.config
logging.config.dictConfig({{"version": 1}})
{rest}
"""
"""The shortest way to disable all loggers that are there: what `dictConfig` does by default."""


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "there is no workflow at the top level of module 'mill'"),
        ("raise ValueError('no flour')", "module 'mill' cannot be imported: ValueError('no flour')"),
    ],
)
def test_a_module_that_disables_loggers_does_not_silence_it(tmp_path: Path, rest: str, said: str) -> None:
    """As a program, for the test runner's own loggers would be disabled, too."""
    (tmp_path / "mill.py").write_text(CONFIGURED.format(rest=rest), "utf-8")
    program = [sys.executable, "-m", "nurselog", "worker", "mill", "--store", "sqlite:///mill.db"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr

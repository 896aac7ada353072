"""A script without an event loop, and a notebook in a kernel of Jupyter's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hosts.serving import EXAMPLES, PATIENCE, sales
from tests.house.tree import ROOT

SCRIPT = """\
number 1: the lamp for 900 cents
number 2: the vase for 300 cents
number 3: the book for 20 cents
orders in the store: 3
"""
NOTEBOOK = """\
Receipt(order='lamp-1', item='lamp', cents=900, number=1)
<Status.RUNNING: 'running'>
Receipt(order='piano-1', item='piano', cents=9000, number=2)
"""


def run(folder: Path, *command: str | Path) -> str:
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT, EXAMPLES)))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_script_that_runs_again_finds_what_is_done(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(tmp_path, "-W", "error", EXAMPLES / "script.py") == SCRIPT
    assert len(sales(tmp_path)) == 3


def test_a_notebook(tmp_path: Path) -> None:
    """And once more, as after a restart of its kernel, when the piano has been approved of."""
    notebook = EXAMPLES / "notebook.ipynb"
    again = NOTEBOOK.replace("<Status.RUNNING: 'running'>", "<Status.COMPLETED: 'completed'>")
    assert run(tmp_path, "-m", "tests.hosts.cells", notebook) == NOTEBOOK
    assert run(tmp_path, "-m", "tests.hosts.cells", notebook) == again
    assert len(sales(tmp_path)) == 2


def test_the_notebook_says_how_to_run_it() -> None:
    assert "jupyter lab examples/hosts/notebook.ipynb" in (EXAMPLES / "notebook.ipynb").read_text("utf-8")

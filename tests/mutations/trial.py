"""One run of some tests on a copy of the package, and what it says about a mutant.

A mutant is tried on a copy: nothing in the project's own folder is ever written. The copy comes first in `PYTHONPATH`,
so it is the one that tests import, and the one that the processes import which tests start.

What counts as caught is a test that *failed*. A run that finds no tests, cannot import them, or breaks in a fixture
says nothing about what the tests are worth, and is an error of the table in `mutants`.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.mutations.mutant import PACKAGE, Mutant

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"

TIMEOUT = 150.0
"""Seconds that a run may take. At rest they take some seconds each; a machine that is busy must not make a hang."""
GRACE = 10.0
"""Seconds that a run which hangs has for ending what it has started, before it is killed."""

PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", "--no-header")
_FAILED = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.MULTILINE)


class Verdict(enum.Enum):
    """What a run says."""

    PASSED = "SURVIVES"
    FAILED = "caught"
    HUNG = "caught, hangs"
    NOTHING = "not tried"
    """The run came to no test that passed or failed."""


@dataclass(frozen=True)
class Trial:
    """What became of one run."""

    verdict: Verdict
    seconds: float
    test: str = ""
    """Which test failed first."""
    error: str = ""
    """The first line of what it said; of a run that came to nothing, its output."""

    @property
    def caught(self) -> bool:
        return self.verdict in {Verdict.FAILED, Verdict.HUNG}


def judge(code: int, output: str, seconds: float) -> Trial:
    """Say what pytest's exit code and its summary mean."""
    failed = _FAILED.search(output)
    if code == 0 and " passed" in output:  # else all were skipped
        return Trial(Verdict.PASSED, seconds)
    if code == 1 and failed:
        return Trial(Verdict.FAILED, seconds, failed[1], failed[2] or "")
    return Trial(Verdict.NOTHING, seconds, error=output)


def copy(source: Path, folder: Path) -> Path:
    """Copy the package's source folder, with what is compiled already."""
    return Path(shutil.copytree(source, folder))


def apply(mutant: Mutant, source: Path) -> None:
    """Plant a mutant into a copy."""
    path = source / PACKAGE / mutant.file
    path.write_text(mutant.applied_to(path.read_text("utf-8")), "utf-8")


async def run(tests: Sequence[str], source: Path) -> Trial:
    """Run tests on a copy until the first one fails."""
    began = trio.current_time()
    environment = os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "COLUMNS": "400"}
    with trio.move_on_after(TIMEOUT):
        done = await trio.run_process(
            [*PYTEST, *tests],
            cwd=ROOT,
            env=environment,
            stdin=b"",
            capture_stdout=True,
            check=False,
            stderr=subprocess.STDOUT,
            deliver_cancel=stop,
        )
        return judge(done.returncode, done.stdout.decode(errors="replace"), trio.current_time() - began)
    return Trial(Verdict.HUNG, trio.current_time() - began)


async def stop(process: trio.Process) -> None:
    """Have pytest end what it has started, above all a server; after a grace, kill it."""
    process.send_signal(signal.SIGINT)
    await trio.sleep(GRACE)
    process.kill()

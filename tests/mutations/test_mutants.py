"""The planted bugs fit the code as it is. Whether tests find them, `python -m tests.mutations` says, in minutes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter

import pytest

from tests.mutations.mutant import PACKAGE, Mutant
from tests.mutations.mutants import MUTANTS
from tests.mutations.trial import ROOT, SOURCE, Verdict, judge

each = pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant.name) for mutant in MUTANTS])


def source_of(mutant: Mutant) -> str:
    return (SOURCE / PACKAGE / mutant.file).read_text("utf-8")


def test_names_are_unique() -> None:
    twice = [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1]
    assert not twice


def test_no_two_are_the_same_bug() -> None:
    assert len({(mutant.file, mutant.applied_to(source_of(mutant))) for mutant in MUTANTS}) == len(MUTANTS)


@each
def test_it_fits_the_code_and_means_something_else(mutant: Mutant) -> None:
    before = source_of(mutant)
    after = mutant.applied_to(before)
    if mutant.file.endswith(".py"):
        compile(after, mutant.file, "exec")
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))
    else:
        assert after.split() != before.split()


def test_code_that_has_changed_is_told() -> None:
    mutant = Mutant(name="x", breaks="", file="some.py", before="a == b", after="a != b", tests=())
    assert mutant.applied_to("if a == b:") == "if a != b:"
    for text in ("if a is b:", "a == b or a == b"):
        with pytest.raises(LookupError, match="mutant 'x'"):
            mutant.applied_to(text)


def test_the_tests_are_there() -> None:
    """Their parameters, too: pytest itself is asked."""
    tests = sorted({test for mutant in MUTANTS for test in mutant.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, "3 passed", Verdict.PASSED),
        (1, "FAILED tests/a.py::b[c d] - AssertionError: x - y\n1 failed", Verdict.FAILED),
        (1, "ERROR tests/a.py::b - OSError: no server\n1 error", Verdict.NOTHING),
        (2, "ERROR tests/a.py - ImportError", Verdict.NOTHING),
        (4, "ERROR: not found: tests/a.py::b", Verdict.NOTHING),
        (5, "no tests ran", Verdict.NOTHING),
    ],
)
def test_caught_means_that_a_test_has_failed(code: int, output: str, verdict: Verdict) -> None:
    trial = judge(code, output, 1.0)
    assert trial.verdict is verdict
    assert trial.caught == (verdict is Verdict.FAILED)
    if trial.caught:
        assert (trial.test, trial.error) == ("tests/a.py::b[c d]", "AssertionError: x - y")

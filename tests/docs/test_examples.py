"""Each example is run as its first lines say, and its output compared."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

EXAMPLES = ROOT / "examples"

# What each prints. Three dots stand for any text.
BEST_QUOTE = """\
first worker:
  alpha has answered for ACME
  buying from alpha, order ......
  killed
second worker:
  buying from alpha, order ......
  result: bought from alpha at 12.5
the log:
  1 the start of 'best_quote'
  2 a timer of scope at path 4
  3 step 'quote' at path 2...
  4 a select at path 5 that took case 0
  5 a cancelled scope at path 1 (by explicit)
  6 step 'quote' at path 3...
  7 a change of owner
  8 step 'buy' at path 6...
  9 the workflow's end...
"""
ORDER = """\
book:
  reserve book
  pay 20 for book
  pack book
  book is on its way
piano:
  reserve piano
  release piano-17
  declined: 9000 is too much
lamp:
  reserve lamp
  pay 40 for lamp
  pack lamp
  refund the payment for lamp
  the process is killed
a second process:
  release lamp-17
  workflow 'order-3' was cancelled: the customer has left
the log of order-3:
  1 the start of 'place_order'
  2 step 'reserve' at path 1...
  3 step 'pay' at path 2...
  4 ...
  5 step 'pack' at path 3...
  6 step 'refund' at path 5...
  7 a change of owner
  8 step 'release' at path 7...
  9 the workflow's end...
"""
APPROVAL = """\
monday:
  lamp: reserved
  lamp: somebody is asked to approve
  piano: reserved
  piano: somebody is asked to approve
  vase: reserved
  vase: somebody is asked to approve
tuesday:
  lamp: approved by Ann
  lamp: paid
  lamp: packed [25, 50, 75, 100], and is on its way to Fir Road 3
  piano: the piano is released
  piano: failed, Bob has declined
  vase: approved by Ann
  vase: paid
  vase: the money for the vase is refunded
  vase: the vase is released
  vase: failed, it is broken
  too late: promise 'piano#2' was settled before, and the first time counts
"""
CRAWLER = """\
reached: / /bark /beetle /larva /moss /spore
rows in the log: ...
"""
SYNC_STEPS = """\
  attempt 1: bark.txt 14ea6507, 1 rows
  attempt 1: fern.txt f0a5da17, 2 rows
  attempt 1: moss.txt 9e135ab9, 3 rows
files: 3
again, the same run: 3
"""
FIRST_RESULTS = """\
5 results
all children have ended: True
some were cancelled: True
wells that are still open: 0
"""
TRANSFER = """\
first process:
  killed in the middle of a transfer
  Ann 100, Bob 50, Cleo 0
second process:
  killed behind two transfers
  Ann 70, Bob 0, Cleo 80
third process:
  Bob has paid Cleo
  not paid: Ann lacks 430
  left: [70, 0]
  Ann 70, Bob 0, Cleo 80
"""
ENCRYPTED = """\
with one key:
  4 values, such as gAAAAA..., 0 of them tell a card
with a new key before it:
  ann: 900 cents from ann-4711, then 6000 cents from ann-4711
without the old key:
  bob is stuck: True
with both again:
  bob: 900 cents from bob-4711, then 500 cents from bob-4711
"""
PRINTS = {
    "best_quote.py": BEST_QUOTE,
    "order.py": ORDER,
    "approval.py": APPROVAL,
    "crawler.py": CRAWLER,
    "sync_steps.py": SYNC_STEPS,
    "first_results.py": FIRST_RESULTS,
    "transfer.py": TRANSFER,
    "encrypted.py": ENCRYPTED,
}

# What makes an example smaller.
ARGUMENTS = {"first_results.py": ["50"]}

# Run elsewhere: it needs mirrors and a supervisor (tests/demo).
ELSEWHERE = {"mirror_stdlib.py"}


def run(program: Path, folder: Path) -> str:
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": str(Path(sys.executable).parent)}
    command = [sys.executable, "-W", "error", str(program), *ARGUMENTS.get(program.name, [])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_known() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PRINTS) | ELSEWHERE


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_should(name: str, tmp_path: Path) -> None:
    printed = run(EXAMPLES / name, tmp_path)
    assert doctest.OutputChecker().check_output(PRINTS[name], printed, doctest.ELLIPSIS), printed


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_says_how_to_run_it(name: str) -> None:
    assert f"\n    python examples/{name}\n" in (EXAMPLES / name).read_text("utf-8")

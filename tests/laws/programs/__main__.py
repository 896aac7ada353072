"""Run thousands of generated programs: `python -m tests.laws.programs --count 2000 --seed 1`.

Each failure is shrunk and written to a file; programs that fail in the same way are counted, and left at that.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.internal.conjecture import engine

from tests.laws.harness import tally
from tests.laws.programs.examine import CUTS, examine, met
from tests.laws.programs.scenario import FAILURES, Scenario
from tests.laws.programs.strategies import scenarios
from tests.watchdog import Hang

engine.MAX_SHRINKING_SECONDS = 100  # instead of 300: most failures that take longer are flaky

_ROUND = 100
"""Programs between two looks at whether enough have been run."""


def signature(exc: BaseException) -> str:
    """Return what two failures share that probably have the same cause."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[-1]
    text = f"{type(exc).__name__}: {exc}".partition("\n")[0]
    return re.sub(r"'[^']*'|[0-9a-f]{8,}|[0-9][0-9:.T+-]*|/\S+", "#", text)[:200]


class Hunt:
    """Programs that failed, each way of failing once."""

    def __init__(self, folder: Path, without: list[str], cuts: int) -> None:
        self.folder, self.without, self.cuts = folder, without, cuts
        self.known: Counter[str] = Counter()
        self.number = self.tried = 0
        self.target: str | None = None
        self.smallest: tuple[Scenario, BaseException] | None = None

    def try_one(self, scenario: Scenario) -> None:
        """Run one program; a failure of a new kind is raised, for Hypothesis to shrink."""
        if any(f'"{word}"' in scenario.arguments[0] for word in self.without):
            return
        self.tried += self.target is None
        try:
            examine(scenario, cuts=self.cuts if self.target is None else 3)
        except (Exception, Hang) as exc:  # noqa: BLE001 - whatever a broken law leads to
            kind = signature(exc)
            if kind in self.known:
                self.known[kind] += 1
            elif self.target in {None, kind}:
                self.target, self.smallest = kind, (scenario, exc)
                raise AssertionError(kind) from None

    def round(self, number: int, count: int) -> None:
        """Run programs until one fails in a new way, which is shrunk and reported."""
        self.number = number
        self.target = self.smallest = None
        run = settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )(given(scenarios)(self.try_one))
        try:
            seed(number)(run)()
        except Exception:
            if self.smallest is None:
                raise
            self._report(*self.smallest)

    def _report(self, scenario: Scenario, exc: BaseException) -> None:
        kind = signature(exc)
        self.known[kind] += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"new-{self.number}-{len(self.known)}.json"
        path.write_bytes(msgspec.structs.replace(scenario, story=kind).dump())
        print(f"\n== {kind}\n{path}\n{path.read_text()}")
        traceback.print_exception(exc, limit=-8, file=sys.stdout)
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--failures", type=Path, default=FAILURES, help="where shrunk failures are put")
    parser.add_argument("--cuts", type=int, default=CUTS, help="how many places each log is cut at, at most")
    parser.add_argument("--without", nargs="*", default=[], help="words of programs that are left out")
    arguments = parser.parse_args()
    hunt = Hunt(arguments.failures, arguments.without, arguments.cuts)
    began, number = time.monotonic(), arguments.seed * 1_000_000
    while hunt.tried < arguments.count:
        hunt.round(number, min(_ROUND, arguments.count - hunt.tried))
        number += 1
        gc.collect()  # lives have settings of their own, which let garbage grow old
        print(f"{time.monotonic() - began:.0f} s, {hunt.tried} tried, {dict(tally)}", flush=True)
    print(dict(met))
    for kind, times in hunt.known.most_common():
        print(f"{times:5} {kind}")


if __name__ == "__main__":
    main()

"""Run thousands of generated programs: `python -m tests.laws.programs --count 2000 --seed 1`.

Each failure is shrunk and written to a file; programs that fail in the same way are counted, and left at that.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from ..harness import tally
from .examine import Broken, examine
from .scenario import Scenario
from .strategies import scenarios

_ROUND = 200
"""Programs between two looks at whether enough have been run."""


class Hunt:
    """Programs that failed, each way of failing once."""

    def __init__(self, folder: Path, without: list[str]) -> None:
        self.folder, self.without = folder, without
        self.known: Counter[str] = Counter()
        self.target: str | None = None
        self.smallest: tuple[Scenario, Broken] | None = None

    def try_one(self, scenario: Scenario) -> None:
        """Run one program; a failure of a new kind is raised, for Hypothesis to shrink."""
        if any(f'"{word}"' in scenario.arguments[0] for word in self.without):
            return
        try:
            examine(scenario)
        except Broken as exc:
            signature = exc.signature
            if signature in self.known:
                self.known[signature] += 1
            elif self.target in {None, signature}:
                self.target, self.smallest = signature, (scenario, exc)
                raise

    def round(self, number: int, count: int) -> None:
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
        except BaseException as exc:
            if self.smallest is None:
                raise
            if not isinstance(exc, Broken):  # flaky, says Hypothesis
                print(f"({type(exc).__name__})")
            self._report(*self.smallest)

    def _report(self, scenario: Scenario, broken: Broken) -> None:
        self.known[broken.signature] += 1
        path = self.folder / f"{len(self.known)}.json"
        path.write_bytes(scenario.dump())
        print(f"\n== {broken.signature}\n{path}\n{scenario.dump().decode()}{broken}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--failures", type=Path, default=Path("failures"), help="where shrunk failures are put")
    parser.add_argument("--without", nargs="*", default=[], help="words of programs that are left out")
    arguments = parser.parse_args()
    arguments.failures.mkdir(parents=True, exist_ok=True)
    hunt, began, number = Hunt(arguments.failures, arguments.without), time.monotonic(), arguments.seed * 1_000_000
    while tally["programs"] < arguments.count:
        hunt.round(number, min(_ROUND, arguments.count - tally["programs"]))
        number += 1
        print(f"{time.monotonic() - began:.0f} s {dict(tally)}", flush=True)
    for signature, times in hunt.known.most_common():
        print(f"{times:5} {signature}")


if __name__ == "__main__":
    main()

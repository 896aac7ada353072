"""Simulate: `python -m tests.simulation --minutes 5`, or `--seeds 100 --seed 1000`.

It stops at the first seed that breaks a law, tells which, draws the logs, and ends with status 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

from nurselog._tree import draw_log
from tests.simulation.plan import Fault
from tests.simulation.run import Verdict, simulate
from tests.simulation.tally import Tally, Thing


def describe(verdict: Verdict) -> str:
    """Return what was broken, with the logs that show it, and how to see it again."""
    return "\n".join(_describe(verdict))


def _describe(verdict: Verdict) -> Iterator[str]:
    yield f"seed {verdict.plan.seed} breaks laws: {len(verdict.breaches)}"
    for breach in verdict.breaches:
        yield f"\n{breach.law.name}: {breach.law.value}.\n{breach.id or ''} {breach.problem}"
    for id in dict.fromkeys(breach.id for breach in verdict.breaches if breach.id):
        yield ""
        yield from (line.text for line in draw_log(id, verdict.judge.log(id)))
    yield f"\nAgain: python -m tests.simulation --seeds 1 --seed {verdict.plan.seed}"


def table(tally: Tally, seconds: float) -> str:
    """Return what was gone through, as a table."""
    lines = [(thing.value, f"{tally[thing]:,}") for thing in (*Thing, *Fault)]
    lines.append(("virtual hours a minute", f"{tally[Thing.HOURS] / seconds * 60:,.0f}"))
    return "\n".join(f"{what:24}{number:>12}" for what, number in lines)


class Progress:
    """A line that says how far it has come: written over on a terminal, else once in a while."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._next = 0.0

    def show(self, seed: int, tally: Tally, seconds: float) -> None:
        """Show it, if it is time."""
        if seconds < self._next:
            return
        self._next = seconds + (0.2 if self._on_terminal else 20)
        text = f"{seconds:.0f} s, seed {seed}: {tally[Thing.HOURS]:,} virtual hours, {tally[Fault.CRASH]:,} crashes"
        sys.stderr.write(f"\r{text}" if self._on_terminal else f"{text}\n")
        sys.stderr.flush()


def main() -> None:
    """Simulate until the time is up, or all seeds are through, or one breaks a law."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--minutes", type=float, help="how long")
    bound.add_argument("--seeds", type=int, help="how many seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    arguments = parser.parse_args()
    if arguments.minutes is None and arguments.seeds is None:
        arguments.minutes = 1.0
    began, tally, failed = time.monotonic(), Counter[Thing | Fault](), None
    progress = Progress()
    for number in count():
        seconds = time.monotonic() - began
        if seconds >= (arguments.minutes or float("inf")) * 60 or number == arguments.seeds:
            break
        progress.show(arguments.seed + number, tally, seconds)
        verdict = simulate(arguments.seed + number)
        tally += verdict.tally
        if verdict.breaches:
            failed = verdict
            break
    print(f"\n{table(tally, time.monotonic() - began)}")
    if failed:
        sys.exit(f"\n{describe(failed)}")


if __name__ == "__main__":
    main()

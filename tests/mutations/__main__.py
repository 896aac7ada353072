"""Plants bugs in the engine and sees that tests find them: `python -m tests.mutations [NAME ...] [-j N]`.

Each mutant is tried on a copy of the package of its own, with the tests that its record names. The same tests must
pass on a copy without any. Ends with 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import trio

from tests.mutations.mutant import Mutant
from tests.mutations.mutants import MUTANTS
from tests.mutations.trial import SOURCE, Trial, Verdict, apply, copy, run


class Session:
    """One run through some mutants."""

    def __init__(self, folder: Path, mutants: Sequence[Mutant], jobs: int) -> None:
        self._folder, self._mutants = folder, mutants
        self._places = trio.CapacityLimiter(jobs)
        self._original = copy(SOURCE, folder / "original")
        self._survivors: list[str] = []
        self._broken: list[str] = []
        """What fails without a mutant, too, and so says nothing of one."""

    async def run(self) -> str:
        """Try all; return what is wrong, and nothing if each is caught."""
        selections = dict.fromkeys(mutant.tests for mutant in self._mutants)
        await self._side_by_side(partial(self._prove, tests) for tests in selections)
        if self._broken:
            return "these fail without a mutant, too:\n" + "\n".join(self._broken)
        print(f"{len(selections)} selections of tests pass without a mutant", flush=True)
        await self._side_by_side(partial(self._attempt, mutant) for mutant in self._mutants)
        print(f"{len(self._mutants) - len(self._survivors)} of {len(self._mutants)} mutants are caught")
        return f"not caught: {', '.join(self._survivors)}" if self._survivors else ""

    async def _side_by_side(self, jobs: Iterable[Callable[[], Awaitable[None]]]) -> None:
        async def make(job: Callable[[], Awaitable[None]]) -> None:
            try:
                await job()
            finally:
                self._places.release_on_behalf_of(job)

        async with trio.open_nursery() as nursery:
            for job in jobs:
                await self._places.acquire_on_behalf_of(job)
                nursery.start_soon(make, job)

    async def _prove(self, tests: tuple[str, ...]) -> None:
        trial = await run(tests, self._original)
        if trial.verdict is not Verdict.PASSED:
            self._broken.append(f"{' '.join(tests)}: {trial.verdict.value} {trial.test} {trial.error}")

    async def _attempt(self, mutant: Mutant) -> None:
        source = copy(self._original, self._folder / mutant.name)
        apply(mutant, source)
        trial = await run(mutant.tests, source)
        if not trial.caught:
            self._survivors.append(mutant.name)
        print(line(mutant, trial), flush=True)


def line(mutant: Mutant, trial: Trial) -> str:
    """Return a line of the table."""
    found = f"{trial.test}: {trial.error}" if trial.test else trial.error or " ".join(mutant.tests)
    return f"{mutant.name:24} {trial.seconds:5.1f} s  {trial.verdict.value}: {found}"


async def main(mutants: Sequence[Mutant], jobs: int) -> str:
    """Try mutants in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        return await Session(Path(folder), mutants, jobs).run()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="try only these; all unless told")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="how many at a time; 2 unless told")
    given = parser.parse_args()
    names = [mutant.name for mutant in MUTANTS]
    if unknown := sorted(set(given.names) - set(names)):
        parser.error(f"there is no mutant {', '.join(unknown)}. There are {', '.join(names)}")
    return given


if __name__ == "__main__":
    given = parse()
    chosen = [mutant for mutant in MUTANTS if not given.names or mutant.name in given.names]
    sys.exit(trio.run(main, chosen, given.jobs) or None)

"""Measures nurselog beside raw SQLite and DBOS: `python -m tests.benchmarks [--quick] [--only CASE] …`.

All figures are medians of several repetitions; in each repetition the peers take turns, so that a slow minute of the
machine hurts all of them. What a figure means is in plan.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.plan import COMPARED, GROWTH, HOST, HOST_CHECKPOINTS, NAMES, Measured, Peer, Sample
from tests.benchmarks.tables import compared, growth, host

QUICK = 10
"""By what --quick divides sizes."""
LONG = 30
"""Seconds; a measurement that took longer is steady enough, and is not repeated."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    only: frozenset[str]
    quick: bool
    repetitions: int
    folder: Path | None
    peers: frozenset[Peer]

    def size(self, full: int) -> int:
        """How large a case is this time."""
        return full // QUICK if self.quick else full


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this case; may be given several times")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, once: for a first look")
    parser.add_argument("--repetitions", type=int, help="how many times each figure is taken; 3 unless told")
    parser.add_argument("--folder", type=Path, help="where the databases go; a disk that you trust")
    parser.add_argument("--peer", action="append", choices=[peer.name for peer in Peer], help="only these peers")
    given = parser.parse_args()
    return Options(
        only=frozenset(given.only or NAMES),
        quick=given.quick,
        repetitions=given.repetitions or (1 if given.quick else 3),
        folder=given.folder,
        peers=frozenset(Peer[name] for name in given.peer or Peer.__members__),
    )


def progress(text: str) -> None:
    """Show what is being measured, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(peer: Peer, name: str, size: int, options: Options, *, crash: bool = False) -> Sample:
    """Take one measurement in a process and a folder of its own; with `crash`, after a process that was killed."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        command = [sys.executable, "-m", "tests.benchmarks.child", peer.name, name, str(size), folder]
        if crash:
            died = subprocess.run(command, capture_output=True, text=True, check=False)
            if died.returncode != -signal.SIGKILL:
                raise RuntimeError(f"{name} of {peer.value} should have been killed half way:\n{died.stderr}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} of {peer.value} failed:\n{done.stderr}")
        return Sample(**json.loads(done.stdout))


def median(samples: Sequence[Sample]) -> Sample:
    """Choose the sample in the middle by time."""
    return sorted(samples, key=lambda sample: sample.seconds)[len(samples) // 2]


def repeated(peers: Sequence[Peer], name: str, size: int, options: Options, *, crash: bool = False) -> Measured:
    """Measure one case for several peers, which take turns."""
    taken: dict[Peer, list[Sample]] = {peer: [] for peer in peers if peer in options.peers}
    for repetition in range(options.repetitions):
        for peer, samples in taken.items():
            if samples and samples[0].seconds > LONG:
                continue
            progress(f"{name} ({size:,}), {peer.value}, {repetition + 1} of {options.repetitions}")
            samples.append(measure(peer, name, size, options, crash=crash))
    progress("")
    return {peer: median(samples) for peer, samples in taken.items()}


def compare(options: Options) -> None:
    """Measure nurselog beside its peers."""
    rows = [
        (case, size, repeated(case.peers, case.name, size, options, crash=case.crash))
        for case in COMPARED
        if case.name in options.only
        for size in [options.size(case.size)]
    ]
    if rows:
        print(compared(rows, judged=not options.quick))


def grow(options: Options) -> None:
    """Measure how nurselog grows."""
    for series in GROWTH:
        if series.name in options.only and Peer.NURSELOG in options.peers:
            sizes = series.sizes[:-1] if options.quick else series.sizes
            samples = [repeated([Peer.NURSELOG], series.name, size, options)[Peer.NURSELOG] for size in sizes]
            print(growth(series, samples))


def visit(options: Options) -> None:
    """Measure what the host of an engine pays."""
    if "host" in options.only and Peer.NURSELOG in options.peers:
        size = options.size(HOST_CHECKPOINTS)
        print(host([(title, repeated([Peer.NURSELOG], name, size, options)[Peer.NURSELOG]) for name, title in HOST]))


def main() -> None:
    """Measure and print."""
    options = parse()
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, trio {version('trio')}, "
        f"medians of {options.repetitions}\n"
    )
    compare(options)
    grow(options)
    visit(options)


if __name__ == "__main__":
    main()

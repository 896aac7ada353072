"""Measures nurselog beside raw SQLite, raw psycopg and DBOS: `python -m tests.benchmarks [--quick] [--only CASE] …`.

All figures are medians of several repetitions; in each repetition the peers take turns, so that a slow minute of the
machine hurts all of them. What a figure means is in plan.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import psycopg

from tests.benchmarks.plan import (
    BOTH,
    COMPARED,
    COMPARED_ON_POSTGRES,
    GROWTH,
    HOST,
    HOST_CHECKPOINTS,
    IDLE,
    NAMES,
    ON_POSTGRES,
    OURS,
    SCALING,
    SCALING_WORKFLOWS,
    SERVER,
    SLEEPERS,
    Case,
    Measured,
    Peer,
    Sample,
    Series,
)
from tests.benchmarks.tables import compared, growth, host, idle, scaling, server, sleepers
from tests.postgres_server import Databases, given_server, running_server

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
    databases: Databases | None = None
    """Where there is a PostgreSQL server."""

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


class MeasurementError(Exception):
    """A peer could not do what was to be measured."""


def measure(peer: Peer, name: str, size: int, options: Options, *, crash: bool) -> Sample:
    """Take one measurement in a process and a folder of its own; with `crash`, after a process that was killed.

    Raises:
        MeasurementError: if the process fails, with what it said.
    """
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, store_for(peer, options) as environment:
        command = [sys.executable, "-m", "tests.benchmarks.child", peer.name, name, str(size), folder]
        for wanted in (-signal.SIGKILL, 0) if crash else (0,):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode != wanted:
                raise MeasurementError(f"{name} of {peer.value} ended with {done.returncode}:\n{done.stderr}")
        return Sample(**json.loads(done.stdout))


@contextmanager
def store_for(peer: Peer, options: Options) -> Iterator[dict[str, str]]:
    """Give the environment of a peer's process: those on PostgreSQL find an empty database there."""
    if peer in ON_POSTGRES:
        assert options.databases
        with options.databases.lend() as url:
            yield os.environ | {"NURSELOG_BENCHMARK_STORE": url}
    else:
        yield dict(os.environ)


def median(samples: Sequence[Sample]) -> Sample:
    """Choose the sample in the middle by time."""
    return sorted(samples, key=lambda sample: sample.seconds)[len(samples) // 2]


def repeated(peers: Sequence[Peer], name: str, size: int, options: Options, *, crash: bool = False) -> Measured:
    """Measure one case for several peers, which take turns; a peer that fails is left out."""
    taken: dict[Peer, list[Sample]] = {peer: [] for peer in peers if peer in options.peers}
    for repetition in range(options.repetitions):
        for peer, samples in tuple(taken.items()):
            if samples and samples[0].seconds > LONG:
                continue
            progress(f"{name} ({size:,}), {peer.value}, {repetition + 1} of {options.repetitions}")
            try:
                samples.append(measure(peer, name, size, options, crash=crash))
            except MeasurementError as error:
                print(error, file=sys.stderr)
                del taken[peer]
    progress("")
    return {peer: median(samples) for peer, samples in taken.items()}


def alone(name: str, size: int, options: Options, peer: Peer = Peer.NURSELOG) -> list[Sample]:
    """Measure what only nurselog does; empty if that is not wanted, or fails."""
    return list(repeated([peer], name, size, options).values())


def wanted(cases: Sequence[Case], options: Options) -> Sequence[Case]:
    """Choose the cases that were asked for."""
    return [case for case in cases if case.name in options.only and options.peers & {*case.peers}]


def compare(cases: Sequence[Case], options: Options) -> str:
    """Measure nurselog beside its peers."""
    rows: list[tuple[Case, int, Measured]] = []
    for case in cases:
        size = options.size(case.size)
        rows.append((case, size, repeated(case.peers, case.name, size, options, crash=case.crash)))
    return compared(rows, judged=not options.quick)


def sizes_of(series: Series, options: Options) -> Sequence[int]:
    """Choose the sizes of a series."""
    return series.sizes[:-1] if options.quick else series.sizes


def grow(series: Series, options: Options) -> str:
    """Measure how nurselog grows in one respect."""
    sizes = sizes_of(series, options)
    return growth(series, [sample for size in sizes for sample in alone(series.name, size, options)])


@contextmanager
def with_postgres(options: Options, *, counting: bool = False) -> Iterator[Options]:
    """Run a server as it comes from its makers: commits wait for the disk. Counting statements is extra."""
    if url := given_server():
        databases = Databases(url)
        try:
            yield replace(options, databases=databases)
        finally:
            databases.drop_all()
    else:
        settings = {"autovacuum": "on", "shared_buffers": "128MB", "max_wal_size": "1GB"}
        if counting:
            settings["shared_preload_libraries"] = "pg_stat_statements"
        with running_server(fsync=True, **settings) as server:
            if counting:
                with psycopg.connect(server.url) as connection:
                    connection.execute("CREATE EXTENSION pg_stat_statements")
            yield replace(options, databases=Databases(server.url))


def visit(options: Options) -> str:
    """Measure what the host of an engine pays."""
    size = options.size(HOST_CHECKPOINTS)
    return host([(title, sample) for name, title in HOST for sample in alone(name, size, options)])


def count_on_server(options: Options) -> str:
    """Count what the server does."""
    rows = [
        (f"{peer.value}, {title}", sample)
        for name, title, size in SERVER
        for peer, sample in repeated(BOTH, name, options.size(size), options).items()
    ]
    return server(rows)


def watch_idle(options: Options) -> str:
    """Count what the server is asked while nothing happens."""
    rows = [
        (f"{peer.value}, {title.format(size)}", sample)
        for name, title, size, peers in IDLE
        for peer, sample in repeated(peers, name, size, options).items()
    ]
    return idle(rows)


def wake(options: Options) -> str:
    """Measure what an engine has to do with many that sleep; once, for it takes long."""
    once = replace(options, repetitions=1)
    sizes = sizes_of(SLEEPERS, options)
    return sleepers(SLEEPERS.title, [sample for size in sizes for sample in alone("sleepers", size, once, OURS)])


def share(options: Options) -> str:
    """Measure how the work of several processes adds up."""
    size = options.size(SCALING_WORKFLOWS)
    rows = [(engines, sample) for name, engines in SCALING for sample in alone(name, size, options, OURS)]
    return scaling(rows, len(os.sched_getaffinity(0)))


COUNTED = {"server": count_on_server, "idle": watch_idle, "sleepers": wake}
"""What a server must count statements for."""


def on_sqlite(options: Options) -> Iterator[str]:
    """Measure what needs no server."""
    if cases := wanted(COMPARED, options):
        yield compare(cases, options)
    for series in GROWTH:
        if series.name in options.only:
            yield grow(series, options)
    if "host" in options.only:
        yield visit(options)


def on_postgres(options: Options) -> Iterator[str]:
    """Measure what needs a server, with one that only works, and with one that counts."""
    cases = wanted(COMPARED_ON_POSTGRES, options)
    if cases or "scaling" in options.only:
        with with_postgres(options) as equipped:
            if cases:
                yield compare(cases, equipped)
            if "scaling" in options.only:
                yield share(equipped)
    if options.only & COUNTED.keys():
        with with_postgres(options, counting=True) as equipped:
            for name, section in COUNTED.items():
                if name in options.only:
                    yield section(equipped)


def main() -> None:
    """Measure and print."""
    options = parse()
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, trio {version('trio')}, "
        f"medians of {options.repetitions}\n"
    )
    for text in on_sqlite(options):
        print(text, flush=True)
    if options.peers & {*ON_POSTGRES}:
        for text in on_postgres(options):
            print(text, flush=True)


if __name__ == "__main__":
    main()

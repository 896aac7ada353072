"""A run of the demo, from its beginning to its verdict."""

from __future__ import annotations

import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import outcome
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from .. import open_engine
from .._stores import needing_psycopg
from .._tree import draw_log
from ..lowlevel import LogEntry
from .catalogue import count_entries, create_catalogue
from .job import Body, File, Layout, read_jobs, read_trace, read_waits, write_jobs
from .manifest import jobs, manifest, standard_library
from .mirrors import start_mirrors
from .report import Fact, choose_log, count_log, count_trace
from .supervisor import Course, Kill, Order, Restart, RunFailed, plan_run, supervise
from .verify import check_bodies, check_outcomes, check_partial, verify

if TYPE_CHECKING:
    from .database import Database

_TIME_LIMIT = 900.0
"""Seconds for all workers together."""
_LOOK = 0.1
"""Seconds between two looks at the catalogue, for the progress bar."""
_MOST_PROBLEMS = 20
"""How many problems are printed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for."""

    files: int | None
    """How many files; None for all."""
    kills: int
    seed: int
    keep: Path | None
    """A new folder for the run's files, which stays, as a schema in a database does; None for a temporary one."""
    workers: int = 1
    store: str | None = field(default=None, repr=False)
    """The address of a PostgreSQL database, perhaps with a password; None: the store is one of the run's files."""
    restart: str | None = None
    """A shell command that restarts the database's server; None: connections are ended instead."""


def run(settings: Settings) -> int:
    """Do it, print what happened, and return the exit code: 0 if everything is right."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if settings.keep is not None and settings.keep.exists():
        console.print(f"{settings.keep} exists. Give --keep the name of a new folder.")
        return 2
    with _ended_in_order():
        return trio.run(_run, settings, console)


@contextmanager
def _ended_in_order() -> Generator[None]:
    """Let SIGTERM do what Ctrl-C does: a schema in somebody's database would stay, and files in a temporary folder."""

    def interrupt(_number: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _run(settings: Settings, console: Console) -> int:
    # The folder comes last: where there is no database, none is made.
    async with _open_database(settings) as database:
        with _open_folder(settings.keep) as layout:
            return await _perform(settings, layout, database, console)


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncGenerator[Database | None]:
    """Make a schema of the run's own, where the store is to be in a database."""
    if settings.store is None:
        yield None
        return
    with needing_psycopg():
        from .database import own_schema  # noqa: PLC0415 - it is an extra

    async with own_schema(settings.store, keep=settings.keep) as database:
        yield database


@contextmanager
def _open_folder(keep: Path | None) -> Generator[Layout]:
    """Make a folder for the run's files, and remove it at the end unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="nurselog-demo-") as folder:
            yield Layout(Path(folder))
    else:
        keep.mkdir(parents=True)
        yield Layout(keep.resolve())


async def _perform(settings: Settings, layout: Layout, database: Database | None, console: Console) -> int:
    source = standard_library()
    files = manifest(source, settings.files, settings.seed)
    console.print(f"Mirroring {len(files):,} files of {source}, seed {settings.seed}, workers: {settings.workers}")
    order = _order(settings, layout, database, len(files))
    began = time.monotonic()
    try:
        course = await _mirror(order, source, files, settings.seed, console)
    except RunFailed as exc:
        console.print(str(exc))
        return 1
    except sqlite3.Error as exc:
        console.print(f"The catalogue cannot be read or written ({exc}). Is there room on the disk of {layout.folder}?")
        return 1
    except trio.TooSlowError:
        console.print(f"The workers were not ready after {_TIME_LIMIT:.0f} s.")
        return 1
    seconds = time.monotonic() - began
    logs = await _read_logs(order)
    trace = read_trace(layout)
    _print_tree(logs, console)
    _print_facts(sum(map(count_log, logs.values()), count_trace(trace, course.workers)), console)
    _print_course(course, trace, settings, console)
    _print_times(layout, seconds, console)
    if database is not None and settings.keep is not None:
        console.print(f"The workflows stay in schema {database.schema!r}.")
    problems = [*verify(layout, source, files), *check_outcomes(trace, logs)]
    strays = [*check_bodies(trace, logs), *check_partial(layout)]
    if course.restarts:  # without a connection a worker looks dead, and others may be faster than its new one
        _print_fact("traces of workers taken to be dead", f"{len(strays):,}", console)
    else:
        problems += strays
    return _print_verdict(problems, len(files), console)


def _order(settings: Settings, layout: Layout, database: Database | None, files: int) -> Order:
    plans = plan_run(files, settings.kills, settings.workers, settings.seed, restart=database is not None)
    if database is None:
        return Order(layout=layout, store=layout.store, workers=settings.workers, plans=plans)
    restart: Callable[[], Awaitable[Restart]] = database.end_connections
    if settings.restart is not None:
        restart = partial(database.restart, settings.restart, layout.restart_output)
    return Order(layout=layout, store=database.url, workers=settings.workers, plans=plans, restart=restart)


async def _mirror(order: Order, source: Path, files: Sequence[File], seed: int, console: Console) -> Course:
    """Run mirrors and workers until all is mirrored; return what was done to the workers."""
    layout = order.layout
    create_catalogue(layout)
    with _progress(console) as progress, trio.fail_after(_TIME_LIMIT):
        async with trio.open_nursery() as nursery:
            mirrors = await start_mirrors(nursery, source, seed)
            write_jobs(layout, jobs(files, mirrors, layout))
            nursery.start_soon(_show, layout, len(files), progress)
            result = await outcome.acapture(supervise, order, partial(_tell, progress, layout))
            nursery.cancel_scope.cancel()
    return result.unwrap()  # out here, where no nursery wraps an error into a group


def _progress(console: Console) -> Progress:
    return Progress(TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


async def _show(layout: Layout, total: int, progress: Progress) -> None:
    bar = progress.add_task("files", total=total)
    try:
        while True:
            progress.update(bar, completed=count_entries(layout))
            await trio.sleep(_LOOK)
    finally:
        progress.update(bar, completed=count_entries(layout))


def _tell(progress: Progress, layout: Layout, done: Kill | Restart) -> None:
    files = count_entries(layout)
    if isinstance(done, Kill):
        said = f"SIGKILL for worker {done.worker + 1}, process {done.pid}, after {files:,} files; it is started again"
    elif done.ended is None:
        said = f"The database server was restarted; {files:,} files are there by now"
    else:
        said = (
            f"All {done.ended:,} connections to the database were ended after {files:,} files: no --restart was given"
        )
    progress.console.print(said)


async def _read_logs(order: Order) -> Mapping[str, Sequence[LogEntry]]:
    """Return the log of each workflow by id."""
    async with open_engine(order.store, workflows=()) as engine:
        handles = [await engine.get(job.name) for job in read_jobs(order.layout)]
        return {handle.id: await handle.log() for handle in handles}


def _print_tree(logs: Mapping[str, Sequence[LogEntry]], console: Console) -> None:
    chosen = choose_log(logs)
    console.print("\nThe log of one workflow:\n")
    for line in draw_log(chosen, logs[chosen]):
        console.print(Text.from_ansi(line.mark.paint(line.text)))


def _print_facts(facts: Counter[Fact], console: Console) -> None:
    console.print()
    for fact in Fact:
        _print_fact(fact.value, f"{facts[fact]:,}", console)


def _print_course(course: Course, trace: Sequence[Body], settings: Settings, console: Console) -> None:
    """Print what was done to the workers and their database, and what each of them did."""
    kills = Counter(kill.worker for kill in course.kills)
    bodies = Counter(course.workers[body.pid] for body in trace)
    _print_fact("worker processes killed", f"{kills.total():,}", console)
    for worker in range(settings.workers if settings.workers > 1 else 0):
        _print_fact(f"processes of worker {worker + 1} killed", f"{kills[worker]:,}", console)
        _print_fact(f"step bodies run by worker {worker + 1}", f"{bodies[worker]:,}", console)
    if settings.restart is not None:
        _print_fact("restarts of the database server", f"{len(course.restarts):,}", console)
    elif settings.store is not None:
        ended = sum(restart.ended or 0 for restart in course.restarts)
        _print_fact("connections to the database ended", f"{ended:,}", console)


def _print_times(layout: Layout, seconds: float, console: Console) -> None:
    longest = max((wait.seconds for wait in read_waits(layout)), default=0.0)
    _print_fact("longest wait for a commit, seconds", f"{longest:.2f}", console)
    _print_fact("seconds", f"{seconds:.1f}", console)
    console.print()


def _print_fact(name: str, value: str, console: Console) -> None:
    console.print(f"{name:<40}{value:>10}")


def _print_verdict(problems: Sequence[str], files: int, console: Console) -> int:
    """Print whether everything is right; return the exit code."""
    if not problems:
        console.print(f"All {files:,} copies are equal to their originals, and each is in the catalogue exactly once.")
        return 0
    console.print(f"{len(problems):,} PROBLEMS:")
    for problem in problems[:_MOST_PROBLEMS]:
        console.print(f"  {problem}")
    return 1

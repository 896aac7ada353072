"""A run of the demo, from its beginning to its verdict."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import outcome
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from .. import open_engine
from ..lowlevel import LogEntry
from .catalogue import count_entries, create_catalogue
from .job import File, Layout, read_jobs, read_trace, write_jobs
from .manifest import jobs, manifest, standard_library
from .mirrors import start_mirrors
from .report import Fact, choose_log, count_log, count_trace
from .supervisor import Kill, WorkerFailed, plan_kills, supervise
from .tree import draw_log
from .verify import check_bodies, verify

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
    """A new folder for the run's files, which stays; None for a temporary one."""


def run(settings: Settings) -> int:
    """Do it, print what happened, and return the exit code: 0 if everything is right."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if settings.keep is None:
        with tempfile.TemporaryDirectory(prefix="nurselog-demo-") as folder:
            return trio.run(_run, settings, Layout(Path(folder)), console)
    try:
        settings.keep.mkdir(parents=True)
    except FileExistsError:
        console.print(f"{settings.keep} exists. Give --keep the name of a new folder.")
        return 2
    return trio.run(_run, settings, Layout(settings.keep.resolve()), console)


async def _run(settings: Settings, layout: Layout, console: Console) -> int:
    source = standard_library()
    files = manifest(source, settings.files, settings.seed)
    console.print(f"Mirroring {len(files):,} files of {source}, seed {settings.seed}")
    began = time.monotonic()
    try:
        kills = await _mirror(settings, layout, source, files, console)
    except WorkerFailed as exc:
        console.print(str(exc))
        return 1
    except trio.TooSlowError:
        console.print(f"The workers were not ready after {_TIME_LIMIT:.0f} s.")
        return 1
    seconds = time.monotonic() - began
    logs = await _read_logs(layout)
    trace = read_trace(layout)
    _print_tree(logs, console)
    _print_facts(sum(map(count_log, logs.values()), count_trace(trace)), kills, seconds, console)
    return _print_verdict([*verify(layout, source, files), *check_bodies(trace, logs)], len(files), console)


async def _mirror(
    settings: Settings, layout: Layout, source: Path, files: Sequence[File], console: Console
) -> Sequence[Kill]:
    """Run mirrors and workers until all is mirrored; return the kills."""
    plans = plan_kills(len(files), settings.kills, settings.seed)
    create_catalogue(layout)
    with _progress(console) as progress, trio.fail_after(_TIME_LIMIT):
        async with trio.open_nursery() as nursery:
            mirrors = await start_mirrors(nursery, source, settings.seed)
            write_jobs(layout, jobs(files, mirrors, layout))
            nursery.start_soon(_show, layout, len(files), progress)
            result = await outcome.acapture(supervise, layout, plans, partial(_tell, progress))
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


def _tell(progress: Progress, kill: Kill) -> None:
    progress.console.print(f"SIGKILL for worker {kill.pid} after {kill.entries:,} files; it is started again")


async def _read_logs(layout: Layout) -> Mapping[str, Sequence[LogEntry]]:
    """Return the log of each workflow by id."""
    async with open_engine(layout.store, workflows=()) as engine:
        handles = [await engine.get(job.package) for job in read_jobs(layout)]
        return {handle.id: await handle.log() for handle in handles}


def _print_tree(logs: Mapping[str, Sequence[LogEntry]], console: Console) -> None:
    chosen = choose_log(logs)
    console.print("\nThe log of one workflow:\n")
    for line in draw_log(chosen, logs[chosen]):
        console.print(Text.from_ansi(line.mark.paint(line.text)))


def _print_facts(facts: Counter[Fact], kills: Sequence[Kill], seconds: float, console: Console) -> None:
    console.print()
    for fact in Fact:
        console.print(f"{fact.value:<40}{facts[fact]:>10,}")
    console.print(f"{'worker processes killed':<40}{len(kills):>10,}")
    console.print(f"{'seconds':<40}{seconds:>10.1f}\n")


def _print_verdict(problems: Sequence[str], files: int, console: Console) -> int:
    """Print whether everything is right; return the exit code."""
    if not problems:
        console.print(f"All {files:,} copies are equal to their originals, and each is in the catalogue exactly once.")
        return 0
    console.print(f"{len(problems):,} PROBLEMS:")
    for problem in problems[:_MOST_PROBLEMS]:
        console.print(f"  {problem}")
    return 1

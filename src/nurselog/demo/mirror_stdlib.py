"""Mirror a package of Python's standard library from mirrors that cannot be trusted.

Run it with `nurselog demo`, which starts the mirrors, and kills the processes that this runs in again and again. The
mirrors stall, answer 503, cut bodies short and send wrong bytes; the pipeline races them for each file:

- The first mirror starts at once, and each further one a moment later, if nobody has delivered by then.
- Whoever delivers first wins, and the others are cancelled, in the middle of a download if need be.
- A race that nobody wins in time is cancelled as a whole. A race that nobody wins is run again.
- A download that is cancelled or fails for good leaves a partial file behind, and a shielded step removes it.
- A file that was delivered is entered in a catalogue, exactly once.

All of this is in the log: the head starts, the time limit, who won, who was cancelled and why, how far the cleanup
was. So a process that starts after a SIGKILL goes on in the middle of each race. What happens in the world happens in
steps; a step that was running at the kill runs again, and each is written so that this does no harm, even where the
first process was only taken to be dead, and runs it still.
"""

from __future__ import annotations

import glob
import hashlib
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx
import trio

from nurselog import CancelScope, Retry, map_concurrently, move_on_after, race, rng, sleep, step, step_key, workflow
from nurselog.demo.job import File, Job, Layout, witness

FILES_AT_ONCE = 8
"""Files of one package that are mirrored side by side."""
HEAD_START = 0.2
"""Seconds between the starts of two mirrors."""
TIME_LIMITS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Seconds for the first race for a file, for the second, and so on."""

http: httpx.AsyncClient = httpx.AsyncClient(timeout=30, trust_env=False)
"""Without the environment's proxies: the mirrors are on this machine, where no proxy finds them."""


class WrongBytes(Exception):
    """A mirror sent something else than the manifest promises."""


class NobodyDelivered(Exception):
    """No race for a file was won in time."""


@step(retry=Retry(attempts=5, delay=0.02))
async def download(folder: str, url: str, file: File, partial_file: str) -> None:
    """Download a file, and make sure that it is what the manifest promises."""
    witness(folder, "download")
    digest = hashlib.sha256()
    # No await in the loop's body: a cancellation there would leave httpx's generators in the middle. The writes that
    # block instead are small and local.
    async with http.stream("GET", url) as response:
        response.raise_for_status()
        with _create(Path(partial_file)) as out:
            async for chunk in response.aiter_bytes():
                digest.update(chunk)
                out.write(chunk)
            if digest.hexdigest() != file.sha256:
                raise WrongBytes(file.path)


@contextmanager
def _create(path: Path) -> Generator[BinaryIO]:
    """Write a file under a name of this process, and rename it when it is whole: no two processes write the same."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    own.parent.mkdir(parents=True, exist_ok=True)
    with own.open("wb") as out:
        yield out
    own.replace(path)


@step
def keep(folder: str, partial_file: str, target: str) -> None:
    """Move a verified file to its place; done already, if the partial file has gone."""
    witness(folder, "keep")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    if Path(partial_file).exists() or not Path(target).exists():
        Path(partial_file).replace(target)
    _remove(Path(partial_file))  # what a process has left that was killed


@step
def discard(folder: str, partial_file: str) -> bool:
    """Remove what a download left; return whether there was anything."""
    witness(folder, "discard")
    return _remove(Path(partial_file))


def _remove(path: Path) -> bool:
    """Remove a partial file, whole or not, of this process or of one before; return whether there was any."""
    there = [one for one in (path, *path.parent.glob(f"{glob.escape(path.name)}.*")) if one.exists()]
    for one in there:
        one.unlink(missing_ok=True)
    return bool(there)


@step
def enter(folder: str, file: File, mirror: str) -> str:
    """Enter a file in the catalogue, once, however often this body runs; return the entry's key."""
    witness(folder, "enter")
    entry = {"key": step_key(), "path": file.path, "sha256": file.sha256, "mirror": mirror}
    with closing(sqlite3.connect(Layout(Path(folder)).catalogue, timeout=30, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO entry (key, path, sha256, mirror) SELECT :key, :path, :sha256, :mirror "
            "WHERE NOT EXISTS (SELECT 1 FROM entry WHERE key = :key)",
            entry,
        )
    return entry["key"]


@workflow
async def mirror_package(job: Job) -> int:
    """Mirror all files of a package, or of a part of one; return how many there are."""
    keys = await map_concurrently(partial(mirror_file, job), job.files, limit=FILES_AT_ONCE)
    return len(keys)


async def mirror_file(job: Job, file: File) -> str:
    """Mirror one file and enter it in the catalogue; return the entry's key.

    The entry is made outside of any time limit: a step that had begun when its process died, and whose scope is
    cancelled by the time another process goes on, is not run again, so nobody would know whether it took effect.
    """
    mirror = await deliver(job, file)
    return await enter(job.folder, file, mirror)


async def deliver(job: Job, file: File) -> str:
    """Let the mirrors race for a file until one has delivered it; return that mirror."""
    for seconds in TIME_LIMITS:
        mirrors = rng().sample(sorted(job.mirrors), k=len(job.mirrors))
        # The group is of all mirrors' errors, or of those that failed just when the time was up.
        with suppress(ExceptionGroup), move_on_after(seconds):
            return await race(*[partial(fetch, job, file, name, i * HEAD_START) for i, name in enumerate(mirrors)])
    raise NobodyDelivered(file.path)


async def fetch(job: Job, file: File, mirror: str, delay: float) -> str:
    """Deliver a file from one mirror, after a delay, or leave nothing behind; return the mirror."""
    await sleep(delay)
    layout = Layout(Path(job.folder))
    partial_file = str(layout.partial / mirror / file.path)
    try:
        await download(job.folder, f"{job.mirrors[mirror]}/{file.path}", file, partial_file)
        await keep(job.folder, partial_file, str(layout.copies / file.path))
    except (trio.Cancelled, Exception):
        with CancelScope(shield=True):
            await discard(job.folder, partial_file)
        raise
    return mirror

"""Removes files of large values that no row of a store speaks of any more.

In this order: which files are old enough; which of them the store speaks of; and under the folder's lock, one by one,
whether it is old still. A file that comes into use after the first look is young at the last one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import trio

from .._engine.messages import Body
from .._errors import StoreError, UsageError
from .._flow.arguments import SECONDS
from .._stores import find_traces
from .files import MARK, REFERENCE, TEMPORARY, locked

_WEEK: Final = 7 * 86_400.0


class Swept(NamedTuple):
    """What a sweep has done."""

    removed: int
    """Files that were removed."""
    size: int
    """Bytes that they had."""
    kept: int
    """Files that are left."""


async def sweep(store: str, folder: Path | str, *, older: float = _WEEK) -> Swept:
    """Remove the files of a `FileCodec` that nothing in its store speaks of; engines may run meanwhile.

    Args:
        store: the store's address.
        folder: where the files are.
        older: seconds for which a file must not have been used. The row that speaks of one is written after it, and
            later than that if the store is away meanwhile.

    Returns:
        What it has done. A checkpoint; cancelled, it may have removed some.

    Raises:
        UsageError: if the address or the folder is none, or if all files would go that were not used for so long and
            the store does not speak of one: it may not be theirs.
        StoreError: if the store cannot be read; nothing is removed.
    """
    SECONDS.check("older", older)
    before = time.time() - older
    found = await trio.to_thread.run_sync(_files, folder)
    names = await _names(store)
    useless = [name for name, when in found.items() if when < before and name not in names]
    if names.isdisjoint(found) and any(map(_is_whole, useless)):
        raise UsageError(f"the store speaks of none of the files in {folder}. Are they its own? Nothing was removed")
    sizes = await trio.to_thread.run_sync(_remove, folder, useless, before)
    return Swept(len(sizes), sum(sizes), len(found) - len(sizes))


async def _names(store: str) -> set[str]:
    """Return the names of the files that a store speaks of."""
    traces = await find_traces(store, MARK)
    try:
        values = [*traces.values, *(msgspec.json.decode(body, type=Body).value for body in traces.bodies)]
    except msgspec.DecodeError as exc:
        raise StoreError(f"a message that waits cannot be read, so its file is not known: {exc}") from exc
    return {found["name"].decode() for value in values if (found := REFERENCE.fullmatch(value))}


def _files(folder: Path | str) -> Mapping[str, float]:
    """Return the files of a folder, and when each was last used."""
    if not Path(folder).is_dir():
        raise UsageError(f"there is no folder {folder}")
    with os.scandir(folder) as entries:
        ours = [one for one in entries if _is_whole(one.name) or one.name.startswith(TEMPORARY)]
    found: dict[str, float] = {}
    for one in ours:
        with suppress(FileNotFoundError):  # it is whole now, under another name, or another sweep was faster
            found[one.name] = one.stat().st_mtime
    return found


def _is_whole(name: str) -> bool:
    return REFERENCE.fullmatch(MARK + name.encode()) is not None


def _remove(folder: Path | str, names: list[str], before: float) -> list[int]:
    """Remove files, unless one was used since; return their sizes."""
    sizes: list[int] = []
    for path in map(Path(folder).joinpath, names):
        with locked(path.parent, fcntl.LOCK_EX):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # another sweep was faster
            if found.st_mtime < before:
                path.unlink()
                sizes.append(found.st_size)
    return sizes

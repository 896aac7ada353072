"""What the demo mirrors: the `.py` files of the running Python's own standard library, shared out among jobs."""

from __future__ import annotations

import hashlib
import math
import random
import sysconfig
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .job import File, Job, Layout

MOST_FILES = 50
"""Files of one job. Without a limit nearly half of all would be one job (`test`), in one worker, and others idle; with
a large one workers would hardly ever have room for what another has left when it was killed."""

_OTHERS = {"site-packages", "dist-packages", "__pycache__"}


def standard_library() -> Path:
    """Return the folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def manifest(root: Path, limit: int | None, seed: int) -> Sequence[File]:
    """Return the `.py` files below `root` with their checksums, in the order of their paths.

    Args:
        root: a standard library.
        limit: how many, drawn by `seed`; None for all.
        seed: which ones.
    """
    names = (path.relative_to(root) for path in root.rglob("*.py") if path.is_file())
    paths = sorted(name.as_posix() for name in names if not _OTHERS.intersection(name.parts))
    if limit is not None and limit < len(paths):
        paths = sorted(random.Random(f"{seed} files").sample(paths, limit))
    return [_file(root, path) for path in paths]


def _file(root: Path, path: str) -> File:
    body = (root / path).read_bytes()
    return File(path=path, sha256=hashlib.sha256(body).hexdigest(), size=len(body))


def jobs(files: Sequence[File], mirrors: Mapping[str, str], layout: Layout) -> Sequence[Job]:
    """Return a job for each top-level package, the largest first, and one for all top-level modules.

    What has more than `MOST_FILES` is several jobs of about the same size.
    """
    packages: dict[str, list[File]] = defaultdict(list)
    for file in files:
        package, slash, _ = file.path.partition("/")
        packages[package if slash else "modules"].append(file)
    return [
        Job(name=name, files=tuple(part), mirrors=dict(mirrors), folder=str(layout.folder))
        for package, members in sorted(packages.items(), key=lambda item: (-len(item[1]), item[0]))
        for name, part in _parts(package, members)
    ]


def _parts(package: str, files: Sequence[File]) -> Iterator[tuple[str, Sequence[File]]]:
    """Yield the name and the files of each job that a package makes."""
    count = math.ceil(len(files) / MOST_FILES)
    if count == 1:
        yield package, files
        return
    for number in range(count):
        yield f"{package}-{number + 1}", files[number::count]

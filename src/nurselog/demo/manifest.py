"""What the demo mirrors: the `.py` files of the running Python's own standard library, one job for each package."""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from .job import File, Job, Layout

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
    """Return a job for each top-level package, the largest first, and one for all top-level modules."""
    packages: dict[str, list[File]] = defaultdict(list)
    for file in files:
        package, slash, _ = file.path.partition("/")
        packages[package if slash else "modules"].append(file)
    return [
        Job(package=package, files=tuple(members), mirrors=dict(mirrors), folder=str(layout.folder))
        for package, members in sorted(packages.items(), key=lambda item: (-len(item[1]), item[0]))
    ]

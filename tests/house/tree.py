"""The project as files, and as who imports it meets it: what the tests of the house look at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nurselog"
GENERATED = {"__pycache__", ".ipynb_checkpoints"}


def files(*folders: str, suffix: str = "") -> Iterator[Path]:
    """Find the files below some of the project's folders, in order."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if path.is_file() and GENERATED.isdisjoint(path.parts):
                yield path


def sources() -> dict[str, str]:
    """Read the package: dotted module name to source, `nurselog` itself for its `__init__`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = path.read_text("utf-8")
    return found


def printed(code: str) -> str:
    """Run code in a fresh process, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout

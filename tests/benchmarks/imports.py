"""Measures what `import nurselog` takes: `python -m tests.benchmarks.imports`.

Each figure is the best of many processes, without what Python takes by itself; the first one writes the bytecode.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

PROCESSES = 20
IMPORTS = ("import trio", "import nurselog", "import nurselog; nurselog.open_engine")
WRITING = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}


def seconds(code: str) -> tuple[float, float]:
    """Run a process; return its seconds, by the wall clock and by the processor."""
    began, before = time.perf_counter(), busy_children()
    subprocess.run([sys.executable, "-c", code], check=True, env=WRITING)
    return time.perf_counter() - began, busy_children() - before


def busy_children() -> float:
    """Return how long the processor was busy for processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def best(code: str) -> tuple[float, float]:
    """Return the best of both, of many processes."""
    walls, busies = zip(*[seconds(code) for _ in range(PROCESSES)], strict=True)
    return min(walls), min(busies)


def main() -> None:
    """Measure and print."""
    wall_of_python, busy_of_python = best("pass")
    for code in IMPORTS:
        wall, busy = best(code)
        print(f"{code}: {1000 * (wall - wall_of_python):.0f} ms, processor {1000 * (busy - busy_of_python):.0f} ms")


if __name__ == "__main__":
    main()

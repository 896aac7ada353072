"""How much memory the process holds that is measured; whoever it is, so nothing of theirs is imported."""

from __future__ import annotations

import gc
import os
from pathlib import Path


def memory() -> int:
    """Return the bytes of memory that this process holds, without garbage."""
    gc.collect()
    return resident()


def resident() -> int:
    """Return them at once: to collect garbage among ten million objects keeps a process busy for seconds."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")

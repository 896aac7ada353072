"""How much memory the process holds that is measured; whoever it is, so nothing of theirs is imported."""

from __future__ import annotations

import gc
import os
from pathlib import Path


def memory() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")

"""Which processes keep the processors busy, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psycopg

TICKS = os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """Seconds of processors that were used until a moment."""

    engines: float
    server: float
    machine: float


def load(engines: Iterable[int], postmaster: int) -> Load:
    """Look at these processes, at all of a server's, and at the whole machine."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
    server = sum(map(used, map(int, children))) + used(postmaster) + used(postmaster, of_children=True)
    _, user, nice, system, _, _, hard, soft, *_ = Path("/proc/stat").read_text("ascii").splitlines()[0].split()
    machine = sum(map(int, (user, nice, system, hard, soft))) / TICKS
    return Load(sum(map(used, engines)), server, machine)


def used(pid: int, *, of_children: bool = False) -> float:
    """Return the seconds that a process has used, or those of its children that have ended; 0 if it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = fields_of(pid)
        return (int(fields[13]) + int(fields[14]) if of_children else int(fields[11]) + int(fields[12])) / TICKS
    return 0


def fields_of(pid: int) -> list[str]:
    """Return what the kernel says of a process behind its name, which may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()


def find_postmaster(url: str) -> int:
    """Return the process from which all of a server's come; it must run on this machine."""
    with psycopg.connect(url) as connection:
        pid = connection.info.backend_pid
        if Path(f"/proc/{pid}/comm").read_text("utf-8") != "postgres\n":
            raise ProcessLookupError(f"{url}: the server runs on another machine")
        return int(fields_of(pid)[1])

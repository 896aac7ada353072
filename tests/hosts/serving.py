"""Servers as processes, on ports that the system gives, and what their clients ask."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.house.tree import ROOT

EXAMPLES = ROOT / "examples" / "hosts"
PATIENCE = 60.0
"""Seconds in which what is waited for must come, on a machine that is busy."""
ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    process: subprocess.Popen[str]
    url: str

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a server in a folder, wait until it says where it listens, and end it at the latest when the block ends."""
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT, folder)))
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **(environment or {}), "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        rest = threading.Thread(target=list, args=[process.stdout])  # a full pipe would stop the server
        try:
            url = address(process.stdout)
            rest.start()
            yield Server(process, url)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with those that it has started
            if rest.ident is not None:
                rest.join()


def address(said: Iterable[str]) -> str:
    """Read up to the line that has the address."""
    before = ""
    for line in said:
        before += line
        if found := ADDRESS.search(line):
            return found[0]
    raise AssertionError(f"it does not listen:\n{before}")


def example(name: str, folder: Path, environment: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
    """Start one of the examples."""
    return serving([EXAMPLES / name, "0"], folder, environment)


def wish(item: str, cents: int) -> dict[str, object]:
    return {"item": item, "cents": cents}


def place(client: httpx.Client, key: str, item: str, cents: int, url: str = "") -> httpx.Response:
    return client.post(f"{url}/orders", json=wish(item, cents), headers={"Idempotency-Key": key})


def wait_until_there(client: httpx.Client, key: str) -> None:
    """Ask for an order until it is in the store."""
    for _ in range(10_000):
        if client.get(f"/orders/{key}").status_code == 200:
            return
    raise AssertionError(f"order {key} never comes")


def sales(folder: Path) -> list[tuple[str, int]]:
    """Return what is in the books: orders and their numbers."""
    with closing(sqlite3.connect(folder / "books.db")) as books:
        return books.execute("SELECT id, number FROM sale ORDER BY number").fetchall()

"""The hosts of docs/interoperability.md are asked by real clients. (Pages are run in tests/house, too.)"""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from nurselog import Client
from tests.hosts.serving import EXAMPLES as FOLDER
from tests.hosts.serving import PATIENCE, serving
from tests.hosts.test_plain_hosts import run
from tests.house.pages import Block, blocks
from tests.house.tree import ROOT

PAGE = list(blocks((ROOT / "docs" / "interoperability.md").read_text("utf-8")))
SHOP = PAGE[0].code
[EXAMPLES] = [block for block in PAGE if "examples/hosts" in block.code]
HELPERS = {"shop.py", "answers.py", "hypercorn_on_trio.py"}
PROGRAMS = {"uvicorn": ["-m", "uvicorn", "--port", "0"], "hypercorn": ["-m", "hypercorn", "-b", "127.0.0.1:0"]}
LONGEST = 20
"""Lines of code that a neighbour may take."""


def servers() -> dict[str, str]:
    """Return what the page shows right above a command, by the command."""
    shown = pairwise(PAGE)
    return {
        command.code.strip(): above.code for above, command in shown if command.info == "sh" and command is not EXAMPLES
    }


def code_lines(block: Block) -> int:
    return sum(bool(line) for line in block.code.splitlines())


@contextmanager
def started(command: str, folder: Path) -> Iterator[httpx.Client]:
    """Write what a reader would, and start it as the page says, on a port that the system gives; stop it at the end."""
    (folder / "shop.py").write_text(f"{SHOP}\n\n{servers()[command]}".replace("port=8000", "port=0"), "utf-8")
    name, *rest = shlex.split(command)
    with serving([*PROGRAMS.get(name, []), *rest], folder) as server:
        with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            yield client
        server.stop(signal.SIGINT)


def ask(client: httpx.Client, key: str) -> str:
    answer = client.post("/orders/lamp", headers={"Idempotency-Key": key})
    assert answer.status_code == 200
    return answer.text.strip('"')


@pytest.mark.parametrize("command", servers())
def test_a_server(command: str, tmp_path: Path) -> None:
    with started(command, tmp_path) as client:
        assert [ask(client, "a-1") for _ in range(2)] == ["lamp for 400 cents"] * 2


def test_several_processes(tmp_path: Path) -> None:
    """Who asks for the same run in two of them, at the same time, has the same answer from both."""
    [command] = [command for command in servers() if command.startswith("uvicorn")]
    with started(command, tmp_path) as one, started(command, tmp_path) as other, ThreadPoolExecutor(8) as threads:
        asked = [(client, f"a-{number}") for number in range(20) for client in (one, other)]
        assert set(threads.map(ask, *zip(*asked, strict=True))) == {"lamp for 400 cents"}
    with Client(f"sqlite:///{tmp_path}/shop.db") as shop:
        assert len(shop.list()) == 20


def test_each_example_is_shown() -> None:
    there = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert {Path(command.split()[-1]).name for command in EXAMPLES.code.splitlines()} == there - HELPERS


def test_there_are_servers() -> None:
    assert [command.split()[0] for command in servers()] == ["uvicorn", "hypercorn", "python"]


def test_the_cells(tmp_path: Path) -> None:
    cells = [
        SHOP,
        *(block.code for block in PAGE if block.info == "python illustration" and "import trio" not in block.code),
    ]
    notebook = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    (tmp_path / "cells.ipynb").write_text(json.dumps(notebook), "utf-8")
    assert run(tmp_path, "-m", "tests.hosts.cells", "cells.ipynb") == "'lamp for 400 cents'\n"


def test_a_neighbour_is_short() -> None:
    assert {block.line: code_lines(block) for block in PAGE if code_lines(block) > LONGEST} == {}

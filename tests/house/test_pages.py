"""What the documentation shows is run: README.md and everything below docs/."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.pages import Block, blocks
from tests.house.tree import ROOT, files

TRIO_ASYNCIOS = "ignore:'AbstractChildWatcher' is deprecated:DeprecationWarning"
"""What trio-asyncio makes Python 3.12 and later say when it is imported; as in `pyproject.toml`."""

# Every page, by name: a page that is lost is an error, and so is one that nobody has entered here.
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/data.md",
    "docs/design/cancellation.md",
    "docs/design/dependencies.md",
    "docs/design/deviations.md",
    "docs/design/index.md",
    "docs/design/mechanism.md",
    "docs/design/psycopg.md",
    "docs/design/select.md",
    "docs/design/storage.md",
    "docs/design/tour.md",
    "docs/how-to.md",
    "docs/interoperability.md",
    "docs/log-format.md",
    "docs/postgresql.md",
    "docs/production.md",
    "docs/reference.md",
    "docs/testing.md",
    "docs/tutorial.md",
)


def check(page: Path, folder: Path) -> str:
    """Run a page in a process and a folder of its own; return what is wrong with it."""
    command = [sys.executable, "-W", "error", "-W", TRIO_ASYNCIOS, "-m", "tests.house.pages", str(page)]
    # -m finds the module from the project's folder; the page runs elsewhere, where it may leave files.
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stderr if done.returncode else ""


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text.replace("~~~", "```"), "utf-8")
    return page


def test_every_page_is_listed() -> None:
    written = {str(path.relative_to(ROOT)) for path in files("docs", suffix=".md")}
    assert written | {"README.md", "CONTRIBUTING.md"} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(page: str, tmp_path: Path) -> None:
    problem = check(ROOT / page, tmp_path)
    assert not problem, problem


@pytest.mark.parametrize("page", PAGES)
def test_an_illustration_is_python(page: str) -> None:
    """A block that is not run, because something in it does not exist, must at least be read by Python."""
    for block in blocks((ROOT / page).read_text("utf-8")):
        if block.info == "python illustration":
            compile(block.code, f"{page}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_test_command_is_the_one_of_the_readme() -> None:
    (command,) = [line for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines() if "nox" in line]
    assert command in (ROOT / "README.md").read_text("utf-8").splitlines()


def test_blocks_and_their_outputs() -> None:
    page = "a\n~~~python\nf()\n~~~\n\n~~~text\n1\n~~~\nb\n~~~text\nfree\n~~~\n- c\n  ~~~sh\n  d\n  ~~~\n"
    assert list(blocks(page.replace("~~~", "```"))) == [
        Block(3, "python", "f()\n", "1\n"),
        Block(7, "text", "1\n", None),
        Block(11, "text", "free\n", None),
        Block(15, "sh", "d\n", None),
    ]


def test_a_page_is_one_program(tmp_path: Path) -> None:
    first = "~~~python\nimport trio\nx = 1\n~~~\nthen\n"
    second = "~~~python\nawait trio.sleep(0)\nprint(x, 'and', 2)\n~~~\n~~~text\n1 ... 2\n~~~"
    assert check(write(tmp_path, first + second), tmp_path) == ""


def test_an_untrue_output_is_found(tmp_path: Path) -> None:
    assert "page.md:2 prints\n1" in check(write(tmp_path, "~~~python\nprint(1)\n~~~\n~~~text\n2\n~~~"), tmp_path)


def test_a_failing_block_is_found_with_its_line(tmp_path: Path) -> None:
    assert 'page.md", line 4' in check(write(tmp_path, "text\n\n~~~python\n1 / 0\n~~~"), tmp_path)

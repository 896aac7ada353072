"""What the pages show besides Python: a log drawn as a tree, a kill, links."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.pages import Block, blocks
from tests.house.tree import ROOT, files

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *files("docs", suffix=".md")]
CODE = re.compile(r"^ *```.*?^ *```|`[^`]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#\s:]*)(?:#(?P<anchor>[^)\s]*))?\)")
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": str(Path(sys.executable).parent)}
KILLED_IN = "buying from alpha\n"
SPEEDS, SWAPPED = '{"alpha": 0.1, "beta": 30}', '{"alpha": 30, "beta": 0.1}'


def python(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    with process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return printed


def outputs(page: Path, info: str, beginning: str) -> list[str]:
    """Return the `text` blocks below the blocks of a kind that begin so."""
    found = list(blocks(page.read_text("utf-8")))
    return [block.prints for block in found if block.info == info and block.code.startswith(beginning) and block.prints]


def shape(drawn: str) -> str:
    """Leave out what differs from run to run: times."""
    return re.sub(r"\d+ ms", "N ms", re.sub(r"\+\d+\.\d+", "+T", drawn))


def test_the_log_of_the_readme_is_drawn_as_shown(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    [shown] = outputs(readme, "sh", "nurselog log")
    finish(python("-m", "tests.house.pages", str(readme), folder=tmp_path))
    drawn = finish(python("-m", "nurselog", "log", "sqlite:///quotes.db", "acme-1", folder=tmp_path))
    assert shape(drawn) == shape(shown)


def test_the_tutorial_survives_its_kill(tmp_path: Path) -> None:
    """The script of the tutorial, killed by SIGKILL where the page says, and started again with other speeds."""
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    [script] = [block.code for block in blocks(page) if block.code.startswith("# quotes.py\n")]
    first, second = shown_around_the_kill(list(blocks(page)))
    (tmp_path / "quotes.py").write_text(script, "utf-8")
    with python("quotes.py", folder=tmp_path) as doomed:
        assert doomed.stdout is not None
        printed = ""
        while not printed.endswith(KILLED_IN):
            line = doomed.stdout.readline()
            assert line, "it ended before it could be killed"
            printed += line
        doomed.kill()
    assert doomed.returncode == -signal.SIGKILL
    assert printed == first
    assert SPEEDS in script
    assert SWAPPED in page
    (tmp_path / "quotes.py").write_text(script.replace(SPEEDS, SWAPPED), "utf-8")
    assert finish(python("quotes.py", folder=tmp_path)) == second
    assert finish(python("quotes.py", folder=tmp_path)) == "bought from alpha at 12.5\n"


def shown_around_the_kill(page: list[Block]) -> tuple[str, str]:
    """Return what the tutorial says that the killed process and its successor print."""
    [kill] = [number for number, block in enumerate(page) if "kill -9 $!" in block.code]
    killed, successor = [block.code for block in page[kill:] if block.info == "text"][:2]
    return killed, successor


def anchors(page: Path) -> set[str]:
    """List the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for found in LINK.finditer(CODE.sub("code", page.read_text("utf-8"))):
        target = (page.parent / found["target"]).resolve() if found["target"] else page
        if not target.exists() or (found["anchor"] and found["anchor"] not in anchors(target)):
            broken.append(found[0])
    assert not broken, broken


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[here](#a-heading) `[code](5)` [there](#no-heading) [gone](gone.md)", "utf-8")
    with pytest.raises(AssertionError, match=r"#no-heading.*gone\.md"):
        test_links_lead_somewhere(page)

"""`nurselog check`: what it looks at, what it prints, and its exit codes. Nothing of what it looks at is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nurselog.cli import main

FLOWS = """\
raise SystemExit("this is not to be run")
from nurselog import workflow
from .steps import charge
from . import steps
import shop.steps

@workflow
async def order(items):
    charge(1)
    steps.charge(2)
    await charge(3)
    await shop.steps.charge(4)
    charge.using(name="again")
    steps.help(5)
"""
STEPS = """\
from nurselog import step
from .flows import order
from . import missing

@step
async def charge(cents): ...

def help(n): ...
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package, which is the current one."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "shop"
    package.mkdir()
    package.joinpath("__init__.py").write_text("raise SystemExit")
    package.joinpath("flows.py").write_text(FLOWS)
    package.joinpath("steps.py").write_text(STEPS)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("target", ["shop.flows", "shop/flows.py"])
def test_mistakes_are_printed_with_their_places(target: str, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", target]) == 1
    one, two, last = lines(capsys)
    assert one == (
        "shop/flows.py:9:5: unawaited: charge() is called and not awaited, so it does not run. "
        "Write `await` before the call, or start it with nursery.go()."
    )
    assert two.startswith("shop/flows.py:10:5: unawaited: steps.charge() is called")
    assert last == "modules: 1, workflows: 1, mistakes: 2"


@pytest.mark.parametrize("targets", [["shop"], ["."], ["shop", "shop.steps", "shop/flows.py", "./shop/"]])
def test_packages_and_folders_are_looked_at_as_a_whole_and_once(
    targets: list[str], shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *targets]) == 1
    assert lines(capsys)[-1] == "modules: 3, workflows: 1, mistakes: 2"


def test_what_is_right_is_said(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "shop.steps"]) == 0
    assert lines(capsys) == ["modules: 1, workflows: 0, mistakes: 0"]


def test_a_module_is_looked_for_where_python_looks(
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Also what it imports: from beside its package, wherever that is. Paths that are elsewhere are printed in full."""
    (shop / "alone.py").write_text(
        "from shop.steps import charge\nimport nurselog\n@nurselog.workflow\nasync def f(): charge(1)"
    )
    monkeypatch.syspath_prepend(shop)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["check", "shop", "alone"]) == 1
    first, *_, last = lines(capsys)
    assert first.startswith(f"{shop / 'alone.py'}:4:16: unawaited")
    assert last == "modules: 4, workflows: 2, mistakes: 3"


def test_a_package_goes_before_a_module_of_its_name(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop" / "deep").mkdir()
    (shop / "shop" / "deep" / "__init__.py").touch()
    (shop / "shop" / "deep.py").write_text("(")
    assert main(["check", "shop.deep"]) == 0
    (shop / "shop" / "deep" / "__init__.py").unlink()
    assert main(["check", "shop.deep"]) == 2


def test_what_is_hidden_or_installed_is_left_out(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("env/lib", ".git", "shop/__pycache__"):
        (shop / folder).mkdir(parents=True)
        (shop / folder / "wrong.py").write_text("(")
    (shop / "env" / "pyvenv.cfg").touch()
    assert main(["check", ".", "shop"]) == 1
    assert lines(capsys)[-1] == "modules: 3, workflows: 1, mistakes: 2"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nowhere", "there is no source of a module, no file and no folder 'nowhere'"),
        ("shop.nowhere", "there is no source of a module, no file and no folder 'shop.nowhere'"),
        (
            "nowhere.py",
            "there is no source of a module, no file and no folder 'nowhere.py' (write a module without .py)",
        ),
        ("shop..flows", "there is no source of a module, no file and no folder 'shop..flows'"),
        ("no/where", "there is no source of a module, no file and no folder 'no/where'"),
        ("sys", "there is no source of a module, no file and no folder 'sys'"),
        ("__main__", "there is no source of a module, no file and no folder '__main__'"),
        ("empty", "there is no module in 'empty'"),
    ],
)
def test_a_target_that_is_not_there_is_said_in_a_line(
    target: str, problem: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "empty").mkdir()
    assert main(["check", "shop", target]) == 2
    assert capsys.readouterr() == ("", f"nurselog: {problem}\n")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("bad.py", "bad.py:2 is no Python: '(' was never closed"),
        ("null.py", "null.py"),  # where and why differs between versions of Python
        ("coding.py", "coding.py:1 is no Python: unknown encoding"),
        ("latin.py", "latin.py cannot be read: 'utf-8' codec can't decode byte 0xe4 in position 7: "),
        ("deep.py", "deep.py cannot be read: it is nested too deeply"),
    ],
)
def test_a_module_that_cannot_be_read_is_said_and_the_others_are_looked_at(
    target: str, problem: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "bad.py").write_text("\n(")
    (shop / "null.py").write_bytes(b"x = 1\n\0")
    (shop / "coding.py").write_text("# coding: there-is-none\n")
    (shop / "latin.py").write_bytes(b"\n\nx = '\xe4'")
    (shop / "deep.py").write_text("x = " + "1 + " * 3_000 + "1")
    assert main(["check", "shop", target]) == 2
    printed = capsys.readouterr()
    assert printed.out.endswith("modules: 3, workflows: 1, mistakes: 2\n")
    [line] = printed.err.splitlines()
    assert line.startswith(f"nurselog: {problem}")


def test_a_neighbour_that_is_no_python_is_passed_over(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop" / "steps.py").write_text("(")
    assert main(["check", "shop.flows"]) == 0


def test_steps_are_known_through_modules_that_hand_them_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop" / "__init__.py").write_text("from shop.steps import charge\nfrom shop import circle\n")
    (shop / "alone.py").write_text(
        "import nurselog, shop\n@nurselog.workflow\nasync def f():\n    shop.charge(1)\n    shop.circle()"
    )
    assert main(["check", "alone"]) == 1
    [mistake, _] = lines(capsys)
    assert mistake.startswith("alone.py:4:5: unawaited: shop.charge() is called")


def test_a_program_may_hand_the_decorators_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop" / "base.py").write_text(
        "from nurselog import *\nfrom .steps import charge\nfrom time import sleep as nap"
    )
    (shop / "alone.py").write_text(
        "from shop.base import workflow, charge, nap\n@workflow\nasync def f():\n    charge(1)\n    nap(5)"
    )
    assert main(["check", "alone"]) == 1
    assert [line.split(": ")[1] for line in lines(capsys)[:-1]] == ["unawaited", "plain-sleep"]


def test_it_is_a_command(shop: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "nurselog", "check", "shop.steps"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "modules: 1, workflows: 0, mistakes: 0\n"


def test_its_help_has_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "  plain-sleep             waits for a clock that is in no log\n" in capsys.readouterr().out

"""No false alarm: the corpus of workflows, the examples, the tests' own workflows, and what the pages show.

Some of those are wrong on purpose. They are listed here with the rule that they break, and with nothing else.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from nurselog.check import check_source
from tests.house.pages import blocks
from tests.house.tree import ROOT, files

CORPUS = ROOT / "src" / "nurselog" / "testing" / "corpus" / "workflows"
BORROWED = ROOT / "tests" / "laws" / "corpus"
STEPS = ast.parse((CORPUS / "steps.py").read_text("utf-8"))
REASONS = {
    ("cancelling.py", "swallowed-cancellation"): "swallows_its_cancellation does what it says",
    ("corners.py", "swallowed-cancellation"): "swallows_everything does what it says",
    ("test_everywhere.py", "unshielded-cleanup"): "cancel_everywhere must find it",
    ("how-to.md", "plain-sleep"): "a workflow that is stuck, to show what to do",
    ("testing.md", "module-state"): "the first mistake that the page mends",
    ("testing.md", "wall-clock"): "what a test run tells of",
    ("testing.md", "random"): "what a test run tells of",
    ("testing.md", "unshielded-cleanup"): "the last one, twice: until it is mended",
}


def alarms(text: str, name: str) -> set[tuple[str, str]]:
    return {(name, mistake.rule.label) for mistake in check_source(text, name)}


def expected(name: str) -> set[tuple[str, str]]:
    return {one for one in REASONS if one[0] == name}


class Plain(ast.NodeTransformer):
    """Writes a file of the corpus as users would: `@workflow` and `@step` of nurselog, and steps that are near."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        names = {alias.name for alias in node.names}
        if "steps" in str(node.module) or "case" in names:
            return None
        return ast.ImportFrom("nurselog", node.names, 0) if node.level and node.module is None else node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        for number, one in enumerate(node.decorator_list):
            name = ast.unparse(one.func if isinstance(one, ast.Call) else one)
            if name in {"case", "step"}:
                node.decorator_list[number] = ast.parse(f"nurselog.{name.replace('case', 'workflow')}").body[0].value
        return node


def as_users_write(path: Path) -> str:
    tree = Plain().visit(ast.parse(path.read_text("utf-8")))
    steps = [node for node in STEPS.body if isinstance(node, ast.AsyncFunctionDef)]
    tree.body += [Plain().visit(ast.parse(ast.unparse(node))) for node in steps]
    return f"{ast.unparse(tree)}\nimport nurselog\nfrom nurselog.testing.corpus.world import chance, entered, note"


@pytest.mark.parametrize(
    "path", sorted([*CORPUS.glob("[!_]*.py"), *BORROWED.glob("[!_]*.py")]), ids=lambda path: path.name
)
def test_the_corpus(path: Path) -> None:
    text = as_users_write(path)
    cases = path.read_text("utf-8").count("@case(")
    assert text.count("@nurselog.workflow") == cases
    assert alarms(text, path.name) == expected(path.name)


def test_the_corpus_is_looked_at() -> None:
    """A mistake that is put into it is found: a step that is awaited no more."""
    text = as_users_write(CORPUS / "classics.py").replace("value: int = await fetch(1)", "value = fetch(1) + 1")
    assert alarms(text, "classics.py") == {("classics.py", "unawaited")}


WRONG_ON_PURPOSE = {"test_conversations.py", "test_hash_seeds.py", "test_sanitizer.py", "test_touches.py"}
"""Tests of what finds mistakes when they happen; `planted` is looked at by its own tests."""
TESTS = [path for path in sorted((ROOT / "tests" / "testing").glob("*.py")) if path.name not in WRONG_ON_PURPOSE]


@pytest.mark.parametrize("path", [*TESTS, *files("examples", "tests/golden", suffix=".py")], ids=lambda path: path.name)
def test_programs(path: Path) -> None:
    assert alarms(path.read_text("utf-8"), path.name) == expected(path.name)


@pytest.mark.parametrize("path", [*files("docs", suffix=".md"), ROOT / "README.md"], ids=lambda path: path.name)
def test_pages(path: Path) -> None:
    code = [block.code for block in blocks(path.read_text("utf-8")) if block.info == "python"]
    assert alarms("\n".join(code), path.name) == expected(path.name)

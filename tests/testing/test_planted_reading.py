"""What `nurselog check` finds in the planted workflows without running them: each marked line, and no other."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from nurselog.check import Rule, check_source

FOLDER = Path(__file__).parent / "planted"
FILES = [path for path in sorted(FOLDER.glob("*.py")) if "@workflow" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in FILES])
def test_each_marked_line_is_found_and_no_other(path: Path) -> None:
    text = path.read_text("utf-8")
    marks = {
        (number, label)
        for number, line in enumerate(text.splitlines(), 1)
        for label in re.findall(r"# .*check: ([\w-]+)", line)
    }
    assert {(one.line, one.rule.label) for one in check_source(text, str(path))} == marks


def test_each_rule_has_a_mistake() -> None:
    found = Counter(one.rule for path in FILES for one in check_source(path.read_text("utf-8"), str(path)))
    assert set(Rule) - set(found) == {Rule.EXEMPTION}

"""A line says that it is right as it is, and why; and what says so for nothing is a mistake."""

from __future__ import annotations

import pytest

from nurselog.check import check_source

HEAD = "from nurselog import workflow\n@workflow\nasync def flow():\n"


def found(line: str) -> list[str]:
    return [f"{one.rule.label}: {one.message}" for one in check_source(f"{HEAD}    {line}\n", "a.py")]


def test_a_line_with_a_reason_is_right() -> None:
    assert found("open('x')  # nurselog: effect is fine because it is the same in each process") == []
    assert found("open('x')  # noqa: SIM115 - see  # nurselog: effect is fine because it is the same") == []


@pytest.mark.parametrize(
    "comment", ["effect", "is fine because", "effect is fine because of it", "nurselog effect is fine because of it"]
)
def test_another_comment_changes_nothing(comment: str) -> None:
    [mistake] = found(f"open('x')  # {comment}")
    assert mistake.startswith("effect: ")


@pytest.mark.parametrize("end", ["", " because", " because  ", ", really"])
def test_a_reason_is_needed(end: str) -> None:
    effect, exemption = found(f"open('x')  # nurselog: effect is fine{end}")
    assert effect.startswith("effect: open() has to do with the outside world")
    assert exemption.startswith(
        "exemption: it does not say why 'effect' is fine. Write `# nurselog: RULE is fine because"
    )


def test_an_exemption_that_exempts_nothing_is_told() -> None:
    [mistake] = found("pass  # nurselog: effect is fine because it was there once")
    assert mistake.startswith("exemption: nothing on this line breaks 'effect'. ")


def test_an_exemption_of_another_rule_is_told() -> None:
    effect, exemption = found("open('x')  # nurselog: random is fine because I say so")
    assert effect.startswith("effect: ")
    assert exemption.startswith("exemption: nothing on this line breaks 'random'")


def test_a_rule_that_there_is_not_is_told() -> None:
    effect, exemption = found("open('x')  # nurselog: effects is fine because I say so")
    assert effect.startswith("effect: ")
    assert exemption.startswith("exemption: there is no rule 'effects'")


def test_a_text_is_no_comment() -> None:
    assert found("x = '# nurselog: effect is fine because I say so'") == []


def test_a_comment_has_its_place() -> None:
    [mistake] = check_source("x = 'ä'  # see  # nurselog: effect is fine because of x", "a/b.py")
    assert str(mistake).startswith("a/b.py:1:17: exemption: ")


def test_a_line_may_be_right_in_two_ways() -> None:
    comments = (f"# nurselog: {rule} is fine because of it" for rule in ("effect", "environment"))
    line = f"open(os.environ['x'])  {'  '.join(comments)}"
    assert check_source(f"import os\n{HEAD}    {line}\n", "a.py") == []

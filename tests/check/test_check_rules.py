"""Each rule of `nurselog check`: what breaks it, and beside it what looks like that and is right.

A line that breaks a rule says so in a comment. The right twin of each snippet must raise nothing.
"""

from __future__ import annotations

import pytest

from nurselog.check import Rule
from tests.check import pairs, pairs_cancelling
from tests.check.kit import Pair, found, marked
from tests.house.tree import ROOT

PAIRS = [*pairs.PAIRS, *pairs_cancelling.PAIRS]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_what_is_wrong_is_found(pair: Pair) -> None:
    assert found(pair.wrong) == marked(pair.wrong)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_what_is_right_raises_nothing(pair: Pair) -> None:
    assert found(pair.right) == []


def test_each_rule_has_a_pair() -> None:
    tried = {rule for pair in PAIRS for rule, _ in marked(pair.wrong)}
    assert {rule.label for rule in Rule} - tried == {"set-order", "exemption"}  # they have files of their own


def test_a_snippet_that_breaks_nothing_is_no_workflow() -> None:
    """What is wrong in a workflow is right in other code: that only workflow code is looked at is no accident."""
    for pair in PAIRS:
        assert found(pair.wrong.replace("@workflow", "@other")) == []


def test_the_reference_has_each_rule() -> None:
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert [rule.label for rule in Rule if f"\n| `{rule.label}` | " not in page] == []

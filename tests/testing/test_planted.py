"""Mistakes that are planted, each of which the kit finds and says where; and what is right, where it finds none."""

from __future__ import annotations

import pytest

from nurselog.testing import Broken, crash_everywhere
from tests.laws.corpus.registry import Case, whole_corpus
from tests.testing.planted import chance, cleanup, effects, waits
from tests.testing.planted.table import Planted, marked

PLANTED = [*chance.planted, *waits.planted, *effects.planted, *cleanup.planted]

planted = pytest.mark.parametrize("one", [pytest.param(one, id=one.wrong.name) for one in PLANTED])


@planted
def test_a_mistake_is_found(one: Planted) -> None:
    chance.remembered.clear()
    with pytest.raises(Broken) as caught:
        one.check(one.wrong)
    report = caught.value.report
    assert one.law in {finding.law for finding in report.findings}, str(report)
    assert any(line in str(report) for line in marked(one.wrong.fn)), str(report)


@planted
def test_what_is_mended_raises_no_alarm(one: Planted) -> None:
    one.check(one.mended)


corpus = whole_corpus()


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus.items() if not case.slow])
def test_what_is_right_raises_no_alarm(case: Case) -> None:
    crash_everywhere(case.workflow, *case.args)

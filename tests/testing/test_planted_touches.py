"""What planted workflows touch that no log has is told with its line; what hangs on hashing, other processes find."""

from __future__ import annotations

import warnings

import pytest

from nurselog import Workflow
from nurselog.testing import Broken, Report, TouchWarning, crash_everywhere
from tests.testing.planted import hashing, touches
from tests.testing.planted.table import Planted, marked
from tests.testing.planted.touches import Touching
from tests.testing.planted.world import Outside

touching = pytest.mark.parametrize("one", [pytest.param(one, id=one.wrong.name) for one in touches.touching])
planted = pytest.mark.parametrize("one", [pytest.param(one, id=one.wrong.name) for one in hashing.planted])


def tried(workflow: Workflow[..., None]) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TouchWarning)
        try:
            return crash_everywhere(workflow, fakes=Outside().fakes)
        except Broken as broken:
            return broken.report


@touching
def test_a_touch_is_told(one: Touching) -> None:
    found = {f"{touch.file}:{touch.line}" for touch in tried(one.wrong).touches if touch.kind is one.kind}
    assert set(marked(one.wrong.fn)) <= found


@touching
def test_what_a_step_touches_raises_no_alarm(one: Touching) -> None:
    assert not crash_everywhere(one.mended, fakes=Outside().fakes).touches


@planted
def test_what_hangs_on_hashing_is_found(one: Planted) -> None:
    with pytest.raises(Broken) as caught:
        one.check(one.wrong)
    report = caught.value.report
    assert one.law in {finding.law for finding in report.findings}, str(report)
    assert any(line in str(report) for line in marked(one.wrong.fn)), str(report)


@planted
def test_what_does_not_hang_on_hashing_raises_no_alarm(one: Planted) -> None:
    one.check(one.mended)

"""Changes of code that runs under way cannot follow are found by replaying their logs; those that are guarded pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nurselog import Workflow
from nurselog.lowlevel import JsonCodec, LogEntry
from nurselog.testing import Broken, replay, save_log
from nurselog.testing.life import Plan, beginning, live
from tests.testing.planted import changes, rearranged
from tests.testing.planted.table import Changed, Code, marked
from tests.testing.planted.talk import FAKES

CHANGED = [*changes.changed, *rearranged.changed]

changed = pytest.mark.parametrize("one", [pytest.param(one, id=one.wrong.__name__) for one in CHANGED])


def version(fn: Code) -> Workflow[..., object]:
    """Return one of the versions of a workflow; all have one name."""
    return Workflow(fn, "changed", None)


def log_of(one: Changed) -> Sequence[LogEntry]:
    flow, first = beginning(version(one.former), tuple(one.args), 0, JsonCodec())
    return live(flow, [first], Plan(cancel_after=1 if one.cancelled else None), instead=FAKES).entries


@changed
def test_a_change_is_found(one: Changed, tmp_path: Path) -> None:
    log = log_of(one)
    save_log(log[:-1], tmp_path / "log.json")
    with pytest.raises(Broken) as caught:
        replay(version(one.wrong), tmp_path / "log.json")
    report = caught.value.report
    assert any(line in str(report) for line in marked(one.wrong)), str(report)


@changed
def test_a_change_that_is_guarded_is_followed_from_everywhere(one: Changed) -> None:
    log = log_of(one)
    for length in range(1, len(log) + 1):
        replay(version(one.mended), log[:length])

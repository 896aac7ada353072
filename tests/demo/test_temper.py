"""The mirrors' faults: the same for the same seed, of every kind, and never without hope."""

from __future__ import annotations

from collections import Counter

import pytest

from nurselog.demo.temper import BAD_REQUESTS, TEMPERS, Fault, Temper, mood, starved

PATHS = [f"package/module{number}.py" for number in range(500)]


def test_a_seed_decides_everything() -> None:
    def moods(seed: int) -> list[object]:
        return [mood(temper, path, request, seed) for temper in TEMPERS for path in PATHS for request in (1, 2, 3)]

    assert moods(1) == moods(1)
    assert moods(1) != moods(2)


@pytest.mark.parametrize("temper", TEMPERS, ids=lambda temper: temper.name)
def test_each_fault_of_a_mirror_occurs_about_as_often_as_its_temper_says(temper: Temper) -> None:
    requests = [(path, request) for path in PATHS for request in range(1, BAD_REQUESTS + 1)]
    seen = Counter(mood(temper, path, request, 1).fault for path, request in requests)
    for fault, share in temper.faults.items():
        assert share / 2 < seen[fault] / len(requests) < share * 2
    assert set(seen) == {*temper.faults, Fault.NONE, Fault.STALL}


def test_the_mirrors_together_have_all_faults() -> None:
    assert {fault for temper in TEMPERS for fault in temper.faults} == {*Fault} - {Fault.NONE}


@pytest.mark.parametrize("temper", TEMPERS, ids=lambda temper: temper.name)
def test_after_a_few_requests_each_mirror_serves_each_file(temper: Temper) -> None:
    later = range(BAD_REQUESTS + 1, BAD_REQUESTS + 4)
    assert {mood(temper, path, request, 1).fault for path in PATHS for request in later} == {Fault.NONE}


def test_a_starved_file_stalls_everywhere_at_the_first_request_only() -> None:
    hungry = [path for path in PATHS if starved(path, 1)]
    assert 0 < len(hungry) < len(PATHS) / 10
    assert {mood(temper, path, 1, 1).fault for temper in TEMPERS for path in hungry} == {Fault.STALL}
    assert {mood(temper, path, 2, 1).fault for temper in TEMPERS for path in hungry} != {Fault.STALL}

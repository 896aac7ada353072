from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurselog._log.codec import digest, digest_arguments
from tests.log.values import Client, Color, Login, Point, Sour, plain


def test_digests_never_change() -> None:
    assert digest(b"") == "e4a6a0577479b2b4"
    assert digest(b'["x"]') == digest_arguments(("x",), {}) == "e43c7340223ebf65"
    assert digest_arguments((), {}) == "71857576257465c7"
    assert digest_arguments((1, Point(2)), {"b": {Color.RED}, "a": None}) == "e8d7b56fc6ab023e"


@given(st.lists(plain, max_size=3), st.dictionaries(st.text(max_size=3), plain, max_size=3))
def test_equal_arguments_have_equal_digests(args: list[Any], kwargs: dict[str, Any]) -> None:
    found = digest_arguments(tuple(args), kwargs)
    assert found is not None
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert found == digest_arguments(args, dict(reversed(kwargs.items())))


def test_different_arguments_have_different_digests() -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((None,), {}),
        ((1,), {}),
        ((1.0,), {}),
        ((True,), {}),
        (("1",), {}),
        (([1],), {}),
        ((1, {}), {}),
        (({"a": 1},), {}),
        ((), {"a": 1}),
        ((1,), {"a": 1}),
        (([[1]],), {}),
        ((({1: 2},),), {}),
    ]
    assert len({digest_arguments(*call) for call in calls}) == len(calls)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((Client(),), {}),
        ((1,), {"client": Client()}),
        (([{Point(1): Client()}],), {}),
        ((len,), {}),
        (("\ud800",), {}),
        ((Sour(),), {}),
        ((Login(key="x"),), {}),
        (({1: 2, "1": 3},), {}),
    ],
)
def test_where_an_argument_cannot_be_encoded_there_is_no_digest(args: Any, kwargs: Any) -> None:
    assert digest_arguments(args, kwargs) is None


def test_no_hash_seed_shows() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    outputs = [
        subprocess.run(
            [sys.executable, "-m", "tests.log.hash_seeds"],
            cwd=pathlib.Path(__file__).parents[2],
            env={**environment, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.splitlines()
        for seed in range(4)
    ]
    assert len(outputs[0]) == 15
    assert not any(line.startswith("None") for line in outputs[0])
    for lines in zip(*outputs, strict=True):
        assert len(set(lines)) == 1

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurselog._errors import UsageError
from nurselog._log.identity import (
    TASK,
    Path,
    check_id,
    format_path,
    parse_path,
    seeded_random,
    seeded_uuid4,
    step_key,
    transaction_key,
)

numbers = st.integers(1, TASK - 1)
paths = st.lists(numbers | numbers.map(lambda n: TASK + n), max_size=6).map(tuple)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        ((1,), "1"),
        ((2, 1), "2.1"),
        ((2, TASK + 1, 1), "2.t1.1"),
        ((TASK - 1, TASK + TASK - 1), "4294967295.t4294967295"),
    ],
)
def test_paths_as_the_log_has_them(path: Path, text: str) -> None:
    assert format_path(path) == text
    assert parse_path(text) == path


@given(paths)
def test_a_path_comes_back(path: Path) -> None:
    assert parse_path(format_path(path)) == path


@given(paths, paths)
def test_different_paths_have_different_texts(one: Path, other: Path) -> None:
    assert (format_path(one) == format_path(other)) == (one == other)


@given(st.text(alphabet="t0123456789.-+ _\u0663", max_size=8))
def test_a_text_is_a_path_or_an_error(text: str) -> None:
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert format_path(path) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            ".",
            "1.",
            ".1",
            "1..1",
            "0",
            "01",
            "t",
            "t0",
            "t01",
            "T1",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1_0",
            "x",
            "\u0663",
            "1\n",
        ),
        *("4294967296", "t4294967296", "99999999999"),
    ],
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_path(text)


def test_operations_come_before_tasks_and_parents_before_children() -> None:
    ordered = ["", "1", "1.1", "1.2", "1.10", "1.t1", "1.t1.1", "1.t2", "2", "10", "t1", "t10"]
    assert sorted(ordered, key=parse_path) == ordered


@pytest.mark.parametrize("name", ["x", "order-1", "a b.c:d?e", "Bestellung €", "x" * 200, " ", "\U0001f332"])
def test_ids(name: str) -> None:
    check_id(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "a/b", "/", "a\nb", "a\n", "\0", "\x1f", "\x7f", "\x85", "\ud800", None, 7, b"x"]
)
def test_what_is_no_id(name: object) -> None:
    with pytest.raises(UsageError, match="1 to 200 characters") as caught:
        check_id(name)
    assert repr(name) in str(caught.value)


@given(st.text(max_size=200), paths)
def test_a_step_key_fits_into_a_url(name: str, path: Path) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", step_key(name, path))


@given(st.tuples(st.text(max_size=5), paths), st.tuples(st.text(max_size=5), paths))
def test_step_keys_differ_as_what_they_name(one: tuple[str, Path], other: tuple[str, Path]) -> None:
    assert (step_key(*one) == step_key(*other)) == (one == other)


def test_the_parts_of_a_step_key_do_not_run_together() -> None:
    keys = {step_key("x", (1, 2)), step_key("2x", (1,)), step_key("x.1", (2,)), step_key("x.1.2", ()), step_key("", ())}
    assert len(keys) == 5


# What is frozen here is in logs, and at other services, for ever.


def test_step_keys_never_change() -> None:
    assert step_key("order-1", (2, TASK + 1, 1)) == "7FpO999ZoIBvAn3Exd3HYmOpZ4YGwXMf"
    assert step_key("Bestellung €", ()) == "TLy9TTdRgLLD3cN1YeKgOeEZfF1G_-Qj"


def test_transaction_keys_never_change() -> None:
    assert transaction_key("order-1", "0123456789abcdef", (2, TASK + 1, 1)) == "WUupJvooAVW9qMYvXpPWYXQi9kJJNmdR"
    assert transaction_key("Bestellung €", "seed", ()) == "R8-O_VMyb2C2O6Zs88OC-jgQDNMbSEo_"


def test_transaction_keys_tell_lives_of_one_id_apart() -> None:
    keys = {transaction_key(id, seed, path) for id in ("a", "b") for seed in ("a", "b") for path in ((1,), (2,))}
    assert len(keys) == 8


def test_random_numbers_never_change() -> None:
    rng = seeded_random("seed", (2, TASK + 1, 1))
    assert [rng.random(), rng.getrandbits(64), rng.randrange(1000), rng.choice("abcdef")] == [
        0.21167702316445358,
        12180969791331189610,
        500,
        "d",
    ]
    deck = list(range(8))
    rng.shuffle(deck)
    assert deck == [5, 3, 7, 1, 2, 0, 4, 6]


def test_uuids_never_change() -> None:
    assert str(seeded_uuid4("seed", (2, TASK + 1, 1))) == "9550a25f-3795-4d32-a401-24d588f91b60"
    assert str(seeded_uuid4("seed", ())) == "7f0f021b-33ef-48ca-92d2-89a2a9c8d370"


@given(st.text(max_size=5), paths)
def test_a_uuid_is_a_version_4_uuid(seed: str, path: Path) -> None:
    made = seeded_uuid4(seed, path)
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert made == seeded_uuid4(seed, path)


def test_each_place_and_each_seed_has_its_own_numbers() -> None:
    drawn = {seeded_random(seed, path).random() for seed in ("a", "b", "") for path in ((), (1,), (2,), (1, 1))}
    made = {seeded_uuid4(seed, path) for seed in ("a", "b", "") for path in ((), (1,), (2,), (1, 1))}
    assert (len(drawn), len(made)) == (12, 12)

from __future__ import annotations

import collections
import datetime as dt
import decimal
import math
import os
import pathlib
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import attrs
import msgspec
import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nurselog._errors import DecodingError, EncodingError
from nurselog._log.codec import JsonCodec
from tests.log.values import (
    Access,
    Address,
    Age,
    Box,
    Cat,
    Checked,
    Client,
    Cloud,
    Color,
    Dictionary,
    Dog,
    Login,
    Logins,
    OpenLogin,
    Options,
    Pair,
    Person,
    Point,
    Sour,
    Tags,
    typed,
)

codec = JsonCodec()

HERE = dt.timezone(dt.timedelta(hours=2))

EXAMPLES: list[tuple[Any, Any]] = [
    (None, None),
    (None, Any),
    (True, bool),
    (7, int),
    (7, Age),
    (7, object),
    (10**30, int),
    ("text", str),
    ("red", Literal["red", "blue"]),
    ("[[null]]", str),
    (b"\x00\xff", bytes),
    (bytearray(b"x"), bytearray),
    (1.5, float),
    (3, Annotated[int, msgspec.Meta(ge=0)]),
    (3, Annotated[int, {"not": "hashable"}]),
    (dt.datetime(2020, 1, 2, 3, 4, 5, 6), dt.datetime),  # noqa: DTZ001 - these must come back naive
    (dt.datetime(2020, 1, 2, 3, 4, 5, 6, HERE), dt.datetime),
    (dt.date(2020, 1, 2), dt.date),
    (dt.time(3, 4, 5, 6), dt.time),
    (dt.timedelta(days=-1, microseconds=1), dt.timedelta),
    (decimal.Decimal("1.10"), decimal.Decimal),
    (uuid.UUID(int=5), uuid.UUID),
    (Color.RED, Color),
    (Access.READ | Access.WRITE, Access),
    ([1, [2, 3]], list[Any]),
    ([[1, 2], [3]], list[list[int]]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ({3, 1, 2}, set[int]),
    (frozenset({"a", "b"}), frozenset[str]),
    ({Point(1), Point(2)}, set[Point]),
    ({frozenset({1}), frozenset({2, 3})}, set[frozenset[int]]),
    ({1, "a", 2, "b"}, set[int | str]),
    ({"a": 1}, dict[str, int]),
    ({1: "a", 2: None}, dict[int, str | None]),
    ({Color.RED: [Point(1)]}, dict[Color, list[Point]]),
    ({Color.RED: None}, dict[Color, None]),
    ({dt.date(2020, 1, 2): 1}, dict[dt.date, int]),
    (collections.OrderedDict(b=1, a=2), dict[str, int]),
    (Point(1, 2.5), Point),
    (Point(1), Point | None),
    (None, Point | None),
    (Cloud("c", frozenset({Point(1), Point(2)}), {2: {Color.RED, Color.BLUE}}, [Cloud("d")]), Cloud),
    (Box(3, frozenset({Color.RED, Color.BLUE})), Box),
    (Cat(3, frozenset({Point(1), Point(2)})), Cat | Dog),
    ([Dog("rex"), Cat()], list[Cat | Dog]),
    (Pair(1, Color.BLUE), Pair),
    ({"color": Color.RED}, Options),
    (pathlib.Path("/a/b"), pathlib.Path),
    (pathlib.PurePosixPath("a"), pathlib.PurePosixPath),
    ({pathlib.Path("a"): None, pathlib.Path("b"): 1}, dict[pathlib.Path, int | None]),
    ([pathlib.Path(), None], list[pathlib.Path | None]),
    (trio.Path("/a"), trio.Path),
    (Address.model_validate({"zip": 1, "raw": b"\xc3\xa9"}), Address),
    (Person(name="x", tags={"a", "b"}, homes=[Address.model_validate({"zip": 1})], marks={3: {"b", "a"}}), Person),
    ([Person(name="x"), None], list[Person | None]),
    (Tags({"a", "b"}), Tags),
    (Checked(3), Checked),
    (msgspec.Raw(b'{"a":null}'), msgspec.Raw),
    (OpenLogin(key="x"), OpenLogin),
    ([OpenLogin(key="*" * 10), None], list[OpenLogin | None]),
    ([Person(name="*" * 10)], list[Person]),
    ({pathlib.Path("*" * 10): {1: "*" * 20}}, dict[pathlib.Path, dict[int, str]]),
]


@pytest.mark.parametrize(("value", "annotation"), EXAMPLES, ids=map(str, range(len(EXAMPLES))))
def test_a_value_comes_back(value: object, annotation: Any) -> None:
    back = codec.decode(codec.encode(value, annotation), annotation)
    assert back == value
    assert type(back) is (dict if type(value) is collections.OrderedDict else type(value))


keys = st.text(max_size=3) | st.integers(-5, 5)


@given(typed)
def test_whatever_is_encoded_is_decoded_as_the_same(example: tuple[Any, Any]) -> None:
    value, annotation = example
    data = codec.encode(value, annotation)
    back = codec.decode(data, annotation)
    assert back == value
    assert codec.encode(back, annotation) == data


@given(st.lists(keys, unique_by=str, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_a_dict_does_not_show(names: list[Any], random: Any) -> None:
    shuffled = names.copy()
    random.shuffle(shuffled)
    values = {name: [name] for name in names}
    other = {name: values[name] for name in shuffled}
    assert codec.encode(values, Any) == codec.encode(other, Any)
    assert codec.encode(Dictionary(entries=values), Any) == codec.encode(Dictionary(entries=other), Any)
    assert codec.encode({1: Dictionary(entries=values)}, Any) == codec.encode({1: Dictionary(entries=other)}, Any)


# -- what cannot be written ----------------------------------------------------------------------


@dataclass
class Holder:
    name: str
    clients: list[Any]


@attrs.define
class Shelf:
    content: Any = attrs.field(init=False)


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"x"


def shelf(content: object) -> Shelf:
    made = Shelf()
    made.content = content
    return made


REFUSED: list[tuple[Any, str]] = [
    (Client(), "$ (a tests.log.values.Client) cannot be recorded: a tests.log.values.Client has no JSON form"),
    ([1, Client()], "$[1] (a tests.log.values.Client)"),
    ({"a": {"b": Client()}}, "$['a']['b'] (a tests.log.values.Client)"),
    ({1: [], 2: Client()}, "$[2] (a tests.log.values.Client)"),
    ({Client()}, "${} (a tests.log.values.Client)"),
    (Holder("x", [None, Client()]), "$.clients[1] (a tests.log.values.Client)"),
    (shelf((Client(),)), "$.content[0] (a tests.log.values.Client)"),
    (Cat(Client()), "$.lives_left (a tests.log.values.Client)"),  # type: ignore[arg-type]  # what a caller may do
    ({(1, 2): 3}, "$ (a dict) cannot be recorded: its key (1, 2) cannot be a key in JSON"),
    ([{1: "a", "1": "b"}], "$[0] (a dict) cannot be recorded: two of its keys are the same text"),
    ({"x": "\ud800"}, "$['x'] (a str) cannot be recorded: 'utf-8'"),
    (Sour(), "$ (a tests.log.values.Sour) cannot be recorded: "),
    (BytesPath(), "$ (a test_codec.BytesPath) cannot be recorded: a path of bytes"),
    (1j, "$ (a complex)"),
    (lambda: None, "$ (a function)"),
    (math.nan, "$ is nan, and JSON has no such number"),
    ([None, {"x": (1.0, -math.inf)}], "$[1]['x'][1] is -inf"),
    ([None, Point(1, math.inf)], "$[1].y is inf"),
    ([Login(key="x")], "$[0] (a tests.log.values.Login) cannot be recorded: it has a secret, which writes asterisks"),
    (Logins(by_name={"a": [Login(key="x")]}), "$ (a tests.log.values.Logins) cannot be recorded: it has a secret"),
    (
        np.float64(1.5),
        "$ (a numpy.float64) cannot be recorded: a numpy.float64 has no JSON form; its tolist() gives",
    ),
    ([np.arange(2)], "$[0] (a numpy.ndarray) cannot be recorded: a numpy.ndarray has no JSON form; its tolist()"),
    (Person(name="x", score=math.nan), "$ is a tests.log.values.Person that holds NaN or infinity, and JSON"),
]


@pytest.mark.parametrize(("value", "complaint"), REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_names_the_place(value: object, complaint: str) -> None:
    with pytest.raises(EncodingError, match=re.escape(complaint)):
        codec.encode(value, Any)


def test_a_value_that_contains_itself() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodingError, match="contains itself"):
        codec.encode(circle, Any)


def test_the_place_is_cut_where_it_is_very_deep() -> None:
    deep: Any = Client()
    for _ in range(60):
        deep = [deep]
    with pytest.raises(EncodingError, match=re.escape("$" + "[0]" * 50 + " (a list)")):
        codec.encode(deep, Any)


def test_null_is_no_sign_of_a_lost_number_by_itself() -> None:
    assert codec.encode([None, "null", {"null": 1.0}, decimal.Decimal("NaN")], Any)


@pytest.mark.parametrize(
    "annotation",
    [
        Client,
        list[Client],
        dict[str, Client | None],
        tuple[int, Client],
        set[complex],
        Iterable[int],
        collections.Counter,
        os.PathLike,
        Cat | Point,
        str | bytes,
        pathlib.Path | str,
        NoReturn,
        "Point",
        list["Nowhere"],  # noqa: F821 - the point
        5,
        type[int],
        list[np.int64],
    ],
    ids=str,
)
def test_nothing_is_written_that_could_not_be_read(annotation: Any) -> None:
    with pytest.raises(EncodingError, match="cannot be read back from JSON"):
        codec.encode(None, annotation)
    with pytest.raises(DecodingError, match="cannot be read back from JSON"):
        codec.decode(b"null", annotation)


def test_the_refusal_of_an_annotation_names_the_type_to_blame() -> None:
    with pytest.raises(EncodingError, match=r"list\[test_codec.Holder2\] .* nothing makes a \S+.Client of"):
        codec.encode([], list[Holder2])


@dataclass
class Holder2:
    clients: dict[str, list[Client | None]]
    more: list[Holder2]


# -- what cannot be read -------------------------------------------------------------------------


@dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        if self.x == 0:
            raise KeyError("zero")


@pytest.mark.parametrize(
    ("data", "annotation", "complaint"),
    [
        (b'"x"', int, "recorded data does not fit int: Expected `int`, got `str`. Make"),
        (b'{"x":"a"}', Point, "does not fit tests.log.values.Point: Expected `int`, got `str` - at `$.x`"),
        (b"[1,", list[int], "recorded data is no JSON: Input data was truncated. Read it with the codec that"),
        (b"", int, "recorded data is no JSON: "),
        (b'"\xff"', str, "does not fit str: "),
        (b'{"x":0}', Picky, "does not fit test_codec.Picky: 'zero'"),
        (b"[7]", list[pathlib.Path], "Expected `str` for `Path`, got `int` - at `$[0]`"),
        (b'{"zip_code":"x"}', Address, "zip_code"),
        (b'"green"', Color, "Invalid enum value 'green'"),
        (b"0", Annotated[int, msgspec.Meta(ge=1)], "Expected `int` >= 1"),
    ],
)
def test_what_does_not_fit(data: bytes, annotation: Any, complaint: str) -> None:
    with pytest.raises(DecodingError, match=re.escape(complaint)) as caught:
        codec.decode(data, annotation)
    assert caught.value.__cause__ is not None


def test_annotations_that_cannot_be_hashed_are_kept_apart() -> None:
    own = JsonCodec()
    at_least = [Annotated[int, {}, msgspec.Meta(ge=bound)] for bound in range(20)]
    for _ in range(2):
        for bound, annotation in enumerate(at_least):
            assert own.decode(str(bound).encode(), annotation) == bound
            with pytest.raises(DecodingError):
                own.decode(str(bound - 1).encode(), annotation)


def test_a_decoder_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = JsonCodec()
    odd = Annotated[int, {}]
    own.encode(1, int)
    own.encode(1, odd)
    monkeypatch.setattr(msgspec.inspect, "type_info", None)
    assert (own.decode(b"1", int), own.decode(b"2", odd)) == (1, 2)
    with pytest.raises(EncodingError):
        own.encode(1, float)

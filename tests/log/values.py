"""Records and other values that the tests of the codec encode."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NewType, TypedDict

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass as pydantic_dataclass


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True)
class Cloud:
    name: str
    points: frozenset[Point] = frozenset()
    marks: dict[int, set[Color]] = field(default_factory=dict)
    inner: list[Cloud] = field(default_factory=list)


@attrs.frozen
class Box:
    width: int
    tags: frozenset[Color] = frozenset()


class Cat(msgspec.Struct, frozen=True, tag="cat", rename="camel"):
    lives_left: int = 9
    friends: frozenset[Point] = frozenset()


class Dog(msgspec.Struct, frozen=True, tag="dog"):
    name: str


class Pair(NamedTuple):
    left: int
    right: Color


class Options(TypedDict, total=False):
    retries: int
    color: Color


class Address(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    zip_code: int = pydantic.Field(alias="zip", serialization_alias="postcode")
    since: dt.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    raw: bytes = b""


class Person(pydantic.BaseModel):
    name: str
    tags: set[str] = set()
    groups: frozenset[frozenset[str]] = frozenset()
    homes: list[Address] = []
    marks: dict[int, set[str]] = {}
    pair: tuple[int, set[str]] = (0, set())
    score: float = 0.0


class Dictionary(pydantic.BaseModel):
    entries: dict[int | str, list[int | str]]


class Login(pydantic.BaseModel):
    key: pydantic.SecretStr


class Logins(pydantic.BaseModel):
    by_name: dict[str, list[Login]] = {}


class OpenLogin(Login):
    """One that knows how to write its secret."""

    @pydantic.field_serializer("key")
    def write(self, key: pydantic.SecretStr) -> str:
        return key.get_secret_value()


class Tags(pydantic.RootModel[set[str]]):
    pass


@pydantic_dataclass(frozen=True)
class Checked:
    age: int


Age = NewType("Age", int)


class Client:
    pass


class Sour(pydantic.BaseModel):
    @pydantic.model_serializer
    def sour(self) -> dict[str, Any]:
        raise KeyError("sour")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
colors = st.sampled_from(Color)
points = st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False))
clouds = st.recursive(
    st.builds(
        Cloud,
        st.text(max_size=3),
        st.frozensets(points, max_size=3),
        st.dictionaries(st.integers(), st.sets(colors), max_size=3),
    ),
    lambda inner: st.builds(Cloud, st.text(max_size=3), st.just(frozenset()), st.just({}), st.lists(inner, max_size=2)),
    max_leaves=4,
)
typed: st.SearchStrategy[tuple[Any, Any]] = st.one_of(
    st.tuples(plain, st.just(Any)),
    st.tuples(clouds, st.just(Cloud)),
    st.tuples(st.datetimes(timezones=st.just(dt.UTC)), st.just(dt.datetime)),
    st.tuples(st.timedeltas(), st.just(dt.timedelta)),
    st.tuples(st.decimals(allow_nan=False), st.just(decimal.Decimal)),
    st.tuples(st.binary(max_size=8), st.just(bytes)),
    st.tuples(st.uuids(), st.just(uuid.UUID)),
    st.tuples(
        st.dictionaries(st.uuids(), st.tuples(st.text(max_size=3), colors), max_size=3),
        st.just(dict[uuid.UUID, tuple[str, Color]]),
    ),
    st.sets(st.frozensets(st.text(max_size=3), max_size=3), max_size=3).map(lambda v: (v, set[frozenset[str]])),
    st.builds(Box, st.integers(), st.frozensets(colors)).map(lambda v: (v, Box)),
    st.builds(Cat, st.integers(), st.frozensets(points, max_size=3)).map(lambda v: (v, Cat | Dog)),
    st.builds(
        Person,
        name=st.text(),
        tags=st.sets(st.text(max_size=3), max_size=3),
        groups=st.frozensets(st.frozensets(st.text(max_size=3), max_size=3), max_size=3),
        marks=st.dictionaries(st.integers(-5, 5), st.sets(st.text(max_size=3), max_size=3), max_size=3),
        pair=st.tuples(st.integers(-5, 5), st.sets(st.text(max_size=3), max_size=3)),
    ).map(lambda v: (v, Person)),
)

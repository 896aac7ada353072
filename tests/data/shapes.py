"""The records of docs/data.md, which shows what stands below the imports as it stands here."""

import enum
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Line:
    item: str
    number: int = 1


@dataclass
class Page(Generic[T]):
    items: list[T]
    rest: "Page[T] | None" = None


@attrs.frozen
class Box:
    width: float
    colors: frozenset[Color] = frozenset()


class Paid(msgspec.Struct, tag="paid", frozen=True):
    cents: int


class Failed(msgspec.Struct, tag="failed", frozen=True):
    why: str


class Envelope(msgspec.Struct, Generic[T]):
    content: T


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    tags: set[str] = set()


class Login(pydantic.BaseModel):
    key: pydantic.SecretStr


class Place(NamedTuple):
    row: int
    seat: str = "A"


class Options(TypedDict):
    retries: int
    color: NotRequired[Color]


@dataclass
class Square:
    width: int
    area: int = field(init=False)

    def __post_init__(self) -> None:
        self.area = self.width**2


@attrs.define
class Hidden:
    _secret: int


class Text(str):
    __slots__ = ()


class Client: ...


OrderId = NewType("OrderId", int)

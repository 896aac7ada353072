"""The tables of docs/data.md: what comes back out of the log, what comes back as something else, what is refused.

They are what the codec does, and no one's opinion: `python -m tests.data.table` writes them into the page, and a test
compares. Values and annotations are Python texts, which the page shows and the codec is given.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import fractions
import re
import uuid
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import trio

from nurselog import EncodingError
from nurselog._engine.checked import CheckedCodec
from nurselog.lowlevel import JsonCodec
from tests.data import drift, shapes
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "data.md"

NAMES: dict[str, Any] = {
    **{name: value for name, value in vars(shapes).items() if not name.startswith("_")},
    "Any": Any,
    "Literal": Literal,
    "Path": Path,
    "trio": trio,
    "np": np,
    "dt": dt,
    "date": dt.date,
    "datetime": dt.datetime,
    "time": dt.time,
    "timedelta": dt.timedelta,
    "timezone": dt.timezone,
    "UTC": dt.UTC,
    "ZoneInfo": zoneinfo.ZoneInfo,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "UUID": uuid.UUID,
    "Counter": collections.Counter,
    "deque": collections.deque,
    "OrderedDict": collections.OrderedDict,
}

codec = CheckedCodec(JsonCodec())


class Example(NamedTuple):
    """A value and its annotation, as a page shows them."""

    kind: str
    value: str
    annotation: str


KEPT = [
    Example("nothing", "None", "None"),
    Example("truth", "True", "bool"),
    Example("whole numbers, of any size", "2**70", "int"),
    Example("numbers", "0.1", "float"),
    Example("text", "'fir'", "str"),
    Example("bytes", "b'\\x00\\xff'", "bytes"),
    Example("fixed words", "'red'", "Literal['red', 'blue']"),
    Example("lists", "[1, 2]", "list[int]"),
    Example("tuples", "(1, 'a')", "tuple[int, str]"),
    Example("tuples of any length", "(1, 2, 3)", "tuple[int, ...]"),
    Example("sets", "{3, 1, 2}", "set[int]"),
    Example("frozen sets, also in sets", "{frozenset({1, 2})}", "set[frozenset[int]]"),
    Example("sets of records", "{Line('b'), Line('a')}", "set[Line]"),
    Example("dicts", "{'b': 1, 'a': 2}", "dict[str, int]"),
    Example("dicts with other keys", "{date(2026, 1, 2): 1.5}", "dict[date, float]"),
    Example("datetimes with an offset", "datetime(2026, 1, 2, 3, 4, 5, 6, UTC)", "datetime"),
    Example("datetimes without one", "datetime(2026, 1, 2, 3, 4)", "datetime"),
    Example("dates", "date(2026, 1, 2)", "date"),
    Example("times of day", "time(3, 4, 5)", "time"),
    Example("durations", "timedelta(days=-1, seconds=5)", "timedelta"),
    Example("decimals", "Decimal('1.10')", "Decimal"),
    Example("decimals that are no numbers", "Decimal('Infinity')", "Decimal"),
    Example("UUIDs", "UUID(int=5)", "UUID"),
    Example("paths", "Path('a/b')", "Path"),
    Example("Trio's paths", "trio.Path('a/b')", "trio.Path"),
    Example("enums", "Color.RED", "Color"),
    Example("enums of numbers", "Size.LARGE", "Size"),
    Example("flags", "Access.READ | Access.WRITE", "Access"),
    Example("dataclasses", "Line('fir', 2)", "Line"),
    Example("generic dataclasses", "Page([date(2026, 1, 2)])", "Page[date]"),
    Example("records that hold their like", "Page([1], Page([2]))", "Page[int]"),
    Example("attrs", "Box(1.5, frozenset({Color.RED}))", "Box"),
    Example("msgspec", "Paid(250)", "Paid"),
    Example("generic structs of msgspec", "Envelope((1, 2))", "Envelope[tuple[int, int]]"),
    Example("pydantic", "Cat(lives=7)", "Cat"),
    Example("unions in pydantic models", "Owner(pet=Dog(name='Rex'), tags={'b', 'a'})", "Owner"),
    Example("NamedTuple", "Place(3, 'B')", "Place"),
    Example("TypedDict", "{'retries': 3, 'color': Color.RED}", "Options"),
    Example("NewType", "OrderId(7)", "OrderId"),
    Example("optional values", "None", "Line | None"),
    Example("unions of built-in types", "'fir'", "int | str | None"),
    Example("unions by tag", "[Failed('no money'), Paid(250)]", "list[Paid | Failed]"),
]

CHANGED = [
    Example(
        "the zone of a datetime: its offset stays", "datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Berlin'))", "datetime"
    ),
    Example("seconds of an offset", "datetime(2026, 1, 2, tzinfo=timezone(timedelta(seconds=90)))", "datetime"),
    Example("the second 2 o'clock of a day", "datetime(2026, 10, 25, 2, fold=1)", "datetime"),
    Example("a whole number where the annotation says float", "1", "float"),
    Example("kinds of dicts", "OrderedDict(b=1, a=2)", "dict[str, int]"),
    Example("the order of a dict", "{'b': 1, 'a': 2}", "dict[str, int]"),
    Example("a subclass, where a base is annotated", "Fir('fir', 2)", "Line"),
    Example("fields that `__init__` does not take", "square_of(2, area=5)", "Square"),
    Example("whatever JSON has not, without an annotation", "(1, {2}, b'a')", "Any"),
    Example("keys, without an annotation", "{1: 'a'}", "Any"),
    Example("records, without an annotation", "Line('fir')", "Any"),
    Example("times, without an annotation", "date(2026, 1, 2)", "Any"),
]

REFUSED = [
    Example("numbers of numpy", "np.float64(1.5)", "float"),
    Example("arrays", "np.arange(3)", "Any"),
    Example("annotations with numpy in them", "[1.5]", "list[np.float64]"),
    Example("NaN and infinity", "float('nan')", "float"),
    Example("complex numbers", "1j", "complex"),
    Example("fractions", "Fraction(1, 2)", "Fraction"),
    Example("deques, and other containers", "deque([1])", "deque"),
    Example("another type than is annotated", "'12'", "int"),
    Example("a number with a point as a whole one", "1.0", "int"),
    Example("subclasses of built-in types", "Text('fir')", "str"),
    Example("objects that know how to do something", "[Client()]", "Any"),
    Example("keys that are no text", "{(1, 2): 3}", "dict[tuple[int, int], int]"),
    Example("keys with one text", "{1: 'a', '1': 'b'}", "Any"),
    Example("half of a character", "'\\ud800'", "str"),
    Example("pydantic's secrets", "Login(key='x')", "Login"),
    Example("attrs' private attributes", "Hidden(5)", "Hidden"),
    Example("unions of dataclasses, which have no tag", "Line('fir')", "Line | Box"),
    Example("unions of pydantic models, but in a model", "Cat()", "Cat | Dog"),
    Example("abstract containers", "[1]", "collections.abc.Iterable[int]"),
]


@dataclasses.dataclass(frozen=True)
class Fir(shapes.Line):
    """A line that knows more than its base."""

    height: float = 0.0


def square_of(width: int, *, area: int) -> shapes.Square:
    """Return a square that has been tampered with."""
    made = shapes.Square(width)
    made.area = area
    return made


NAMES |= {"Fir": Fir, "square_of": square_of, "collections": collections}


def evaluated(example: Example) -> tuple[Any, Any]:
    """Return an example's value and its annotation."""
    return eval(example.value, NAMES), eval(example.annotation, NAMES)


def refusal(example: Example) -> str:
    """Return what the codec says to a value that it refuses, without the advice that it has for all."""
    value, annotation = evaluated(example)
    try:
        codec.encode(value, annotation)
    except EncodingError as exc:
        return re.split(r"\. (?:Use dataclasses|Annotate with|Record None|Make the annotation)", str(exc))[0]
    raise AssertionError(f"{example} was not refused")


def kept(example: Example) -> Sequence[str]:
    value, annotation = evaluated(example)
    return (
        example.kind,
        _code(example.value),
        _code(example.annotation),
        _code(codec.encode(value, annotation).decode()),
    )


def changed(example: Example) -> Sequence[str]:
    value, annotation = evaluated(example)
    data = codec.encode(value, annotation)
    back = repr(codec.decode(data, annotation)).replace("datetime.", "").replace("tests.data.shapes.", "")
    return (example.kind, _code(example.value), _code(example.annotation), _code(data.decode()), _code(back))


def refused(example: Example) -> Sequence[str]:
    said = refusal(example).replace("tests.data.shapes.", "").replace("|", "\\|")
    return (example.kind, _code(example.value), _code(example.annotation), said)


class Table(NamedTuple):
    """A part of the page."""

    head: Sequence[str]
    examples: Sequence[Any]
    row: Callable[[Any], Sequence[str]]


TABLES = {
    "kept": Table(("", "value", "annotation", "in the log"), KEPT, kept),
    "changed": Table(("", "value", "annotation", "in the log", "comes back as"), CHANGED, changed),
    "refused": Table(("", "value", "annotation", "what is said"), REFUSED, refused),
}


def render(table: Table) -> str:
    """Return a table in Markdown."""
    rows = [table.head, ("---",) * len(table.head), *map(table.row, table.examples)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def parts() -> Iterator[tuple[str, str]]:
    """Yield the parts of the page that are made, by name."""
    source = Path(shapes.__file__).read_text("utf-8")
    yield "shapes", f"```python\n{source[source.index('import enum') :]}```\n"
    for name, table in TABLES.items():
        yield name, render(table)
    yield "drift", render(Table(("", *drift.KINDS), drift.CHANGES, drift.row))


def fill(page: str) -> str:
    """Return the page with all that is made as it must be."""
    for name, text in parts():
        begin, end = f"<!-- {name}: made by tests/data/table.py -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"the page has no place for {name}"
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text("utf-8")), "utf-8")

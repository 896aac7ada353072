"""docs/data.md says of the codec what the codec does."""

from __future__ import annotations

import msgspec
import pytest

from nurselog import RegistrationError, workflow
from nurselog._engine.table import Table
from tests.data.table import CHANGED, KEPT, PAGE, REFUSED, Example, codec, evaluated, fill, refusal

named = pytest.mark.parametrize


@named("example", KEPT, ids=lambda example: example.kind)
def test_what_is_kept_comes_back(example: Example) -> None:
    value, annotation = evaluated(example)
    back = codec.decode(codec.encode(value, annotation), annotation)
    assert back == value
    assert type(back) is type(value)


@named("example", CHANGED, ids=lambda example: example.kind)
def test_what_is_changed_comes_back_as_something_else(example: Example) -> None:
    value, annotation = evaluated(example)
    assert repr(codec.decode(codec.encode(value, annotation), annotation)) != repr(value)


@named("example", REFUSED, ids=lambda example: example.kind)
def test_what_is_refused_is_refused(example: Example) -> None:
    assert refusal(example)


@pytest.mark.skipif(msgspec.__version__.startswith("0.19."), reason="some of its messages have other words")
def test_the_page_has_the_tables() -> None:
    page = PAGE.read_text("utf-8")
    assert fill(page) == page, "write them anew: python -m tests.data.table"


def test_what_cannot_be_read_back_is_refused_before_anything_runs() -> None:
    async def takes(numbers: object) -> None: ...

    _, takes.__annotations__["numbers"] = evaluated(REFUSED[2])
    with pytest.raises(RegistrationError, match=r"its tolist\(\) gives"):
        Table([workflow(name="takes numpy")(takes)], codec)

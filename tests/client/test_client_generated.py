"""What sync code asks is made of what others ask; nobody writes it twice."""

from __future__ import annotations

import ast

import pytest

from nurselog import AsyncClient, AsyncClientHandle, Client, ClientHandle
from tests.client.generate import SOURCE, TARGET, generate


def shape(source: str) -> str:
    """Return what a module says, however it is broken into lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda alias: alias.name)
    return ast.dump(tree)


def test_it_is_up_to_date() -> None:
    made = shape(generate(SOURCE.read_text("utf-8")))
    assert made == shape(TARGET.read_text("utf-8")), "run `python -m tests.client.generate`"


def test_a_change_is_seen() -> None:
    source = SOURCE.read_text("utf-8")
    changed = source.replace("self._desk.delete, id", "self._desk.delete, self.id")
    assert shape(generate(changed)) != shape(generate(source)) != shape(source)


def test_what_is_not_there_any_more_is_missed() -> None:
    with pytest.raises(AssertionError):
        generate(SOURCE.read_text("utf-8").replace("AsyncItems", "Items"))


@pytest.mark.parametrize(("one", "other"), [(AsyncClient, Client), (AsyncClientHandle, ClientHandle)])
def test_both_have_the_same_calls(one: type, other: type) -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert calls(one) == calls(other) - {"close", "fail_after", "wait_ended"}

"""docs/reference.md has an entry for every public name, and each entry's signature is the code's."""

from __future__ import annotations

import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Iterator
from enum import Enum

import pytest

import nurselog
from tests.house.tree import ROOT

REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
ENTRY = re.compile(r"\*\*`(?P<name>[\w.]+)(?P<signature>\([^`]*\))?`\*\* — \S")

# Classes that a user never calls: their parts have entries, their signature has none.
PLAIN = (str, int, float, bool, type(None))


def entries(page: str) -> Iterator[tuple[str, str | None]]:
    """Find the entries of a page, which are paragraphs of their own: name and signature."""
    for paragraph in page.split("\n\n"):
        if found := ENTRY.match(" ".join(paragraph.split())):
            yield found["name"], found["signature"]


DOCUMENTED = dict(entries(REFERENCE))


def is_public(name: str) -> bool:
    return not name.startswith("_") and not isinstance(getattr(nurselog, name), types.ModuleType)


def parts(name: str) -> Iterator[str]:
    """List what a user finds in a class: methods and properties that are its own."""
    value = getattr(nurselog, name)
    if inspect.isclass(value) and not issubclass(value, BaseException):
        for part, member in vars(value).items():
            if not part.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                yield f"{name}.{part}"


PUBLIC = sorted(name for name in dir(nurselog) if is_public(name) and name != "annotations")


def find(dotted: str) -> object:
    return pkgutil.resolve_name(f"nurselog.{dotted}")


def plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Leave out the annotation, and a default that is no literal."""
    default = parameter.default
    if default is not inspect.Parameter.empty and not isinstance(default, PLAIN):
        default = Dots()
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


class Dots:
    def __repr__(self) -> str:
        return "..."


def signature(value: Callable[..., object]) -> str:
    found = inspect.signature(value)
    parameters = [plain(parameter) for name, parameter in found.parameters.items() if name != "self"]
    return str(inspect.Signature(parameters))


def test_every_public_name_has_an_entry() -> None:
    assert [name for name in PUBLIC if name not in DOCUMENTED] == []


def test_every_method_has_an_entry() -> None:
    assert [part for name in PUBLIC for part in parts(name) if part not in DOCUMENTED] == []


def test_an_entry_stands_once() -> None:
    names = [name for name, _ in entries(REFERENCE)]
    assert sorted(names) == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_entry_is_true(name: str) -> None:
    value = find(name)
    written = DOCUMENTED[name]
    if written is not None:
        assert callable(value)
        assert written == signature(value)
    elif inspect.isfunction(value):
        pytest.fail(f"{name} is a function, and its entry shows no parameters")


def test_every_status_is_explained() -> None:
    page = " ".join(REFERENCE.split())
    assert issubclass(nurselog.Status, Enum)
    assert [status.name for status in nurselog.Status if f"`{status.name}`" not in page] == []


def test_entries_are_found() -> None:
    page = "text\n\n**`f(a, *,\nb=1)`** — It\ndoes.\n\n**`C.x`** — Says.\n\n**`g()`** it has no dash\n"
    assert dict(entries(page)) == {"f": "(a, *, b=1)", "C.x": None}


def test_a_signature_is_written_without_annotations() -> None:
    def f(a: int, /, *args: str, b: float = 1.5, c: object = object()) -> None: ...

    assert signature(f) == "(a, /, *args, b=1.5, c=...)"

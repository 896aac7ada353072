"""docs/design/tour.md names every file of the package, and none that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.house.tree import PACKAGE, ROOT

TOUR = (ROOT / "docs" / "design" / "tour.md").read_text("utf-8")
SECTION = re.compile(r"^## `(?P<folder>_\w+)`: .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (?P<files>`.*?) \|", re.MULTILINE)

# The tour tells of a folder's __init__.py only where it has something in it.
EMPTY = {
    "_client/__init__.py",
    "_engine/__init__.py",
    "_flow/__init__.py",
    "_log/__init__.py",
    "_stores/_sqlite/__init__.py",
} | {"_stores/_postgres/__init__.py"}


def named(tour: str) -> Iterator[str]:
    """List the files in the tables, whose sections are folders of the package."""
    for section in SECTION.finditer(tour):
        for row in ROW.finditer(section[0]):
            for path in re.findall(r"`([\w/]+\.py)`", row["files"]):
                yield f"{section['folder']}/{path}"


def there() -> Iterator[str]:
    for folder in PACKAGE.glob("_*/"):
        for path in folder.rglob("*.py"):
            yield str(path.relative_to(PACKAGE))


def test_the_tour_names_every_file() -> None:
    assert sorted(set(there()) - EMPTY - set(named(TOUR))) == []


def test_the_tour_names_no_ghosts() -> None:
    assert sorted(set(named(TOUR)) - set(there())) == []


def test_the_tour_names_nothing_twice() -> None:
    names = list(named(TOUR))
    assert sorted(names) == sorted(set(names))


def test_rows_are_read() -> None:
    page = "## `_a`: one\n\n| file | has |\n|---|---|\n| `b.py`, `c/d.py` | `e.py` |\n\n## Other\n\n| `f.py` | g |\n"
    assert list(named(page)) == ["_a/b.py", "_a/c/d.py"]

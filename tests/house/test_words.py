"""What must not stand in the project: a machine's paths, and a rule switched off without a reason."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, files

# Folders of one machine. Written in two parts, so that this file is no finding of its own.
PLACES = tuple("/" + folder + "/" for folder in ("tmp", "work", "home", "root"))

# A suppression, and the reason after it.
SUPPRESSION = re.compile(
    r"#\s*(?:(?:ruff:\s*)?noqa|mypy:\s*ignore-errors|type:\s*ignore|pyright:\s*ignore|pragma:\s*no\s+(?:cover|branch))"
)
REASONED = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*\s+-\s+\w"
    r"|(?:type|pyright):\s*ignore\[[\w\-, ]+\]\s*#\s*\w"
    r"|pragma: no (?:cover|branch) - \w)"
)


def unreasoned(line: str) -> bool:
    """Whether a line switches a rule off without saying which one and why."""
    return any(not REASONED.match(line, found.start()) for found in SUPPRESSION.finditer(line))


def lines(*folders: str, suffix: str = "") -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in files(*folders, suffix=suffix)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
    ]


def test_no_path_of_a_machine() -> None:
    found = [where for where, line in lines("src", "docs", "examples") if any(place in line for place in PLACES)]
    assert not found, "\n".join(found)


def test_every_suppression_has_a_reason() -> None:
    found = [
        where
        for where, line in lines("src", "tests", "examples", suffix=".py")
        if unreasoned(line) and "test_words" not in where
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa",
        "x = 1  # noqa: E501",
        "# ruff: noqa",
        "# mypy: ignore-errors",
        "x = 1  # type: ignore",
        "x = 1  # type: ignore[arg-type]",
        "x = 1  # pyright: ignore[reportGeneralTypeIssues]",
        "if x:  # pragma: no cover",
        "if x:  # type: ignore[misc]  # why  # noqa: E501",
    ],
)
def test_a_suppression_without_reason_is_found(line: str) -> None:
    assert unreasoned(line)


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa: E501 - a table reads best in one line",
        "x = 1  # noqa: E501, S311 - both because",
        "x = 1  # type: ignore[arg-type, misc]  # because",
        "x = 1  # pyright: ignore[reportPrivateUsage]  # because",
        "if x:  # pragma: no branch - because",
        "# no suppression at all",
    ],
)
def test_a_suppression_with_reason_passes(line: str) -> None:
    assert not unreasoned(line)

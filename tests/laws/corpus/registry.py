"""The corpus that the laws are tried on: the public one, and what borrows from libraries that only the tests have."""

from __future__ import annotations

from nurselog.testing.corpus import CORPUS, Case
from nurselog.testing.corpus.cases import cases_of
from tests.laws.corpus import borrowed, elsewhere


def whole_corpus() -> dict[str, Case]:
    """Return the workflows by their names."""
    return {case.name: case for case in (*CORPUS, *cases_of(borrowed, elsewhere))}

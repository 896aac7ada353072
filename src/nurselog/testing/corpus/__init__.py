"""A hundred workflows that do what people do, and what nobody should: for those who change something below them.

Whoever changes the engine, or writes a store, a codec or a helper for Trio, asks whether workflows still survive
everything. Three lines ask the corpus:

    @pytest.mark.parametrize("case", CORPUS, ids=str)
    def test_workflows_survive(case):
        crash_everywhere(case.workflow, *case.args)

Why all of it, in the package, and not a selection, or a package of its own? Each workflow is there for something that
once went wrong or would have, and a selection would be a guess at what others will break. It takes 25 kB of a wheel of
320, and nothing imports it but who wants it. The workflows are in no registry, so that no engine or command takes them
for the application's own. What borrows from libraries that only the tests need stays with these.

The workflows are programs as users write them, odd ones among them, and are read by mypy alone: pyright takes each
nursery to swallow errors, and would have them say what no user says. What a program must never reach is marked so.
"""

from __future__ import annotations

from .cases import Case as Case
from .cases import case as case
from .cases import cases_of
from .workflows import (
    answering,
    cancelling,
    classics,
    conversations,
    corners,
    errors,
    sharing,
    stories,
    structure,
    telling,
    timing,
    traps,
)
from .world import World as World
from .world import chance as chance
from .world import note as note
from .world import watched as watched

CORPUS: tuple[Case, ...] = cases_of(
    classics,
    stories,
    structure,
    sharing,
    timing,
    cancelling,
    errors,
    corners,
    traps,
    conversations,
    telling,
    answering,
)
"""All of them."""

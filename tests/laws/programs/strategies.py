"""How Hypothesis makes programs: what is simple comes first, since that is what a failure is shrunk to."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from hypothesis import strategies as st

from tests.laws.programs import leaves, trees
from tests.laws.programs.scenario import Scenario
from tests.laws.programs.steps import STEPS
from tests.laws.programs.world import SHARED

_RARE = {"unencodable", "odd", "lasting", "threaded"}
_COMMON = [name for name in STEPS if name not in _RARE]
_PATIENCE = st.sampled_from([0.002, 1.0])
_SECONDS = st.sampled_from([0.0005, 0.001, 0.002, 0.004, 0.01])


def mixture(*weighted: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of some strategies, each as often as its weight says: `one_of` would count the branches below each."""
    ballot = [number for number, (weight, _) in enumerate(weighted) for _ in range(weight)]
    return st.sampled_from(ballot).flatmap(lambda number: weighted[number][1])


def one_of_field(record: type, field: str) -> st.SearchStrategy[Any]:
    """Any of the values that a field's annotation lists."""
    return st.sampled_from(get_args(get_type_hints(record)[field]))


step_names = mixture(
    (170, st.sampled_from(_COMMON)), (29, st.sampled_from(sorted(_RARE - {"threaded"}))), (1, st.just("threaded"))
)
which = st.integers(0, SHARED - 1)
some = st.integers(0, 5)
rarely = st.sampled_from([False, False, False, True])
often = rarely.map(lambda value: not value)


def _ops(record: type, number: st.SearchStrategy[int], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(record, op=one_of_field(record, "op"), which=number, **more)


_cases = st.builds(leaves.Case, kind=one_of_field(leaves.Case, "kind"), which=some)

calls = st.builds(leaves.Call, step=step_names, number=st.integers(0, 9))
leaf = mixture(
    (14, calls),
    (1, st.just(leaves.Checkpoint())),
    (1, st.builds(leaves.Sleep, seconds=st.sampled_from([0.001, 0.002, 0.004, 0.01, 0.1]), until=st.booleans())),
    (1, st.builds(leaves.Ask, what=one_of_field(leaves.Ask, "what"))),
    (1, st.builds(leaves.Raise, number=some)),
    (1, _ops(leaves.Event, which)),
    (1, _ops(leaves.Condition, which)),
    (1, _ops(leaves.Parking, which)),
    (1, st.builds(leaves.Late, steps=st.lists(step_names, min_size=2, max_size=3).map(tuple))),
    (4, _ops(leaves.Channel, which, ours=st.booleans())),
    (8, _ops(leaves.Mail, which, seconds=_PATIENCE)),
    (6, _ops(leaves.Asked, which, seconds=_PATIENCE)),
    (5, _ops(leaves.Tell, which)),
    (6, _ops(leaves.Promise, some, seconds=_PATIENCE)),
    (4, _ops(leaves.Scope, some)),
    (3, _ops(leaves.Child, some)),
    (3, st.builds(leaves.Select, cases=st.lists(_cases, min_size=1, max_size=4).map(tuple), unwrap=st.booleans())),
    (2, st.builds(leaves.Several, op=one_of_field(leaves.Several, "op"), count=st.integers(1, 4))),
)


@cache
def nodes(depth: int) -> st.SearchStrategy[Any]:
    """Programs of at most this depth."""
    if depth == 0:
        return leaf
    part = nodes(depth - 1)
    how = st.sampled_from(["go", "go", "go", "soon"])
    branch = st.builds(trees.Spawned, how=how, part=part)
    step = st.builds(trees.Spawned, how=how, step=step_names)
    child = mixture((2, branch), (1, step))
    children = st.lists(child, min_size=1, max_size=4).map(tuple)
    repairs = st.lists(step_names.filter(lambda name: name != "endless"), min_size=1, max_size=2).map(tuple)

    def nursery(*kinds: str) -> st.SearchStrategy[Any]:
        kind = st.sampled_from(kinds)
        return st.builds(trees.Nursery, kind=kind, children=children, body=part, cancel=rarely)

    def pick(tree: type, field: str) -> dict[str, st.SearchStrategy[Any]]:
        return {field: one_of_field(tree, field)}

    return mixture(
        (3 if depth < 2 else 1, leaf),
        (8, st.builds(trees.Sequence, _parts(part, 2, 5), often)),
        (5, nursery("ours")),
        (2, nursery("trio", "anyio")),
        (2, st.builds(trees.Cleanup, **pick(trees.Cleanup, "after"), part=part, repairs=repairs, shield=often)),
        (1, st.builds(trees.Swallow, part=part, **pick(trees.Swallow, "instead"))),
        (3, st.builds(trees.Within, **pick(trees.Within, "kind"), seconds=_SECONDS, part=part)),
        (2, st.builds(trees.Holding, **pick(trees.Holding, "guard"), which=which, part=part)),
        (1, st.builds(trees.Generated, parts=_parts(part), **pick(trees.Generated, "end"))),
        (2, st.builds(trees.Into, which=some, child=child)),
        (1, st.builds(trees.Started, **pick(trees.Started, "kind"), first=part, rest=part, body=part)),
        (1, st.builds(trees.Race, _parts(part))),
        (1, st.builds(trees.Map, parts=_parts(part, 1, 4), limit=st.none() | st.integers(1, 2))),
    )


def _parts(part: st.SearchStrategy[Any], least: int = 1, most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(part, min_size=least, max_size=most).map(tuple)


_scenarios = st.builds(
    Scenario,
    tree=st.sampled_from([4, 3, 2, 5]).flatmap(nodes),
    patience=st.sampled_from([0.05, 0.05, 0.05, 0.01, 5.0, None]),
    cancel_after=st.none() | st.none() | st.integers(0, 12),
    stop_after=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)


@st.composite
def _printable(draw: st.DrawFn) -> Scenario:
    """Copy what was drawn: Hypothesis prints what it has built itself in a time exponential in its depth."""
    return msgspec.json.decode(draw(_scenarios).dump(), type=Scenario)


scenarios = _printable()

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from nurselog._errors import StepFailed
from nurselog._log.failures import (
    MAX_DEPTH,
    decode_error,
    encode_error,
    rebuild_error,
    record_error,
)
from tests.log.errors import Batch, Connected, Declined, Mute, Outer, Reason, again, caused, made, parts, textless

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4) | st.sampled_from(Reason),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), max_size=3)
        | st.dictionaries(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)
leaves = st.builds(
    lambda kind, args, held: made(kind(*args), held),
    st.sampled_from([ValueError, KeyError, Outer.Inner, trio.TooSlowError]),
    st.lists(values, min_size=1, max_size=3).map(lambda args: args[:1]),
    st.dictionaries(st.sampled_from(["code", "detail"]), values, max_size=2),
)
errors = st.recursive(
    leaves,
    lambda inner: (
        st.builds(ExceptionGroup, st.text(max_size=5), st.lists(inner, min_size=1, max_size=3))
        | st.builds(caused, inner, inner)
    ),
    max_leaves=5,
)


@given(errors)
def test_trees_of_errors_come_back(exc: Exception) -> None:
    assert parts(again(exc)) == parts(exc)
    assert encode_error(textless(record_error(again(exc)))) == encode_error(textless(record_error(exc)))


def test_odd_notes() -> None:
    exc = ValueError("x")
    exc.__notes__ = ["text", 5, Mute()]  # type: ignore[list-item]  # what Python allows
    assert again(exc).__notes__ == ["text", "5", "<its text cannot be had: RuntimeError>"]
    exc.__notes__ = "no list"  # type: ignore[assignment]  # what Python allows
    assert not hasattr(again(exc), "__notes__")


def test_notes_of_a_failed_step() -> None:
    exc = Connected()
    exc.add_note("noted")
    assert again(exc).__notes__ == ["noted"]


def test_a_chain_of_causes() -> None:
    back = again(caused(ValueError("top"), caused(Connected(), KeyError("root"))))
    assert isinstance(back.__cause__, StepFailed)
    assert "tests.log.errors.Connected: connection lost" in back.__cause__.traceback
    assert "KeyError" not in back.__cause__.traceback
    assert isinstance(back.__cause__.__cause__, KeyError)
    assert back.__cause__.__cause__.__cause__ is None


def test_a_cause_that_is_no_exception_of_a_program() -> None:
    exc = ValueError("top")
    exc.__cause__ = KeyboardInterrupt()
    assert isinstance(again(exc).__cause__, StepFailed)
    exc.__cause__ = BaseExceptionGroup("g", [KeyboardInterrupt()])
    assert isinstance(again(exc).__cause__, StepFailed)


def test_causes_in_a_circle() -> None:
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    back = again(one)
    assert back.__cause__ is not None
    assert (back.args, back.__cause__.args, back.__cause__.__cause__) == ((1,), (2,), None)


def test_a_shared_cause_is_recorded_once() -> None:
    cause = ValueError("cause")
    back = again(ExceptionGroup("g", [caused(KeyError(n), cause) for n in range(3)]))
    assert isinstance(back, ExceptionGroup)
    assert [member.__cause__ is None for member in back.exceptions] == [False, True, True]


def depth(exc: BaseException | None) -> int:
    count = 0
    while exc is not None:
        exc = exc.__cause__
        count += 1
    return count


def test_long_chains_are_cut() -> None:
    exc = ValueError("root")
    for n in range(5_000):
        exc = caused(ValueError(n), exc)
    assert depth(again(exc)) == MAX_DEPTH + 1


def test_deep_groups_are_cut() -> None:
    group: Exception = ValueError("root")
    for _ in range(MAX_DEPTH + 5):
        group = ExceptionGroup("level", [group])
    back = again(group)
    for _ in range(MAX_DEPTH):
        assert isinstance(back, ExceptionGroup)
        back = back.exceptions[0]
    assert isinstance(back, StepFailed)


def test_a_group_that_holds_one_member_twice_at_each_level_is_cut() -> None:
    """Written out, it would double with each level."""
    group: Exception = ValueError("root")
    for _ in range(MAX_DEPTH):
        group = ExceptionGroup("level", [group, group])
    data = encode_error(record_error(group))
    assert len(data) < 10_000_000
    assert isinstance(rebuild_error(decode_error(data)), ExceptionGroup)


def test_a_group_of_an_own_type_comes_back() -> None:
    back = again(Batch(3, [ValueError("x"), Connected()]))
    assert isinstance(back, Batch)
    assert (back.message, back.number) == ("batch 3", 3)
    assert isinstance(back.exceptions[0], ValueError)
    assert isinstance(back.exceptions[1], StepFailed)
    matching, rest = back.split(ValueError)
    assert isinstance(matching, Batch)
    assert isinstance(rest, Batch)


def test_a_group_that_cannot_be_rebuilt_is_a_plain_one_with_the_same_members() -> None:
    class LocalGroup(ExceptionGroup[Exception]):
        pass

    group = LocalGroup("two", [ValueError("a"), KeyError("b")])
    group.add_note("noted")
    record = record_error(group)
    assert (record.qualname.split(".")[-1], record.rebuild) == ("LocalGroup", False)
    back = rebuild_error(record)
    assert type(back) is ExceptionGroup
    assert (str(back), back.__notes__) == ("two (2 sub-exceptions)", ["noted"])
    assert [parts(member) for member in back.exceptions] == [parts(member) for member in group.exceptions]


def test_except_star_finds_rebuilt_members() -> None:
    found = []
    try:
        raise again(ExceptionGroup("g", [Declined(code=1), Connected()]))
    except* Declined as group:
        found.append(group.exceptions[0])
    except* StepFailed as group:
        found.append(group.exceptions[0])
    assert [type(exc) for exc in found] == [Declined, StepFailed]

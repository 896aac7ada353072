"""Code that was changed under a running workflow: found where it parts from the log, and mended without loss."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import trio

import nurselog
from nurselog import (
    CancelScope,
    NonDeterminismError,
    NurselogError,
    Workflow,
    after,
    as_completed,
    move_on_after,
    now,
    open_nursery,
    patched,
    publish,
    select,
    sleep,
)
from nurselog.lowlevel import Claimed, ScopeCancelled, StepEnded
from nurselog.testing.corpus.workflows.steps import at_once, fetch, refund, slow, step
from nurselog.testing.corpus.world import note
from nurselog.testing.keeper import ID
from nurselog.testing.life import Stuck
from tests.laws.checks import check_replay, check_resumed, finished, text
from tests.laws.harness import Recording, as_workflow, resume, run_live

HERE = "# here"
"""Marks the line that an error must name."""

Code = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Change:
    """A workflow, what it became, and what of the log does not fit then."""

    old: Workflow[..., Any]
    new: Workflow[..., Any]
    path: str
    recorded: str
    """A part of what the error says of the log."""
    called: str
    """A part of what it says of the code."""

    @property
    def where(self) -> set[str]:
        lines, first = inspect.getsourcelines(self.new.fn)
        return {f"{__file__}:{first + i}" for i, line in enumerate(lines) if HERE in line}


changes: dict[str, Change] = {}


def enter(name: str, old: Code, new: Code, path: str, recorded: str, called: str) -> None:
    """Enter a change: both functions are recorded by one name."""
    assert name not in changes
    both = [as_workflow(f"changed.{name}", code) for code in (old, new)]
    changes[name] = Change(both[0], both[1], path, recorded, called)


# -- steps ---------------------------------------------------------------------------------------


async def three_steps() -> list[Any]:
    got = [await fetch(1), await at_once(2), await refund(3)]
    note(got)
    return got


async def another_step() -> list[Any]:
    await fetch(1)
    return [await refund(2), await refund(3)]  # here


async def other_order() -> list[Any]:
    await fetch(1)
    return [await refund(3), await at_once(2)]  # here


async def one_step_less() -> list[Any]:
    return [await fetch(1), await refund(3)]  # here


async def one_step_more() -> list[Any]:
    return [await fetch(1), await fetch(9), await at_once(2), await refund(3)]  # here


async def other_arguments() -> list[Any]:
    return [await fetch(1), await at_once(99), await refund(3)]  # here


async def ends_too_early() -> list[Any]:  # here
    return [await fetch(1), await at_once(2)]


async def goes_on_too_long() -> list[Any]:
    got = await three_steps()
    got.append(await fetch(4))
    return got


async def one_deadline_more() -> list[Any]:
    """Nothing waits for it, so that the steps behind it are called as they are recorded."""
    got = [await fetch(1)]
    with move_on_after(60):  # here
        got.append(await at_once(2))
    return [*got, await refund(3)]


async def one_sleep_more() -> list[Any]:
    """The note that the log has not comes right before the last outcome: it must not get in the way of the old code."""
    got = [await fetch(1), await at_once(2)]
    await sleep(1)  # here
    return [*got, await refund(3)]


enter("one_sleep_more", three_steps, one_sleep_more, "3", "step 'refund' at path 3", "no such call")
enter("one_deadline_more", three_steps, one_deadline_more, "2", "nothing of the kind", "a timer of scope at path 2")
enter("another_step", three_steps, another_step, "2", "step 'at_once' at path 2", "step 'refund'")
enter("other_order", three_steps, other_order, "2", "step 'at_once' at path 2", "step 'refund'")
enter("one_step_less", three_steps, one_step_less, "2", "step 'at_once' at path 2", "step 'refund'")
enter("one_step_more", three_steps, one_step_more, "2", "step 'at_once' at path 2", "step 'fetch'")
enter("other_arguments", three_steps, other_arguments, "2", "step 'at_once' at path 2", "other arguments")
enter("ends_too_early", three_steps, ends_too_early, "", "step 'refund' at path 3", "end")


# -- branches ------------------------------------------------------------------------------------


async def two_branches() -> list[Any]:
    got: list[Any] = []

    async def branch(i: int) -> None:
        got.append(await fetch(i))
        got.append(await at_once(i))

    async with open_nursery() as nursery:
        nursery.go(branch, 1)
        nursery.go(branch, 2)
    return got


async def one_branch_less() -> list[Any]:  # here
    got: list[Any] = []

    async def branch(i: int) -> None:
        got.append(await fetch(i))
        got.append(await at_once(i))

    async with open_nursery() as nursery:  # here
        nursery.go(branch, 1)
    return got


async def branches_swapped() -> list[Any]:
    got: list[Any] = []

    async def branch(i: int) -> None:
        got.append(await fetch(i))  # here
        got.append(await at_once(i))  # here

    async with open_nursery() as nursery:
        nursery.go(branch, 2)
        nursery.go(branch, 1)
    return got


async def steps_in_place_of_branches() -> list[Any]:
    async with open_nursery() as nursery:  # here
        handles = [nursery.go(fetch, 1), nursery.go(fetch, 2)]
        return [await handle.result() for handle in handles]  # here


enter("one_branch_less", two_branches, one_branch_less, "", "step '", "")
enter("branches_swapped", two_branches, branches_swapped, "", "step 'fetch' at path", "other arguments")
enter(
    "steps_in_place_of_branches", two_branches, steps_in_place_of_branches, "", "step 'fetch' at path", "no such call"
)


# -- notes ---------------------------------------------------------------------------------------


async def notes() -> list[Any]:
    await fetch(1)
    async with open_nursery() as nursery:
        one, two = nursery.go(fetch, 1), nursery.go(fetch, 2)
        await one.receive()
        await two.receive()
        chosen = await select(one, two)
        nursery.cancel_scope.cancel("enough")
    with move_on_after(60):
        await sleep(1)
    return [chosen.index, await at_once(1)]


def notes_with(**changed: Any) -> Code:
    """Return `notes` with something else in one place; the marked lines are those that an error may name."""

    async def code() -> list[Any]:
        await fetch(1)
        if "patch" in changed:
            patched("something")
        async with open_nursery() as nursery:
            one, two = nursery.go(fetch, 1), nursery.go(fetch, 2)
            await one.receive()
            await two.receive()  # here
            if "alarm" in changed:
                after(5)  # here
            chosen = await select(*((two, one) if "swap" in changed else (one, two)))  # here
            if "keep" not in changed:
                nursery.cancel_scope.cancel("enough")
        with CancelScope(deadline=None) if "no_deadline" in changed else move_on_after(60):  # here
            if "clock" in changed:
                await nurselog.sleep_until(now() + timedelta(seconds=1))  # here
            elif "no_sleep" not in changed:
                await sleep(1)  # here
        return [chosen.index, await at_once(1)]  # here

    return code


enter("swapped_select", notes, notes_with(swap=True), "", "a select at path 5 that took case", "that took case")
enter("one_timer_more", notes, notes_with(alarm=True), "5", "a select at path 5", "a timer of after at path 5")
enter("cancel_left_out", notes, notes_with(keep=True), "6", "a cancelled scope at path 2", "a timer of scope")
enter("deadline_left_out", notes, notes_with(no_deadline=True), "7", "a timer of scope", "a timer of sleep")
enter("another_timer", notes, notes_with(clock=True), "7", "a timer of sleep at path 7", "a timer of sleep_until")
enter("timer_left_out", notes, notes_with(no_sleep=True), "", "a timer of sleep at path 7", "without it")


async def guarded() -> list[Any]:
    got = [await fetch(1)]
    if patched("a guard"):
        got.append(await at_once(2))
    return [*got, await refund(3)]


async def unguarded() -> list[Any]:
    return [await fetch(1), await at_once(2), await refund(3)]  # here


enter("guard_left_out", guarded, unguarded, "", "patched('a guard')", "without it")


# -- the law -------------------------------------------------------------------------------------


def stuck_on(change: Change, recording: Recording, cut: int) -> NonDeterminismError | None:
    """Go on with the changed code; return what it is stuck on, None if it does not come to the change.

    Where it does not, the log that it leaves must be its own: it follows it once more.
    """
    after_ = resume(change.new, recording.rows[:cut], seed=cut)
    if not isinstance(after_.outcome, Stuck):
        check_replay(finished(after_))
        return None
    problem = after_.problem
    assert isinstance(problem, NonDeterminismError), problem
    added = [event for event in after_.added if not isinstance(event, Claimed)]
    if cut == len(recording.rows) - 1:
        assert not added, f"something was recorded by code that does not fit: {added}"
    mended = finished(resume(change.old, after_.rows, stuck=True, seed=cut))
    check_resumed(after_, mended) if added else check_resumed(recording, resume(change.old, recording.rows[:cut]))
    check_replay(mended)
    return problem


@pytest.mark.parametrize("name", changes)
def test_changed_code_is_found(name: str) -> None:
    change = changes[name]
    recording = finished(run_live(change.old, seed=1))
    problem = stuck_on(change, recording, len(recording.rows) - 1)
    assert problem is not None, f"the change was not noticed:\n{text(recording.rows)}"
    assert problem.workflow_id == ID
    assert problem.path.startswith(change.path)
    assert change.recorded in problem.recorded
    assert change.called in problem.called
    assert problem.where in change.where, (problem.where, change.where)
    assert "patched()" in problem.remedy or "arguments" in problem.remedy
    for part in (problem.workflow_id, problem.path or "root", problem.where, problem.recorded, problem.called):
        assert part in str(problem)


@pytest.mark.parametrize("name", changes)
@pytest.mark.parametrize("seed", [0, 1])
def test_changed_code_at_every_event(name: str, seed: int) -> None:
    """It is found, or not come to yet; the old code always goes on."""
    change = changes[name]
    recording = finished(run_live(change.old, seed=seed))
    found = [stuck_on(change, recording, cut) is not None for cut in range(1, len(recording.rows))]
    assert found[-1]


def test_what_comes_after_the_log_may_change() -> None:
    """Steps after the last recorded one are new work, not a change."""
    old, new = (as_workflow("changed.later", code) for code in (three_steps, goes_on_too_long))
    recording = run_live(old)
    assert finished(resume(new, recording.rows[:-1])).events[-2].path == "4"


def test_a_step_that_was_cancelled_and_is_shielded_now() -> None:
    """A plain shield is not in the log; but it shows when the log says that the step was cancelled."""

    async def old() -> list[Any]:
        return [await fetch(1), await slow(2)]

    async def new() -> list[Any]:
        with trio.CancelScope(shield=True):
            return [await fetch(1), await slow(2)]

    before, after_ = (as_workflow("changed.shielded", code) for code in (old, new))
    recording = finished(run_live(before, cancel_after=1))
    stuck = resume(after_, recording.rows[:-1])
    assert isinstance(stuck.outcome, Stuck)
    problem = stuck.problem
    assert isinstance(problem, NonDeterminismError)
    assert (problem.path, problem.recorded) == ("2", "step 'slow' at path 2, ended with cancelled")
    assert problem.called == "a call whose scope is not cancelled"
    check_replay(finished(resume(before, stuck.rows, stuck=True)))


@step(check_arguments=False)
async def lenient(i: int) -> int:
    return i


def test_arguments_that_drift_may_be_left_unchecked() -> None:
    async def old() -> int:
        return int(await lenient(1))

    async def new() -> int:
        return int(await lenient(2))

    before, after_ = (as_workflow("changed.lenient", code) for code in (old, new))
    recording = run_live(before)
    assert finished(resume(after_, recording.rows[:-1])).outcome == recording.outcome


@step(name="typed")
async def returns_int() -> int:
    return 5


@step(name="typed")
async def returns_list() -> list[int]:
    return [5]


def test_a_result_that_cannot_be_read_any_more() -> None:
    """The annotation of a step has changed: stuck, and nothing lost."""

    async def old() -> Any:
        return await returns_int()

    async def new() -> Any:
        return await returns_list()

    before, after_ = (as_workflow("changed.typed", code) for code in (old, new))
    recording = finished(run_live(before))
    stuck = resume(after_, recording.rows[:-1])
    assert isinstance(stuck.outcome, Stuck)
    assert isinstance(stuck.problem, nurselog.DecodingError | nurselog.StuckError)
    check_replay(finished(resume(before, stuck.rows, stuck=True)))


def test_an_input_that_cannot_be_read_any_more() -> None:
    async def old(a: int) -> int:
        return int(await fetch(a))

    async def new(b: int) -> int:
        return int(await fetch(b))

    before, after_ = (as_workflow("changed.input", code) for code in (old, new))
    recording = finished(run_live(before, (1,)))
    stuck = resume(after_, recording.rows[:-1])
    assert isinstance(stuck.outcome, Stuck)
    assert isinstance(stuck.problem, NurselogError)
    check_replay(finished(resume(before, stuck.rows, stuck=True)))


async def told() -> None:
    async with open_nursery() as nursery:
        async for _ in as_completed(*(nursery.go(at_once, i) for i in range(3))):
            publish("progress", 1)


async def untold() -> None:
    async with open_nursery() as nursery:
        for i in range(2):
            nursery.go(at_once, i)


def test_what_comes_while_the_wrong_code_follows_is_no_proof() -> None:
    """It was with a log that lacks the notes of the right code, since a crash has lost them."""
    old, new = (as_workflow("changed.untold", code) for code in (told, untold))
    lives = (finished(run_live(old, seed=seed)) for seed in range(50))
    recording = next(life for life in lives if getattr(life.events[3], "path", None) == "4")  # the one that it lacks
    assert [type(event) for event in recording.events[1:4]] == [StepEnded] * 3
    stuck = resume(new, recording.rows[:4], cancel_replay=2)
    assert isinstance(stuck.outcome, Stuck)
    assert isinstance(stuck.events[-1], ScopeCancelled)
    check_replay(finished(resume(old, stuck.rows, stuck=True)))


# -- patched -------------------------------------------------------------------------------------


async def before_patch() -> list[Any]:
    got = [await fetch(1)]
    await sleep(1)
    got.append(await at_once(2))
    return got


async def after_patch() -> list[Any]:
    got = [await fetch(1)]
    if patched("a step between"):
        got.append(await refund(7))
    await sleep(1)
    got.append(await at_once(2))
    if patched("a step at the end"):
        got.append(await refund(8))
    return got


def test_patched_code_follows_old_logs_and_new_ones() -> None:
    old, new = (as_workflow("changed.patched", code) for code in (before_patch, after_patch))
    recording = finished(run_live(old))
    refunds = {}
    for cut in range(1, len(recording.rows)):
        gone_on = finished(resume(new, recording.rows[:cut]))
        check_resumed(recording, gone_on)
        check_replay(gone_on)
        refunds[cut] = str(gone_on.outcome).count("refunded")
    assert refunds[1] == 2, "nothing was decided yet"
    assert refunds[len(recording.rows) - 1] == 1, "the log had gone past the first place, not past the second"

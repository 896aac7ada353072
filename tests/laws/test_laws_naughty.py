"""Code that lets in what no log can explain: caught at once, with the place, and nothing is lost."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import nurselog
from nurselog import (
    NonDeterminismError,
    Workflow,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
)
from nurselog.testing.corpus.workflows.steps import fetch, step
from nurselog.testing.keeper import ID
from nurselog.testing.life import Stuck
from tests.laws.checks import check_log, check_replay, finished
from tests.laws.harness import Recording, as_workflow, resume, run_live

HERE = "# here"
"""Marks the line that an error must name."""


@dataclass(frozen=True)
class Naughty:
    fn: Callable[..., Awaitable[Any]]
    workflow: Workflow[..., Any]
    path: str
    """Where in the tree it happens."""
    fixed: Workflow[..., Any]
    """The same function, with what was naughty left out."""

    @property
    def line(self) -> str:
        lines, first = inspect.getsourcelines(self.fn)
        return f"{__file__}:{first + next(i for i, line in enumerate(lines) if HERE in line)}"


naughty: dict[str, Naughty] = {}


def enter(path: str = "") -> Callable[[Callable[..., Awaitable[Any]]], None]:
    """Enter a function of whether it is to be naughty."""

    def decorate(fn: Callable[..., Awaitable[Any]]) -> None:
        async def wrong() -> Any:
            return await fn(wrong=True)

        async def right() -> Any:
            return await fn(wrong=False)

        name = f"naughty.{fn.__name__}"
        naughty[fn.__name__] = Naughty(fn, as_workflow(name, wrong), path, as_workflow(name, right))

    return decorate


async def accompanied(*tasks: Callable[[], Awaitable[object]]) -> None:
    """Run plain tasks beside a step that lasts: else the workflow would wait for nothing that the log could bring."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(last)
        for task in tasks:
            nursery.start_soon(task)


@step
async def last() -> None:
    await trio.sleep(20)


@enter("t2")
async def plain_sleep(*, wrong: bool) -> None:
    async def task() -> None:
        await fetch(1)
        if wrong:
            await trio.sleep(0.5)  # here
        await fetch(2)

    await accompanied(task)


@enter("2")
async def plain_sleep_in_a_branch(*, wrong: bool) -> None:
    async def branch() -> None:
        await fetch(1)
        if wrong:
            await trio.sleep(0.5)  # here
        await fetch(2)

    async with open_nursery() as nursery:
        nursery.go(branch)
        nursery.go(last)


@enter("t2")
async def a_thread(*, wrong: bool) -> None:
    async def task() -> None:
        await fetch(1)
        if wrong:
            await trio.to_thread.run_sync(len, "abc")  # here
        await fetch(2)

    await accompanied(task)


@enter("t2")
async def plain_deadline_around_a_wait(*, wrong: bool) -> None:
    async def task() -> None:
        await fetch(1)
        with trio.move_on_after(0.5 if wrong else float("inf")):
            event = trio.Event()
            if not wrong:
                event.set()
            await event.wait()  # here

    await accompanied(task)


@enter()
async def plain_deadline_around_a_step(*, wrong: bool) -> int:
    value: int = await fetch(1)
    with trio.move_on_after(60 if wrong else float("inf")):
        value += await fetch(2)  # here
    return value


@enter()
async def plain_deadline_around_a_sleep(*, wrong: bool) -> None:
    await fetch(1)
    with trio.move_on_after(60 if wrong else float("inf")):
        await sleep(1)  # here


@enter()
async def plain_deadline_around_a_select(*, wrong: bool) -> None:
    async with open_nursery() as nursery:
        handle = nursery.go(fetch, 1)
        with trio.fail_after(60 if wrong else float("inf")):
            await select(handle, nursery.go(fetch, 2))  # here


@enter()
async def plain_deadline_around_a_channel(*, wrong: bool) -> None:
    send, receive = open_memory_channel[int](0)

    async def produce() -> None:
        await send.send(await fetch(1))

    async with open_nursery() as nursery:
        nursery.go(produce)
        with trio.move_on_after(60 if wrong else float("inf")):
            await receive.receive()  # here


@enter()
async def plain_deadline_around_a_nursery(*, wrong: bool) -> None:
    with trio.move_on_after(60 if wrong else float("inf")):
        async with open_nursery() as nursery:  # here
            nursery.go(fetch, 1)


@enter("1")
async def a_step_that_nobody_awaits(*, wrong: bool) -> int:
    call = fetch(1)  # here
    value: int = await fetch(2)
    if not wrong:
        await call
    return value


@enter("2.1")
async def a_step_that_a_branch_does_not_await(*, wrong: bool) -> None:
    async def branch() -> None:
        call = fetch(1)  # here
        if not wrong:
            await call

    async with open_nursery() as nursery:
        nursery.go(branch)
        nursery.go(fetch, 2)


def problem_of(recording: Recording) -> nurselog.NurselogError:
    assert isinstance(recording.outcome, Stuck), f"{recording.outcome}: {recording.events}"
    return recording.problem


def check_sentence(problem: NonDeterminismError, path: str, where: str) -> None:
    """See that an error says everything that it must."""
    assert problem.workflow_id == ID
    assert problem.path == path
    assert problem.where == where
    assert problem.recorded
    assert problem.called
    assert problem.remedy.endswith(".")
    for part in (problem.workflow_id, path or "root", where, problem.recorded, problem.called, problem.remedy):
        assert part in str(problem)


@pytest.mark.parametrize("name", naughty)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_naughty_code_is_found_where_it_is(name: str, seed: int) -> None:
    case = naughty[name]
    recording = run_live(case.workflow, seed=seed)
    check_log(recording)
    problem = problem_of(recording)
    assert isinstance(problem, NonDeterminismError)
    check_sentence(problem, case.path, case.line)


@pytest.mark.parametrize("name", naughty)
def test_nothing_is_lost(name: str) -> None:
    """After a fix the workflow goes on from where it was."""
    case = naughty[name]
    recording = run_live(case.workflow, seed=3)
    assert isinstance(recording.outcome, Stuck)
    mended = finished(resume(case.fixed, recording.rows, stuck=True))
    check_replay(mended)
    again = resume(case.workflow, recording.rows, stuck=True)
    assert type(problem_of(again)) is type(problem_of(recording))

"""Messages that are left at the same time are left in one call, in their order; each caller gets its own answers."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nurselog import StoreTooNew, StoreUnavailable
from nurselog._client.guest import Guest
from nurselog._engine import posting
from nurselog._engine.posting import Posting
from nurselog.abc import Post, Posted, WorkflowKey


class Store:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.open = trio.Semaphore(0)
        self.error: BaseException | None = None

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted]:
        self.calls.append([post.body for post in posts])
        await self.open.acquire()
        if self.error is not None:
            raise self.error
        return [Posted.KNOWN if post.body.startswith(b"known") else Posted.LEFT for post in posts]


def bundle(*bodies: str) -> list[Post]:
    return [Post(key=WorkflowKey(1), kind="send", body=body.encode()) for body in bodies]


class Callers:
    """Those who leave messages, and what they were told."""

    def __init__(self) -> None:
        self.store = Store()
        self.posting = Posting(cast("Any", self.store), Guest(cast("Any", self.store), polls=False, instruments=None))
        self.told: dict[str, Sequence[Posted] | Exception] = {}

    async def leave(self, *bodies: str) -> None:
        try:
            self.told[bodies[0]] = await self.posting.leave(bundle(*bodies))
        except StoreUnavailable as exc:
            self.told[bodies[0]] = exc


async def test_one_call_takes_along_what_has_come_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    callers = Callers()
    async with trio.open_nursery() as nursery:
        for bodies in (["a"], ["b1", "known", "b3"], ["c"]):
            nursery.start_soon(callers.leave, *bodies)
            await wait_all_tasks_blocked()
        callers.store.open.release()
        await wait_all_tasks_blocked()
        nursery.start_soon(callers.leave, "d")
        await wait_all_tasks_blocked()
        for _ in range(2):
            callers.store.open.release()
    left = Posted.LEFT
    assert callers.store.calls == [[b"a"], [b"b1", b"known", b"b3", b"c"], [b"d"]]
    assert callers.told == {"a": [left], "b1": [left, Posted.KNOWN, left], "c": [left], "d": [left]}


async def test_an_error_is_told_to_all_who_were_in_the_call(autojump_clock: trio.testing.MockClock) -> None:
    callers = Callers()
    callers.store.error = StoreUnavailable("locked")
    async with trio.open_nursery() as nursery:
        for body in "abc":
            nursery.start_soon(callers.leave, body)
            await wait_all_tasks_blocked()
        callers.store.open.release()
        await wait_all_tasks_blocked()
        assert [*map(repr, callers.told.values())] == ["StoreUnavailable('locked')"]
        callers.store.open.release()
        await wait_all_tasks_blocked()
        assert [*map(repr, callers.told.values())] == ["StoreUnavailable('locked')"] * 3
        callers.store.error = None
        nursery.start_soon(callers.leave, "d")
        callers.store.open.release()
    assert callers.told["d"] == [Posted.LEFT]


async def test_an_interrupt_goes_to_who_makes_the_call_and_the_others_hear_of_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come when the messages have been left: so they are looked for."""
    callers, interrupted, looks = Callers(), list[str](), list[WorkflowKey]()
    monkeypatch.setattr(Guest, "mail_for", lambda _, *keys: looks.extend(keys))

    async def leave(body: str) -> None:
        try:
            await callers.leave(body)
        except KeyboardInterrupt:
            interrupted.append(body)

    async with trio.open_nursery() as nursery:
        for body in "abc":
            nursery.start_soon(leave, body)
            await wait_all_tasks_blocked()
        callers.store.open.release()
        await wait_all_tasks_blocked()
        callers.store.error, before = KeyboardInterrupt(), len(looks)
        callers.store.open.release()
        await wait_all_tasks_blocked()
        after, callers.store.error = len(looks), None
        nursery.start_soon(leave, "d")
        for _ in range(2):
            callers.store.open.release()
    assert after == before + 1
    assert interrupted == ["b"]
    assert callers.told["a"] == callers.told["d"] == [Posted.LEFT]
    assert repr(callers.told["c"]).startswith("StoreUnavailable(")


async def test_a_call_has_a_bound_but_what_is_one_callers_stays_together(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "MOST", 3)
    callers = Callers()
    async with trio.open_nursery() as nursery:
        for bodies in (["a"], ["b1", "b2"], ["c1"], ["d1", "d2", "d3", "d4"], ["e"]):
            nursery.start_soon(callers.leave, *bodies)
            await wait_all_tasks_blocked()
        for _ in range(4):
            callers.store.open.release()
    assert callers.store.calls == [[b"a"], [b"b1", b"b2", b"c1"], [b"d1", b"d2", b"d3", b"d4"], [b"e"]]


@pytest.mark.parametrize("who", ["a", "b"])
async def test_who_is_cancelled_has_left_its_messages_and_those_of_others(
    autojump_clock: trio.testing.MockClock, who: str
) -> None:
    callers, scopes = Callers(), {body: trio.CancelScope() for body in "abc"}

    async def leave(body: str) -> None:
        with scopes[body]:
            await callers.leave(body)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for body in "abc":
            nursery.start_soon(leave, body)
            await wait_all_tasks_blocked()
        scopes[who].cancel()
        await wait_all_tasks_blocked()
        for _ in range(2):
            callers.store.open.release()
    assert callers.store.calls == [[b"a"], [b"b", b"c"]]
    assert [body for body, scope in scopes.items() if scope.cancelled_caught] == [who]
    assert callers.told == {body: [Posted.LEFT] for body in "abc"}


async def test_a_hundred_workflows_that_send_at_once_are_one_call(autojump_clock: trio.testing.MockClock) -> None:
    callers = Callers()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(partial(callers.leave, str(number)))
        await wait_all_tasks_blocked()
        callers.store.open.release()
    assert [len(call) for call in callers.store.calls] == [100]


async def test_nobody_looks_for_his_own_among_those_of_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time that many take would grow with the square of their number."""
    looks = list[object]()

    def compare(one: object, other: object) -> bool:
        looks.append(other)
        return one is other

    monkeypatch.setattr(posting._Bundle, "__eq__", compare)
    monkeypatch.setattr(posting, "MOST", 2)
    callers = Callers()
    callers.store.open = trio.Semaphore(100)
    names = [f"{number}" for number in range(20)]
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(callers.leave, name)
            await trio.lowlevel.checkpoint()
    assert callers.told == {name: [Posted.LEFT] for name in names}
    assert not looks


async def test_each_caller_gets_an_error_of_his_own(autojump_clock: trio.testing.MockClock) -> None:
    """It is the same one, and its traceback tells of no other caller."""
    callers = Callers()
    callers.store.error = StoreTooNew("sqlite:///a.db", 7, 1)
    callers.store.error.add_note("a note")
    callers.store.error.__cause__ = ValueError("why")
    callers.store.open = trio.Semaphore(100)
    errors = list[StoreTooNew]()

    async def leave() -> None:
        try:
            await callers.posting.leave(bundle("a"))
        except StoreTooNew as exc:
            errors.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(leave)
    assert len(set(map(id, errors))) == 20
    for error in errors:
        assert str(error) == str(callers.store.error)
        assert (error.found, error.__notes__, repr(error.__cause__)) == (7, ["a note"], "ValueError('why')")
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names == ["leave", "leave", "_post", "post"]

"""Conversations: messages by topic, and promises. Each workflow talks to itself, so that nobody else is needed."""

from __future__ import annotations

from typing import Any

import trio

from .... import (
    CancelScope,
    DecodingError,
    Handle,
    after,
    mailbox,
    move_on_after,
    open_memory_channel,
    open_nursery,
    promise,
    reject,
    resolve,
    select,
    send,
    sleep,
    workflow_id,
)
from ..cases import case
from ..world import note, shape
from .steps import at_once, fetch, refund, slow


async def tell(topic: str, *values: Any) -> None:
    """Send this workflow messages, one after the other."""
    for value in values:
        await send(workflow_id(), topic, value)


@case()
async def messages_before_anybody_waits() -> list[Any]:
    """They came when nobody had asked; they are there, in their order, whichever topic is asked first."""
    await tell("late", 1, 2)
    await tell("early", "a")
    await tell("late", 3)
    got: list[Any] = [await mailbox("early", str).receive()]
    late = mailbox("late", int)
    got += [await late.receive() for _ in range(3)]
    note(got)
    return got


@case()
async def mail_until_time_is_up() -> list[Any]:
    """A select of a mailbox and an alarm, again and again, while a branch sends at its leisure."""
    got: list[Any] = []
    orders = mailbox("orders", int)

    async def customer() -> None:
        for i in range(4):  # pragma: no branch - it is cancelled before
            await sleep(0.7)
            await tell("orders", await fetch(i))

    async with open_nursery() as nursery:
        nursery.go(customer)
        time_is_up = after(2.5)
        while True:
            chosen = await select(orders, time_is_up, after(0.5))
            note(chosen.index, chosen.outcome)
            if chosen.case is time_is_up:
                break
            got.append(chosen.unwrap())
        nursery.cancel_scope.cancel("time is up")
    return got


@case()
async def one_topic_for_many() -> list[Any]:
    """Several strands receive on one topic, by mailboxes of their own; each message goes to who has waited longest."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        jobs = mailbox("jobs", int)
        while (job := await jobs.receive()) >= 0:
            got.append([i, job])
            note(i, job)
            await fetch(job)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(worker, i)
        for i in range(3):
            nursery.go(tell, "jobs", 10 * i, 10 * i + 1)
        await sleep(1)
        await tell("jobs", -1, -1, -1)
    return got


@case()
async def letters_until_the_last() -> list[Any]:
    """An `async for` over a mailbox, which somebody ends by a message that says so; what comes later nobody reads."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        nursery.go(tell, "words", "to", "be", None, "or", "not")
        async for word in mailbox("words"):
            if word is None:
                break
            got.append(word)
            note(word, await at_once(len(got)))
    note(got)
    return got


@case()
async def unread_at_the_end() -> int:
    """Messages that nobody ever asks for, and a promise that is settled when nobody looks."""
    ignored = promise(int)
    await tell("nobody", *range(3))
    await resolve(ignored.id, 1)
    return int(await fetch(1))


@case()
async def promise_kept() -> list[Any]:
    """Resolved once; the second resolver changes nothing, nor does who rejects it; all receivers get the first."""
    got: list[Any] = []
    approval = promise(str)

    async def wait(i: int) -> None:
        note(i, await approval.receive())
        got.append([i, await approval.result()])

    async with open_nursery() as nursery:
        for i in range(2):
            nursery.go(wait, i)
        await fetch(1)
        await resolve(approval.id, "yes")
        await resolve(approval.id, "no")
        await reject(approval.id, ValueError("never"))
        nursery.go(wait, 9)
    got.append(repr(approval.outcome))
    return got


@case()
async def promise_broken() -> list[Any]:
    """Rejected: who waits gets the error, as often as asked, and another promise of the same place is another one."""
    got: list[Any] = []
    for i in range(2):
        answer = promise(int)
        await reject(answer.id, LookupError(f"not found {i}"))
        for _ in range(2):
            try:
                await answer.result()
            except LookupError as exc:
                got.append(shape(exc))
    note(got)
    return got


@case()
async def promise_against_the_clock() -> list[Any]:
    """A promise in a race with an alarm: before it, after it, and at the very moment."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        for i, seconds in enumerate((0.1, 3, 1)):
            answer, alarm = promise(int), after(1)
            nursery.go(settle_later, seconds, answer.id, i)
            chosen = await select(answer, alarm)
            got.append([chosen.index, repr(answer.outcome)])
            note(got[-1])
            if chosen.case is alarm:
                got.append((await select(alarm, answer)).index)
                got.append(await answer.result())
    return got


async def settle_later(seconds: float, id: str, value: int | str) -> None:
    await sleep(seconds)
    await resolve(id, value)


@case()
async def losers_of_a_select() -> list[Any]:
    """A mailbox, a promise, a child and a channel are ready at once; each is taken once, the others keep theirs."""
    got: list[Any] = []
    box, answer = mailbox("box", int), promise(int)
    give, take = open_memory_channel[int](3)
    async with open_nursery() as nursery:
        child: Handle[int] = nursery.go(fetch, 4)
        give.send_nowait(3)
        nursery.go(tell, "box", 1)
        nursery.go(resolve, answer.id, 2)
        await sleep(1)
        cases = [box, answer, child, take]
        while cases:
            chosen = await select(*cases)
            cases.remove(chosen.case)
            got.append(chosen.unwrap())
            note(got)
        got += [await answer.result(), await child.result()]
    return got


@case()
async def mail_in_cleanup() -> list[Any]:
    """Cleanup waits for a confirmation, shielded; the message that the cancelled wait did not get is still there."""
    got: list[Any] = []
    confirmed = mailbox("confirmed", str)

    async def order(i: int) -> None:
        try:
            await confirmed.receive()
        finally:
            with CancelScope(shield=True):
                await tell("confirmed", await refund(i))
                got.append(await confirmed.receive())
                note(got)

    async with open_nursery() as nursery:
        nursery.go(order, 1)
        await fetch(1)
        nursery.cancel_scope.cancel("not needed")
    await tell("confirmed", "one more")
    got.append(await confirmed.receive())
    return got


@case()
async def sending_while_cancelled() -> list[Any]:
    """A step that sends is cancelled by its scope: in either case the log says which, and nothing is sent twice."""
    got: list[Any] = []
    box = mailbox("box", int)
    for i in range(3):
        with move_on_after(0.0001 * i) as scope:
            await send(workflow_id(), "box", i)
        got.append(scope.cancelled_caught)
    with CancelScope() as scope:
        scope.cancel("before it is sent")
        await send(workflow_id(), "box", 99)
    with move_on_after(1):
        while True:
            got.append(await box.receive())
            note(got)
    return got


@case()
async def message_and_cancel_at_once() -> list[Any]:
    """A message comes in the moment in which its reader is cancelled: either he has it, or the next one does."""
    got: list[Any] = []
    box = mailbox("box", int)

    async def read(i: int) -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            got.append([i, await box.receive()])
        note(i, got, scope.cancelled_caught)

    scopes: list[CancelScope] = []
    async with open_nursery() as nursery:
        nursery.go(read, 1)
        await at_once(1)
        nursery.go(tell, "box", 7)
        await at_once(2)
        scopes[0].cancel("at the same moment")
        nursery.go(read, 2)
        await sleep(1)
        await tell("box", 8)
        with move_on_after(0.5):
            got.append(["left", await box.receive()])
        nursery.cancel_scope.cancel("whoever waits still")
    return got


@case()
async def closed_under_a_reader() -> list[Any]:
    """Closing a mailbox wakes who waits on it, and nobody who waits on another mailbox of its topic."""
    got: list[Any] = []
    box, other = mailbox("box", int), mailbox("box", int)

    async def read(name: str, source: Any) -> None:
        try:
            got.append([name, await source.receive()])
        except trio.ClosedResourceError:
            got.append([name, "closed"])
        note(got)

    async with open_nursery() as nursery:
        nursery.go(read, "box", box)
        nursery.go(read, "other", other)
        await fetch(1)
        box.close()
        await fetch(2)
        await tell("box", 5, 6)
    await read("box again", box)
    await read("third", mailbox("box", int))
    await other.aclose()
    await read("other again", other)
    return got


@case()
async def letters_of_the_wrong_kind() -> list[Any]:
    """What does not fit the mailbox's type, or the promise's, is an error for who reads it, and used up."""
    got: list[Any] = []
    numbers, answer = mailbox("numbers", int), promise(int)
    await tell("numbers", 1, "two", 3)
    for _ in range(3):
        try:
            got.append(await numbers.receive())
        except DecodingError:
            got.append("unreadable")
    await resolve(answer.id, "nothing of the kind")
    try:
        await answer.result()
    except DecodingError:
        got.append("unreadable")
    note(got)
    return got


@case()
async def looking_into_the_mailbox() -> list[Any]:
    """Polling, as people do it who do not want to wait."""
    got: list[Any] = []
    news = mailbox("news", str)
    async with open_nursery() as nursery:
        nursery.go(tell, "news", "one", "two")
        while len(got) < 8:
            try:
                got.append(news.receive_nowait())
            except trio.WouldBlock:
                await sleep(0.2)
                got.append("nothing")
            note(got)
    return got


@case()
async def ping_and_pong() -> int:
    """Two branches talk by two topics, as two workflows would: each answer is one more."""

    async def answer() -> None:
        async for ball in mailbox("ping", int):
            await tell("pong", ball + 1)

    async with open_nursery() as nursery:
        nursery.go(answer)
        ball = 0
        for _ in range(5):
            await tell("ping", ball)
            ball = await mailbox("pong", int).receive() + 1
            note(ball)
        nursery.cancel_scope.cancel("enough")
    return ball


@case()
async def asked_for_approval() -> list[Any]:
    """A human is asked, reminded, and answers, or does not; then somebody decides for him, and both answers come."""
    got: list[Any] = []
    for patience in (3600, 60):
        approval = promise(str)
        async with open_nursery() as nursery:
            nursery.go(settle_later, 1800, approval.id, "yes")
            with move_on_after(patience) as scope:
                while (chosen := await select(approval, after(1000))).index:
                    got.append(await fetch(len(got)))  # a reminder
                got.append(chosen.unwrap())
            if scope.cancelled_caught:
                await resolve(approval.id, "no answer")
        got.append(await approval.result())
        note(got)
    return got


@case()
async def mail_for_a_cancelled_nursery() -> list[Any]:
    """Branches that wait for mail are cancelled with their nursery, and what they would have had goes to others."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        for _ in range(3):
            nursery.go(mailbox("work", int).receive)
        nursery.go(slow, 1)
        await tell("work", 1)
        nursery.cancel_scope.cancel("closing time")
        with CancelScope(shield=True):
            await tell("work", 2)
    with move_on_after(1):
        async for work in mailbox("work", int):
            got.append(work)
            note(got)
    return got

"""What a generated program is made of, the parts that talk to others; and workflows that are there for others."""

from __future__ import annotations

from typing import Any

import msgspec

from nurselog import (
    Failed,
    InboxFull,
    Workflow,
    WorkflowEnded,
    WorkflowNotFound,
    after,
    mailbox,
    move_on_after,
    open_nursery,
    promise,
    resolve,
    select,
    send,
    updates,
    uuid4,
    workflow_id,
)
from tests.simulation.nodes import Node
from tests.simulation.steps import Flop, ask

TOPICS = ("a", "b")
"""What people outside send to, and programs listen to."""

SERVICE = "service"
"""What people outside ask for, and programs serve."""


def letter(sender: str, number: int, attempt: int = 0) -> str:
    """Return the text of a message: who sent it, which of the sender's it is, and at which attempt."""
    return f"{sender}:{number}:{attempt}"


class Listen(Node, frozen=True):
    """So many messages, as long as patience lasts."""

    topic: str
    count: int
    seconds: float

    async def run(self) -> Any:
        found = list[str]()
        with move_on_after(self.seconds):
            async for text in mailbox(self.topic, str):
                found.append(text)
                if len(found) == self.count:
                    break
        return found


class Serve(Node, frozen=True):
    """So many updates, each answered or rejected, as long as patience lasts."""

    count: int
    seconds: float

    async def run(self) -> Any:
        served = list[str]()
        with move_on_after(self.seconds):
            async for one in updates(SERVICE, str, str):
                served.append(one.key)
                if len(served) % 3:
                    one.answer(f"{len(served)} for {one.value}")
                else:
                    one.reject(Flop(one.value))
                if len(served) == self.count:
                    break
        return served


class Ask(Node, frozen=True):
    """What somebody outside must say, as long as patience lasts; it may be no, and one may answer by oneself."""

    seconds: float
    own: bool

    async def run(self) -> Any:
        answer = promise(str)
        await ask(answer.id)
        async with open_nursery() as nursery:
            if self.own:
                nursery.go(resolve, answer.id, "I say so")
            chosen = await select(answer, after(self.seconds))
        return [chosen.index, repr(chosen.outcome), answer.outcome == chosen.outcome]


class Tell(Node, frozen=True):
    """Messages to another workflow, one after the other."""

    to: int
    """Its number; 0: oneself; -1: one's parent, if there is one."""
    topic: str
    count: int

    async def run(self) -> Any:
        said, me = list[str](), str(uuid4())
        for number in range(self.count):
            try:
                await send(self._receiver(), self.topic, letter(me, number))
            except (WorkflowEnded, WorkflowNotFound, InboxFull) as exc:
                said.append(type(exc).__name__)
        return said

    def _receiver(self) -> str:
        match self.to:
            case 0:
                return workflow_id()
            case -1:
                return workflow_id().rpartition("/")[0] or workflow_id()
            case number:
                return f"program-{number}"


class Abandon(Node, frozen=True):
    """A child that would wait for ever, for a while."""

    seconds: float
    awaited: bool

    async def run(self) -> Any:
        with move_on_after(self.seconds):
            if self.awaited:
                return await listener()
            async with open_nursery() as nursery:
                return repr(await nursery.go(listener).receive())
        return "left"


async def _listener() -> list[str]:
    return [text async for text in mailbox("nothing", str)]


listener: Workflow[[], list[str]] = Workflow(_listener, "listener", None)
"""Waits for ever: whoever starts it is to cancel it."""


# -- a ring --------------------------------------------------------------------------------------


class Count(msgspec.Struct, frozen=True):
    """What a member of a ring has been handed, and what it should have been."""

    found: list[int]
    expected: list[int]


async def _member(place: int, size: int, rounds: int, seconds: float) -> Count:
    last = size * rounds - 1
    count = Count([], list(range(place, last + 1, size)))
    balls = mailbox("ball", int)
    family, dot, own = workflow_id().rpartition("/")[2].rpartition(".")
    parent = workflow_id().rpartition("/")[0]
    following = int(own) + 1 if place < size - 1 else int(own) - place
    for _ in count.expected:
        with move_on_after(seconds) as patience:
            count.found.append(await balls.receive())
        if patience.cancelled_caught:
            break
        if count.found[-1] < last:
            try:
                await send(f"{parent}/{family}{dot}{following}", "ball", count.found[-1] + 1)
            except (WorkflowEnded, InboxFull):
                break
    return count


member: Workflow[[int, int, int, float], Count] = Workflow(_member, "member", None)
"""Waits for a ball with a number, and hands it on with the next one."""


async def _ring(size: int, rounds: int, seconds: float) -> list[str]:
    async with open_nursery() as nursery:
        members = [nursery.go(member, place, size, rounds, seconds) for place in range(size)]
        try:
            await send(f"{workflow_id()}/{members[0].path}", "ball", 0)
        except (WorkflowEnded, InboxFull):
            nursery.cancel_scope.cancel("the first has ended")
        outcomes = [await one.receive() for one in members]
    return [type(one.error).__name__ if isinstance(one, Failed) else repr(one) for one in outcomes]


ring: Workflow[[int, int, float], list[str]] = Workflow(_ring, "ring", None)
"""Lets members stand in a ring, and hands the ball to the first."""

"""The leaves of generated programs: each does one thing with what the world has. `run` is workflow code.

Numbers pick: an event, a channel, or (counted back from the newest) a scope or a child. Where there is none to pick,
the leaf does nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, TypeAlias, assert_never

import msgspec
import trio

import nurselog
from nurselog import Failed
from nurselog._flow.current import current_strand
from nurselog.testing.corpus.workflows.answering import ask
from nurselog.testing.corpus.world import note
from tests.laws.programs.steps import STEPS
from tests.laws.programs.world import World, is_ours, shape


class Leaf(msgspec.Struct, frozen=True, tag=str.lower):
    """The base of all leaves."""

    async def run(self, world: World) -> Any:
        raise NotImplementedError


class Call(Leaf, frozen=True):
    """Call a step."""

    step: str
    number: int = 0

    async def run(self, world: World) -> Any:
        return await STEPS[self.step](self.number)


class Late(Leaf, frozen=True):
    """Call steps one after the other, and await them in the opposite order."""

    steps: tuple[str, ...]

    async def run(self, world: World) -> list[Any]:
        coroutines = [STEPS[name](0) for name in self.steps]
        try:
            return [await coroutine for coroutine in reversed(coroutines)]
        finally:
            for coroutine in coroutines:
                coroutine.close()


class Checkpoint(Leaf, frozen=True):
    async def run(self, world: World) -> None:
        await trio.lowlevel.checkpoint()


class Sleep(Leaf, frozen=True):
    seconds: float
    until: bool = False

    async def run(self, world: World) -> None:
        if self.until:
            await nurselog.sleep_until(nurselog.now() + timedelta(seconds=self.seconds))
        else:
            await nurselog.sleep(self.seconds)


class Ask(Leaf, frozen=True):
    """Ask for what must be the same in each life."""

    what: Literal["now", "rng", "uuid4", "patched"]

    async def run(self, world: World) -> Any:
        match self.what:
            case "now":
                return nurselog.now()
            case "rng":
                return nurselog.rng().random()
            case "uuid4":
                return nurselog.uuid4()
            case "patched":
                return nurselog.patched(f"patch {current_strand('patched').count % 3}")


class Raise(Leaf, frozen=True):
    number: int = 0

    async def run(self, world: World) -> None:
        raise KeyError(self.number)


# -- plain Trio ----------------------------------------------------------------------------------


class Event(Leaf, frozen=True):
    op: Literal["set", "wait"]
    which: int

    async def run(self, world: World) -> None:
        event = world.events[self.which]
        if self.op == "set":
            event.set()
        else:
            await event.wait()


class Condition(Leaf, frozen=True):
    op: Literal["notify", "wait"]
    which: int

    async def run(self, world: World) -> None:
        condition = world.conditions[self.which]
        async with condition:
            if self.op == "notify":
                condition.notify()
            else:
                await condition.wait()


class Parking(Leaf, frozen=True):
    """Use what Trio's own locks are made of."""

    op: Literal["park", "unpark"]
    which: int

    async def run(self, world: World) -> None:
        lot = world.lots[self.which]
        if self.op == "park":
            await lot.park()
        else:
            lot.unpark(count=1)


class Channel(Leaf, frozen=True):
    """Use a memory channel, ours or Trio's."""

    op: Literal["send", "receive", "try send", "try receive", "close sender", "close receiver", "clone"]
    which: int
    ours: bool

    async def run(self, world: World) -> Any:
        sender, receiver = (world.ours if self.ours else world.plain)[self.which]
        try:
            return await _CHANNEL[self.op](sender, receiver)
        except trio.WouldBlock:
            return "would block"


async def _send(sender: Any, _: Any) -> None:
    await sender.send(current_strand("send").text)


async def _receive(_: Any, receiver: Any) -> Any:
    return await receiver.receive()


async def _try_send(sender: Any, _: Any) -> None:
    sender.send_nowait("at once")


async def _try_receive(_: Any, receiver: Any) -> Any:
    return receiver.receive_nowait()


async def _close_sender(sender: Any, _: Any) -> None:
    sender.close()


async def _close_receiver(_: Any, receiver: Any) -> None:
    receiver.close()


async def _clone(sender: Any, _: Any) -> None:
    with sender.clone() as clone:
        await clone.send("cloned")


_CHANNEL = {
    "send": _send,
    "receive": _receive,
    "try send": _try_send,
    "try receive": _try_receive,
    "close sender": _close_sender,
    "close receiver": _close_receiver,
    "clone": _clone,
}


# -- conversations -------------------------------------------------------------------------------


class Mail(Leaf, frozen=True):
    """Send the program itself a message, or look for one; who waits does not wait for ever."""

    op: Literal["send", "receive", "try receive", "close"]
    which: int
    seconds: float = 1

    async def run(self, world: World) -> Any:
        box = world.boxes[self.which]
        match self.op:
            case "send":
                return await nurselog.send(nurselog.workflow_id(), box.topic, current_strand("send").text)
            case "receive":
                with nurselog.move_on_after(self.seconds):
                    return await box.receive()
                return "no message"
            case "try receive":
                try:
                    return box.receive_nowait()
                except trio.WouldBlock:
                    return "would block"
            case "close":
                box.close()
                world.boxes[self.which] = nurselog.mailbox(box.topic)
                return None


class Asked(Leaf, frozen=True):
    """Ask the program itself for an update, or do something with one; who waits does not wait for ever."""

    op: Literal["ask", "answer", "reject", "take", "answer later", "close"]
    which: int
    seconds: float = 1

    async def run(self, world: World) -> Any:
        asked = world.asked[self.which]
        match self.op:
            case "ask":
                return await ask(asked.name, current_strand("ask").text, self.which)
            case "answer" | "reject" | "take":
                with nurselog.move_on_after(self.seconds):
                    return self._use(world, await asked.receive())
                return "not asked"
            case "answer later":
                while world.taken:
                    world.taken.pop().answer("later")
                return None
            case "close":
                asked.close()
                world.asked[self.which] = nurselog.updates(asked.name)
                return None

    def _use(self, world: World, one: nurselog.Update[Any, Any]) -> str:
        match self.op:
            case "answer":
                one.answer(current_strand("answer").text)
            case "reject":
                one.reject(LookupError("rejected"))
            case _:
                world.taken.append(one)
        return one.key


class Tell(Leaf, frozen=True):
    """Publish a value, send into a stream, or end one and open the next."""

    op: Literal["publish", "send", "send all", "close", "fail"]
    which: int

    async def run(self, world: World) -> Any:
        stream, here = world.streams[self.which], current_strand("tell").text
        match self.op:
            case "publish":
                nurselog.publish("value", here)
            case "send":
                await stream.send(here)
            case "send all":
                await stream.send_all([here, self.which])
            case "close":
                stream.close()
                world.open_stream(self.which)
            case "fail":
                try:
                    nurselog.publish("value", object())
                except nurselog.EncodingError as exc:
                    return shape(exc)[0]
        return None


class Promise(Leaf, frozen=True):
    """Make a promise, or do something with one; who waits does not wait for ever."""

    op: Literal["make", "resolve", "reject", "result", "outcome"]
    which: int
    seconds: float = 1

    async def run(self, world: World) -> Any:
        promise = world.promise(self.which)
        match self.op:
            case "make":
                world.promises.append(nurselog.promise())
                return world.promises[-1].id
            case "resolve":
                await nurselog.resolve(promise.id, current_strand("resolve").text)
            case "reject":
                await nurselog.reject(promise.id, LookupError("rejected"))
            case "result":
                with nurselog.move_on_after(self.seconds):
                    return await promise.result()
                return "not settled"
            case "outcome":
                return promise.outcome and promise.outcome.unwrap()
        return None


# -- scopes and children -------------------------------------------------------------------------


class Scope(Leaf, frozen=True):
    """Do something to any scope, whoever has opened it and whether it is still open or not."""

    op: Literal["cancel", "shield", "unshield", "deadline", "no deadline"]
    which: int

    async def run(self, world: World) -> Any:
        scope = world.scope(self.which)
        match self.op:
            case _ if scope is None:
                return None
            case "cancel":
                scope.cancel(*["on purpose"][: is_ours(scope)])
            case "shield" | "unshield":
                scope.shield = self.op == "shield"
            case "deadline" if is_ours(scope):
                scope.deadline = nurselog.now() + timedelta(milliseconds=2)
            case "no deadline" if is_ours(scope):
                scope.deadline = None
        return scope.cancel_called


class Child(Leaf, frozen=True):
    """Do something with any child, in its nursery or outside."""

    op: Literal["result", "receive", "cancel", "outcome", "status"]
    which: int

    async def run(self, world: World) -> Any:
        handle = world.handle(self.which)
        if handle is None:
            return None
        match self.op:
            case "result":
                return await handle.result()
            case "receive":
                return await handle.receive()
            case "cancel":
                handle.cancel("not needed")
            case "outcome":
                return handle.outcome
            case "status":
                return handle.status
        return handle.path


class Case(msgspec.Struct, frozen=True):
    """One case of a select."""

    kind: Literal["child", "channel", "after", "mail", "asked", "promise"]
    which: int

    def of(self, world: World) -> Any:
        match self.kind:
            case "child":
                return world.handle(self.which)
            case "channel":
                return world.ours[self.which % len(world.ours)][1]
            case "after":
                return nurselog.after(self.which / 1000)
            case "mail":
                return world.boxes[self.which % len(world.boxes)]
            case "asked":
                return world.asked[self.which % len(world.asked)]
            case "promise":
                return world.promise(self.which)


class Select(Leaf, frozen=True):
    cases: tuple[Case, ...]
    unwrap: bool = False

    async def run(self, world: World) -> Any:
        cases = [case for one in self.cases if (case := one.of(world)) is not None]
        if not cases:
            return None
        if any(isinstance(case, nurselog.Mailbox | nurselog.Updates | nurselog.Promise) for case in cases):
            cases.append(nurselog.after(1))  # or it might wait for ever, which is no deadlock
        selected = await nurselog.select(*cases)
        note("selected", selected.index, selected.outcome)
        return selected.unwrap() if self.unwrap else selected.index


class Several(Leaf, frozen=True):
    """Wait for the newest children."""

    op: Literal["gather", "as completed", "all"]
    count: int

    async def run(self, world: World) -> Any:
        handles = world.handles[-self.count :]
        match self.op:
            case "gather":
                return await nurselog.gather(*handles)
            case "as completed":
                return [(one.path, repr(one.outcome)) async for one in nurselog.as_completed(*handles)]
            case "all":
                outcomes = [await one.receive() for one in handles]
                return [shape(one.error) if isinstance(one, Failed) else one for one in outcomes]
            case _:
                assert_never(self.op)


AnyLeaf: TypeAlias = (
    Call
    | Late
    | Checkpoint
    | Sleep
    | Ask
    | Raise
    | Event
    | Condition
    | Parking
    | Channel
    | Mail
    | Asked
    | Tell
    | Promise
    | Scope
    | Child
    | Select
    | Several
)

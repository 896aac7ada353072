"""`crash_everywhere` and its kin on workflows that are sent messages: by letters, by fakes, by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from nurselog import (
    EncodingError,
    UsageError,
    Workflow,
    gather,
    mailbox,
    move_on_after,
    open_nursery,
    promise,
    resolve,
    send,
    step,
    step_key,
    workflow,
    workflow_id,
)
from nurselog.lowlevel import JsonCodec, Received, decode_event, open_store
from nurselog.testing import Broken, Law, Life, Report, Returned, cancel_everywhere, crash_everywhere
from nurselog.testing.keeper import Mail
from nurselog.testing.life import Plan, beginning, live


@step
async def ask(question: str) -> None:
    raise AssertionError("the real one")


@step
async def ask_for(question: str, answer: str) -> None:
    raise AssertionError("the real one")


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def talks() -> list[int]:
    """Leave messages, and receive them now and later."""
    box, answer = mailbox("numbers", int), promise(int)
    for number in range(3):
        await send(workflow_id(), "numbers", number)
    got = [await box.receive()]
    await resolve(answer.id, 10)
    await resolve(answer.id, 11)
    return [*got, await box.receive(), await answer.result(), await box.receive()]


@workflow
async def takes_orders() -> list[str]:
    got = []
    with move_on_after(3600):
        async for order in mailbox("orders", str):
            got.append(await greet(order))
    return got


@workflow
async def wants_answers() -> list[str]:
    """Ask somebody who answers by a message, and somebody who answers by a promise."""
    await ask("which?")
    got = [await mailbox("answers", str).receive()]
    approval = promise(str)
    await ask_for("may I?", approval.id)
    got.append(await approval.result())
    with move_on_after(10):
        got.append(await mailbox("answers", str).receive())
    return got


@workflow
async def greets_in_any_order() -> list[str]:
    names = {await mailbox("names", str).receive() for _ in range(8)}
    async with open_nursery() as nursery:
        return await gather(*[nursery.go(greet, name) for name in names])


def returns(value: object) -> Callable[[Life], None]:
    def check(life: Life) -> None:
        assert life.outcome == Returned(value)

    return check


Way = Callable[..., Report]
each_way = pytest.mark.parametrize("how", [{}, {"twice": True}, {"suspend": True}], ids=["dies", "twice", "suspended"])


@each_way
def test_what_it_tells_itself_is_there_once_in_each_life(how: dict[str, Any]) -> None:
    crash_everywhere(talks, invariant=returns([0, 1, 10, 2]), seeds=range(3), **how)


@each_way
def test_letters_wait_from_the_beginning(how: dict[str, Any]) -> None:
    letters = {"orders": ["Ada", "Ada", "Bob"], "complaints": [None]}
    report = crash_everywhere(
        takes_orders, letters=letters, invariant=returns(["hello Ada"] * 2 + ["hello Bob"]), **how
    )
    assert [type(event) for event in report.live.events[1:6]].count(Received) == 4


def test_letters_for_who_is_cancelled() -> None:
    report = cancel_everywhere(takes_orders, letters={"orders": ["Ada", "Bob"]}, crashes=True, scopes=True)
    assert report.misfortunes > 30


def test_letters_in_another_store() -> None:
    report = crash_everywhere(
        takes_orders,
        letters={"orders": ["Ada"]},
        invariant=returns(["hello Ada"]),
        store=lambda clock: open_store("sqlite://", clock=clock),
    )
    assert report.misfortunes == len(report.live.rows) - 1


@pytest.mark.parametrize(
    ("letters", "error"), [({"": [1]}, UsageError), ({"topic": [object()]}, EncodingError)], ids=["topic", "message"]
)
def test_letters_that_are_none(letters: dict[str, Sequence[object]], error: type[Exception]) -> None:
    with pytest.raises(error):
        crash_everywhere(takes_orders, letters=letters)


# -- what fakes send -----------------------------------------------------------------------------


async def answers(question: str) -> None:
    await send(workflow_id(), "answers", f"{question} this one", key=step_key())


async def approves(question: str, answer: str) -> None:
    await resolve(answer, f"{question} yes")


@each_way
def test_fakes_answer(how: dict[str, Any]) -> None:
    """An answer that was given before the process died is not given twice."""
    fakes = {ask: answers, ask_for: approves}
    crash_everywhere(wants_answers, fakes=fakes, invariant=returns(["which? this one", "may I? yes"]), **how)


def test_an_answer_without_a_key_that_lasts_is_given_twice() -> None:
    """The process has died when the message was left and nobody had written down that the step has ended."""
    numbers = count()

    async def answers_again(question: str) -> None:
        await send(workflow_id(), "answers", question, key=str(next(numbers)))

    with pytest.raises(Broken) as caught:
        crash_everywhere(
            wants_answers, fakes={ask: answers_again, ask_for: approves}, invariant=returns(["which?", "may I? yes"])
        )
    findings = caught.value.report.findings
    assert len(findings) == 2, "the message may have been received by then, or not"
    for finding in findings:
        assert finding.law is Law.INVARIANT
        assert finding.life.outcome == Returned(["which?", "may I? yes", "which?"])


# -- where a log is cut --------------------------------------------------------------------------


def lives(one: Workflow[..., Any], mail: Sequence[Mail] = ()) -> Iterator[Life]:
    """Yield a life, and one from each prefix of its log."""
    target, first = beginning(one, (), 0, JsonCodec())
    whole = live(target, [first], Plan(), instead={}, mail=mail)
    yield whole
    for cut in range(1, len(whole.rows)):
        yield live(target, whole.rows[:cut], Plan(), instead={}, mail=whole.mail_at(cut))


def test_a_life_has_heard_of_what_was_left_before_it_and_of_nothing_else() -> None:
    whole, *others = lives(talks)
    assert [one.post.once is not None for one in whole.mail] == [True] * 4
    for life in others:
        assert life.mail_at(life.begun_with) == whole.mail_at(life.begun_with)
        assert all(one.rows >= life.begun_with for one in life.mail[len(whole.mail_at(life.begun_with)) :])
        assert [one.post.once for one in life.mail] == [one.post.once for one in whole.mail]
        assert received(life) == received(whole)


def received(life: Life) -> list[tuple[str, bytes | None]]:
    return sorted((row.event.decode(), row.value) for row in life.rows if isinstance(decode_event(row.event), Received))


def test_an_order_that_hangs_on_hashing_behind_messages() -> None:
    """The other processes have the messages, too, when they see what the code does there by itself."""
    names = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "oak"]
    with pytest.raises(Broken) as caught:
        crash_everywhere(greets_in_any_order, letters={"names": names})
    assert {finding.law for finding in caught.value.report.findings} == {Law.HASHING}

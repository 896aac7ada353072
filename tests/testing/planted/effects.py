"""Effects that are done twice, or that nobody undoes."""

from __future__ import annotations

import uuid

from nurselog import Retry, StepInterrupted, Succeeded, open_nursery, select, step, step_key, workflow
from nurselog.testing import Law
from tests.testing.planted.table import Planted, crash_in_other_orders
from tests.testing.planted.world import (
    Outside,
    book,
    charge,
    is_paid,
    open_shop,
    pay,
    pay_by,
    pay_on_a_bad_line,
    pay_once,
    sell,
    unbook,
)

planted: list[Planted] = []


@workflow
async def a_payment_without_a_key() -> None:
    await charge(10)  # here


@workflow
async def a_payment_with_a_key() -> None:
    await pay(10)


planted.append(Planted(a_payment_without_a_key, a_payment_with_a_key, law=Law.INVARIANT, judge=Outside.is_paid_once))


@step
async def pay_with_a_new_key() -> None:
    await pay_by(uuid.uuid4().hex, 10)


@step
async def pay_with_the_steps_key() -> None:
    await pay_by(step_key(), 10)


@workflow
async def a_key_that_is_new_each_time() -> None:
    await pay_with_a_new_key()  # here


@workflow
async def a_key_that_stays() -> None:
    await pay_with_the_steps_key()


planted.append(Planted(a_key_that_is_new_each_time, a_key_that_stays, law=Law.INVARIANT, judge=Outside.is_paid_once))


@step
async def pay_in_two_parts() -> None:
    await pay(4)
    await pay(6)


@workflow
async def two_payments_in_one_step() -> None:
    await pay_in_two_parts()  # here


@workflow
async def two_payments_in_two_steps() -> None:
    await pay(4)
    await pay(6)


planted.append(
    Planted(two_payments_in_one_step, two_payments_in_two_steps, law=Law.INVARIANT, judge=Outside.is_paid_once)
)


@workflow
async def another_try_by_hand() -> str:
    try:
        return await pay_on_a_bad_line(10)
    except OSError:
        return await pay_on_a_bad_line(10)  # here


@workflow
async def another_try_by_the_step() -> str:
    return await pay_on_a_bad_line.using(retry=Retry(attempts=2))(10)


planted.append(Planted(another_try_by_hand, another_try_by_the_step, law=Law.INVARIANT, judge=Outside.is_paid_once))


@workflow
async def an_interrupted_step_that_is_taken_to_have_failed() -> None:
    await book("it")
    try:
        await pay_once(10)  # here
    except StepInterrupted:  # whether it was paid, nobody knows
        await unbook("it")
        raise


@workflow
async def an_interrupted_step_after_which_one_asks() -> None:
    await book("it")
    try:
        await pay_once(10)
    except StepInterrupted:
        if not await is_paid():
            await unbook("it")
            raise


planted.append(
    Planted(
        an_interrupted_step_that_is_taken_to_have_failed,
        an_interrupted_step_after_which_one_asks,
        law=Law.INVARIANT,
        judge=Outside.is_fair,
    )
)


@workflow
async def an_interrupted_step_that_is_taken_to_have_worked() -> None:
    try:
        await pay_once(10)  # here
    except StepInterrupted:
        pass


@workflow
async def an_interrupted_step_that_is_made_up_for() -> None:
    try:
        await pay_once(10)
    except StepInterrupted:
        if not await is_paid():
            raise


planted.append(
    Planted(
        an_interrupted_step_that_is_taken_to_have_worked,
        an_interrupted_step_that_is_made_up_for,
        law=Law.INVARIANT,
        judge=Outside.is_paid_once,
    )
)


@workflow
async def two_steps_of_which_one_needs_the_other() -> None:
    async with open_nursery() as nursery:  # here
        nursery.start_soon(open_shop)
        nursery.start_soon(sell)


@workflow
async def one_step_and_then_the_other() -> None:
    await open_shop()
    await sell()


planted.append(
    Planted(
        two_steps_of_which_one_needs_the_other,
        one_step_and_then_the_other,
        law=Law.INVARIANT,
        found_by=crash_in_other_orders,
        judge=Outside.is_paid_once,
    )
)


@workflow
async def a_loser_that_nobody_undoes() -> None:
    async with open_nursery() as nursery:
        one, other = nursery.go(book, "one"), nursery.go(book, "other")
        winner = await select(one, other)  # here
        await unbook(winner.unwrap())


@workflow
async def a_loser_that_is_undone() -> None:
    async with open_nursery() as nursery:
        one, other = nursery.go(book, "one"), nursery.go(book, "other")
        winner = await select(one, other)
        await unbook(winner.unwrap())
        for handle in (one, other):
            if isinstance(await handle.receive(), Succeeded):
                await unbook(await handle.result())


planted.append(Planted(a_loser_that_nobody_undoes, a_loser_that_is_undone, law=Law.INVARIANT, judge=Outside.is_tidy))

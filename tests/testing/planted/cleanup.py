"""Cleanup that does not clean up."""

from __future__ import annotations

import time
from contextlib import suppress

import trio

from nurselog import CancelScope, fail_after, sleep, workflow
from nurselog.testing import Law
from tests.testing.planted.table import Planted, cancel, cancel_and_crash, cancel_scopes
from tests.testing.planted.world import Outside, book, pay, refund, repay, unbook

planted: list[Planted] = []


@workflow
async def cleanup_as_it_should_be() -> None:
    try:
        await book("it")
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


@workflow
async def cleanup_that_is_not_shielded() -> None:
    try:
        await book("it")
        await pay(10)  # here
    except BaseException:
        await unbook("it")
        raise


planted.append(
    Planted(
        cleanup_that_is_not_shielded, cleanup_as_it_should_be, law=Law.INVARIANT, found_by=cancel, judge=Outside.is_fair
    )
)


@workflow
async def no_cleanup_at_all() -> None:
    await book("it")
    await sleep(1)  # here
    await pay(10)


@workflow
async def cleanup_around_it_all() -> None:
    done = False
    try:
        await book("it")
        await sleep(1)
        await pay(10)
        done = True
    finally:
        if not done:
            with CancelScope(shield=True):
                await unbook("it")


planted.append(
    Planted(no_cleanup_at_all, cleanup_around_it_all, law=Law.INVARIANT, found_by=cancel, judge=Outside.is_fair)
)


@workflow
async def cleanup_for_errors_only() -> None:
    try:
        await book("it")
        await pay(10)  # here
    except Exception:
        with CancelScope(shield=True):
            await unbook("it")
        raise


@workflow
async def cleanup_for_cancellations_too() -> None:
    try:
        await book("it")
        await pay(10)
    except (Exception, trio.Cancelled):
        with CancelScope(shield=True):
            await unbook("it")
        raise


planted.append(
    Planted(
        cleanup_for_errors_only,
        cleanup_for_cancellations_too,
        law=Law.INVARIANT,
        found_by=cancel,
        judge=Outside.is_fair,
    )
)


@workflow
async def cleanup_that_begins_too_late() -> None:
    await book("it")  # here
    try:
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


@workflow
async def cleanup_that_begins_in_time() -> None:
    try:
        await book("it")
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


planted.append(
    Planted(
        cleanup_that_begins_too_late,
        cleanup_that_begins_in_time,
        law=Law.INVARIANT,
        found_by=cancel,
        judge=Outside.is_fair,
    )
)


@workflow
async def cleanup_of_the_last_one_only() -> None:
    item = ""
    try:
        for item in ("one", "other"):
            await book(item)  # here
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook(item)
        raise


@workflow
async def cleanup_of_all() -> None:
    begun: list[str] = []
    try:
        for item in ("one", "other"):
            begun.append(item)
            await book(item)
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            for item in begun:
                await unbook(item)
        raise


planted.append(
    Planted(cleanup_of_the_last_one_only, cleanup_of_all, law=Law.INVARIANT, found_by=cancel, judge=Outside.is_fair)
)


@workflow
async def a_cancellation_that_is_suppressed() -> str:
    await book("it")
    with suppress(trio.Cancelled):  # check: swallowed-cancellation
        await pay(10)  # here
    return "done"


@workflow
async def a_timeout_that_is_handled() -> str:
    try:
        await book("it")
        with fail_after(60):
            await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise
    return "done"


planted.append(
    Planted(
        a_cancellation_that_is_suppressed,
        a_timeout_that_is_handled,
        law=Law.INVARIANT,
        found_by=cancel,
        judge=Outside.is_fair,
    )
)


@workflow
async def cleanup_after_which_all_is_well() -> None:
    try:
        await book("it")
        await pay(10)  # here
    except BaseException:  # check: swallowed-cancellation
        with CancelScope(shield=True):
            await unbook("it")


@workflow
async def cleanup_after_which_it_goes_on() -> None:
    try:
        await book("it")
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


planted.append(
    Planted(
        cleanup_after_which_all_is_well,
        cleanup_after_which_it_goes_on,
        law=Law.INVARIANT,
        found_by=cancel,
        judge=Outside.is_fair,
    )
)


@workflow
async def a_compensation_that_is_not_idempotent() -> None:
    try:
        await pay(10)
        await sleep(60)
    except BaseException:
        with CancelScope(shield=True):
            await repay(10)  # here
        raise


@workflow
async def a_compensation_that_is_idempotent() -> None:
    paid = False
    try:
        await pay(10)
        paid = True
        await sleep(60)
    except BaseException:
        with CancelScope(shield=True):
            if paid:
                await refund(10)
        raise


planted.append(
    Planted(
        a_compensation_that_is_not_idempotent,
        a_compensation_that_is_idempotent,
        law=Law.INVARIANT,
        found_by=cancel_and_crash,
        judge=Outside.is_paid_once,
    )
)


@workflow
async def a_wait_behind_the_point_of_no_return() -> None:
    try:
        await book("it")
        await pay(10)
        await sleep(1)  # here
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


planted.append(
    Planted(
        a_wait_behind_the_point_of_no_return,
        cleanup_as_it_should_be,
        law=Law.INVARIANT,
        found_by=cancel,
        judge=Outside.is_fair,
    )
)


@workflow
async def a_cancellation_that_is_taken_for_an_error() -> None:
    while True:
        try:
            return await sleep(60)  # here
        except BaseException:  # check: swallowed-cancellation
            continue


@workflow
async def an_error_that_is_taken_for_one() -> None:
    while True:
        try:
            return await sleep(60)
        except Exception:
            continue


planted.append(
    Planted(a_cancellation_that_is_taken_for_an_error, an_error_that_is_taken_for_one, law=Law.ENDS, found_by=cancel)
)


@workflow
async def a_step_that_is_tried_for_ever() -> str:
    while True:
        try:
            return await pay(10)  # here
        except BaseException:  # check: swallowed-cancellation
            continue


@workflow
async def a_step_that_is_tried_until_it_is_cancelled() -> str:
    while True:
        try:
            return await pay(10)
        except Exception:
            continue


planted.append(
    Planted(a_step_that_is_tried_for_ever, a_step_that_is_tried_until_it_is_cancelled, law=Law.ENDS, found_by=cancel)
)


@workflow
async def a_clock_that_only_cleanup_looks_at() -> None:
    try:
        await book("it")
        await pay(10)
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
            await repay(time.time_ns())  # here; check: wall-clock
        raise


planted.append(Planted(a_clock_that_only_cleanup_looks_at, cleanup_as_it_should_be, law=Law.REPLAYS, found_by=cancel))


@workflow
async def a_scope_of_which_nobody_asks_whether_it_was_cancelled() -> None:
    try:
        await book("it")
        with CancelScope():
            await pay(10)  # here
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


@workflow
async def a_scope_that_was_cancelled_is_no_success() -> None:
    try:
        await book("it")
        with CancelScope() as scope:
            await pay(10)
        if scope.cancelled_caught:
            raise TimeoutError("not paid")
    except BaseException:
        with CancelScope(shield=True):
            await unbook("it")
        raise


planted.append(
    Planted(
        a_scope_of_which_nobody_asks_whether_it_was_cancelled,
        a_scope_that_was_cancelled_is_no_success,
        law=Law.INVARIANT,
        found_by=cancel_scopes,
        judge=Outside.is_fair,
    )
)

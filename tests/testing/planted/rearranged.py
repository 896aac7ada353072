"""Code that is rearranged: branches, waits, scopes, outcomes, cleanup; and such that runs under way can follow."""

from __future__ import annotations

from nurselog import CancelScope, after, fail_after, gather, now, open_nursery, patched, select, sleep
from tests.testing.planted.table import Changed
from tests.testing.planted.talk import ask, refuse, three_questions, weigh

changed: list[Changed] = []

# -- elsewhere in the tree -----------------------------------------------------------------------


async def a_step_that_has_become_a_branch() -> str:
    async def part() -> str:
        return await ask("one")

    async with open_nursery() as nursery:  # here
        one = nursery.go(part)
    return await one.result() + await ask("two") + await ask("three")


async def a_step_that_has_become_a_function() -> str:
    async def part() -> str:
        return await ask("one")

    return await part() + await ask("two") + await ask("three")


changed.append(Changed(three_questions, a_step_that_has_become_a_branch, a_step_that_has_become_a_function))


async def steps_moved_into_a_nursery() -> str:
    async with open_nursery() as nursery:  # here
        handles = [nursery.go(ask, question) for question in ("one", "three", "two")]
    one, three, two = [await handle.result() for handle in handles]
    return one + two + three


async def steps_moved_into_a_nursery_for_new_runs() -> str:
    if patched("side by side"):
        async with open_nursery() as nursery:
            handles = [nursery.go(ask, question) for question in ("one", "three", "two")]
        one, three, two = [await handle.result() for handle in handles]
        return one + two + three
    return await ask("one") + await ask("two") + await ask("three")


changed.append(Changed(three_questions, steps_moved_into_a_nursery, steps_moved_into_a_nursery_for_new_runs))


async def all_together() -> list[str]:
    async with open_nursery() as nursery:
        return await gather(nursery.go(ask, "one"), nursery.go(ask, "two"))


async def one_after_the_other() -> list[str]:
    return [await ask("one"), await ask("two")]  # here


async def all_together_without_a_helper() -> list[str]:
    async with open_nursery() as nursery:
        handles = [nursery.go(ask, question) for question in ("one", "two")]
    return [await handle.result() for handle in handles]


changed.append(Changed(all_together, one_after_the_other, all_together_without_a_helper))


# -- waits and scopes ----------------------------------------------------------------------------


async def first_of_two() -> str:
    async with open_nursery() as nursery:
        one = nursery.go(ask, "one")
        found = await select(one, after(60))
    return f"{found.index}"


async def a_case_added() -> str:
    async with open_nursery() as nursery:
        one = nursery.go(ask, "one")
        found = await select(after(30), one, after(60))  # here
    return f"{found.index - 1}"


async def a_case_added_for_new_runs() -> str:
    async with open_nursery() as nursery:
        one = nursery.go(ask, "one")
        if patched("not so long"):
            found = await select(one, after(60), after(30))
        else:
            found = await select(one, after(60))
    return f"{found.index}"


changed.append(Changed(first_of_two, a_case_added, a_case_added_for_new_runs))


async def cases_reordered() -> str:
    async with open_nursery() as nursery:
        one = nursery.go(ask, "one")
        found = await select(after(60), one)  # here
    return f"{1 - found.index}"


changed.append(Changed(first_of_two, cases_reordered, a_case_added_for_new_runs))


async def ask_in_time() -> str:
    with fail_after(60):
        return await ask("one")


async def ask_in_any_time() -> str:
    return await ask("one")


async def a_timeout_added() -> str:
    with fail_after(60):
        return await ask("one")  # here


async def a_timeout_added_to_the_step() -> str:
    return await ask.using(timeout=60)("one")


changed.append(Changed(ask_in_any_time, a_timeout_added, a_timeout_added_to_the_step))


async def a_timeout_removed() -> str:
    return await ask("one")  # here


async def a_timeout_removed_for_new_runs() -> str:
    if patched("in any time"):
        return await ask("one")
    with fail_after(60):
        return await ask("one")


changed.append(Changed(ask_in_time, a_timeout_removed, a_timeout_removed_for_new_runs))


async def cancelled_inside() -> int:
    async with open_nursery() as nursery:
        nursery.start_soon(sleep, 3600)
        weight = await weigh("it")
        nursery.cancel_scope.cancel("weighed")
    return weight


async def a_cancellation_removed() -> int:
    async with open_nursery() as nursery:  # here
        nursery.start_soon(sleep, 3600)
        weight = await weigh("it")
    return weight


async def a_cancellation_of_another_scope() -> int:
    async with open_nursery() as nursery:
        nursery.start_soon(sleep, 3600)
        weight = await weigh("it")
        scope = nursery.cancel_scope
        scope.cancel("weighed")
    return weight


changed.append(Changed(cancelled_inside, a_cancellation_removed, a_cancellation_of_another_scope))


# -- what follows from outcomes ------------------------------------------------------------------


async def patient() -> str:
    try:
        return await refuse("may I?")
    except ValueError:
        return await ask("why not?")


async def an_error_that_is_handled_no_more() -> str:  # here
    return await refuse("may I?")


async def an_error_that_is_handled_as_before() -> str:
    try:
        found = await refuse("may I?")
    except (ValueError, KeyError):
        found = await ask("why not?")
    return found


changed.append(Changed(patient, an_error_that_is_handled_no_more, an_error_that_is_handled_as_before))


async def by_answer() -> str:
    return await ask("more") if await weigh("it") < 3 else "enough"


async def a_condition_that_is_another() -> str:  # here
    return await ask("more") if await weigh("it") < 2 else "enough"


async def a_condition_that_is_another_for_new_runs() -> str:
    return await ask("more") if await weigh("it") < (2 if patched("two") else 3) else "enough"


changed.append(Changed(by_answer, a_condition_that_is_another, a_condition_that_is_another_for_new_runs))


async def marked() -> str:
    return await (ask("new") if patched("the new way") else ask("old"))


async def a_mark_removed_too_early() -> str:
    return await ask("new")  # here


async def a_mark_that_stays() -> str:
    new = patched("the new way")
    return await (ask("new") if new else ask("old"))


changed.append(Changed(marked, a_mark_removed_too_early, a_mark_that_stays))


# -- of runs that were cancelled -----------------------------------------------------------------


async def tidy() -> None:
    try:
        await sleep(3600)
    finally:
        with CancelScope(shield=True):
            await ask("one")
            await weigh("it")


async def cleanup_reordered() -> None:
    try:
        await sleep(3600)
    finally:
        with CancelScope(shield=True):
            await weigh("it")  # here
            await ask("one")


async def cleanup_that_is_longer() -> None:
    try:
        await sleep(3600)
    finally:
        with CancelScope(shield=True):
            await ask("one")
            await weigh("it")
            now()


changed.append(Changed(tidy, cleanup_reordered, cleanup_that_is_longer, cancelled=True))


async def a_shield_removed() -> None:
    try:
        await sleep(3600)
    finally:
        await ask("one")  # here
        await weigh("it")


async def a_shield_that_is_another() -> None:
    try:
        await sleep(3600)
    finally:
        with CancelScope() as scope:
            scope.shield = True
            await ask("one")
            await weigh("it")


changed.append(Changed(tidy, a_shield_removed, a_shield_that_is_another, cancelled=True))

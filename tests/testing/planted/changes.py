"""Steps that are inserted, removed, reordered, renamed or retyped; and the same such that runs under way can follow."""

from __future__ import annotations

from nurselog import open_nursery, patched, sleep, step, uuid4
from tests.testing.planted.table import Changed
from tests.testing.planted.talk import ask, three_questions, weigh

changed: list[Changed] = []

# -- inserted ------------------------------------------------------------------------------------


async def a_step_inserted() -> str:
    one = await ask("one")
    await weigh(one)  # here
    return one + await ask("two") + await ask("three")


async def a_step_inserted_for_new_runs() -> str:
    one = await ask("one")
    if patched("weigh"):
        await weigh(one)
    return one + await ask("two") + await ask("three")


changed.append(Changed(three_questions, a_step_inserted, a_step_inserted_for_new_runs))


async def a_sleep_inserted() -> str:
    one = await ask("one")
    await sleep(1)  # here
    return one + await ask("two") + await ask("three")


async def a_sleep_inserted_for_new_runs() -> str:
    one = await ask("one")
    if patched("sleep"):
        await sleep(1)
    return one + await ask("two") + await ask("three")


changed.append(Changed(three_questions, a_sleep_inserted, a_sleep_inserted_for_new_runs))


async def a_uuid_inserted() -> str:
    str(uuid4())
    return await ask("one") + await ask("two") + await ask("three")  # here


async def a_uuid_inserted_at_the_end() -> str:
    answers = await ask("one") + await ask("two") + await ask("three")
    str(uuid4())
    return answers


changed.append(Changed(three_questions, a_uuid_inserted, a_uuid_inserted_at_the_end))


# -- removed -------------------------------------------------------------------------------------


async def a_step_removed() -> str:
    one = await ask("one")
    return one + "TWO" + await ask("three")  # here


async def a_step_removed_for_new_runs() -> str:
    one = await ask("one")
    two = "TWO" if patched("two is known") else await ask("two")
    return one + two + await ask("three")


changed.append(Changed(three_questions, a_step_removed, a_step_removed_for_new_runs))


async def the_last_step_removed() -> str:  # here
    return await ask("one") + await ask("two") + "THREE"


async def the_last_step_removed_for_new_runs() -> str:
    return await ask("one") + await ask("two") + ("THREE" if patched("three is known") else await ask("three"))


changed.append(Changed(three_questions, the_last_step_removed, the_last_step_removed_for_new_runs))


async def a_nap() -> str:
    one = await ask("one")
    await sleep(60)
    return one + await ask("two")


async def a_sleep_removed() -> str:
    one = await ask("one")
    return one + await ask("two")  # here


async def a_sleep_removed_for_new_runs() -> str:
    one = await ask("one")
    if not patched("no nap"):
        await sleep(60)
    return one + await ask("two")


changed.append(Changed(a_nap, a_sleep_removed, a_sleep_removed_for_new_runs))


async def a_sleep_that_has_become_a_step() -> str:
    one = await ask("one")
    await weigh("a while")  # here
    return one + await ask("two")


async def a_sleep_that_is_longer() -> str:
    one = await ask("one")
    await sleep(3600)  # who sleeps already sleeps as long as the log says
    return one + await ask("two")


changed.append(Changed(a_nap, a_sleep_that_has_become_a_step, a_sleep_that_is_longer))


async def for_each(items: list[str]) -> list[int]:
    return [await weigh(item) for item in items]


async def a_shorter_loop(items: list[str]) -> list[int]:
    return [await weigh(item) for item in items if item != "stone"]  # here


async def a_loop_that_is_cut_behind_the_step(items: list[str]) -> list[int]:
    return [weight for item in items if (weight := await weigh(item)) is not None]


changed.append(Changed(for_each, a_shorter_loop, a_loop_that_is_cut_behind_the_step, (["stone", "feather"],)))


# -- reordered -----------------------------------------------------------------------------------


async def first_ask_then_weigh() -> str:
    found = await ask("what?")
    return f"{found} {await weigh('it')}"


async def two_steps_reordered() -> str:
    weight = await weigh("it")  # here
    return f"{await ask('what?')} {weight}"


async def two_steps_reordered_for_new_runs() -> str:
    if patched("weigh first"):
        weight = await weigh("it")
        return f"{await ask('what?')} {weight}"
    found = await ask("what?")
    return f"{found} {await weigh('it')}"


changed.append(Changed(first_ask_then_weigh, two_steps_reordered, two_steps_reordered_for_new_runs))


async def side_by_side() -> list[object]:
    async with open_nursery() as nursery:
        one, other = nursery.go(ask, "what?"), nursery.go(weigh, "it")
    return [await one.result(), await other.result()]


async def two_branches_reordered() -> list[object]:
    async with open_nursery() as nursery:  # here
        other = nursery.go(weigh, "it")
        one = nursery.go(ask, "what?")
    return [await one.result(), await other.result()]


async def two_branches_renamed() -> list[object]:
    async with open_nursery() as nursery:
        other, one = nursery.go(ask, "what?"), nursery.go(weigh, "it")
    return [await other.result(), await one.result()]


changed.append(Changed(side_by_side, two_branches_reordered, two_branches_renamed))


# -- renamed, retyped ----------------------------------------------------------------------------


@step
async def inquire(question: str) -> str:
    raise AssertionError("the real one")


@step(name="ask")
async def inquire_as_before(question: str) -> str:
    raise AssertionError("the real one")


async def a_step_renamed() -> str:
    return await inquire("one") + await inquire("two") + await inquire("three")  # here


async def a_step_renamed_except_in_the_log() -> str:
    return await inquire_as_before("one") + await inquire_as_before("two") + await inquire_as_before("three")


changed.append(Changed(three_questions, a_step_renamed, a_step_renamed_except_in_the_log))


@step(name="ask")
async def ask_for_a_number(question: str) -> int:
    raise AssertionError("the real one")


@step(name="ask")
async def ask_for_either(question: str) -> int | str:
    raise AssertionError("the real one")


async def a_result_retyped() -> int:
    one = await ask_for_a_number("one")  # here
    return one + await ask_for_a_number("two") + await ask_for_a_number("three")


async def a_result_retyped_for_new_runs() -> str:
    answers = [await ask_for_either("one"), await ask_for_either("two"), await ask_for_either("three")]
    return "".join(map(str, answers))


changed.append(Changed(three_questions, a_result_retyped, a_result_retyped_for_new_runs))


async def weigh_one() -> int:
    return await weigh("7")


@step(name="weigh")
async def weigh_by_number(item: int) -> int:
    raise AssertionError("the real one")


async def an_argument_retyped() -> int:
    return await weigh_by_number(7)  # here


async def an_argument_retyped_inside_of_the_step() -> int:
    return await weigh(str(7))


changed.append(Changed(weigh_one, an_argument_retyped, an_argument_retyped_inside_of_the_step))


async def an_argument_that_is_another() -> int:
    return await weigh("8")  # here


async def an_argument_that_is_another_for_new_runs() -> int:
    return await weigh("8" if patched("eight") else "7")


changed.append(Changed(weigh_one, an_argument_that_is_another, an_argument_that_is_another_for_new_runs))


async def with_a_topic(topic: str) -> str:
    return await ask(topic)


async def a_parameter_renamed(subject: str) -> str:  # here
    return await ask(subject)


async def a_parameter_added(topic: str, politely: bool = False) -> str:
    return await ask(f"please, {topic}" if politely else topic)


changed.append(Changed(with_a_topic, a_parameter_renamed, a_parameter_added, ("rain",)))


async def a_parameter_retyped(topic: list[str]) -> str:  # here
    return await ask(topic[0])


async def a_parameter_with_a_second_type(topic: str | list[str]) -> str:
    return await ask(topic if isinstance(topic, str) else topic[0])


changed.append(Changed(with_a_topic, a_parameter_retyped, a_parameter_with_a_second_type, ("rain",)))

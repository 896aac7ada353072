"""What is not the same in each run: clocks, random numbers, what the process remembers, the order of sets."""

from __future__ import annotations

import itertools
import random
import secrets
import time
import uuid
from datetime import UTC, datetime

from nurselog import now, rng, step, workflow, workflow_id
from nurselog import uuid4 as durable_uuid4
from nurselog.testing import Law
from tests.testing.planted.table import Planted
from tests.testing.planted.world import book, pay, unbook

planted: list[Planted] = []

numbers = itertools.count()


@workflow
async def the_wall_clock_in_an_argument() -> None:
    await book(str(time.time_ns()))  # here, check: wall-clock


@workflow
async def the_runs_own_clock_in_an_argument() -> None:
    await book(f"{now():%c}")


planted.append(Planted(the_wall_clock_in_an_argument, the_runs_own_clock_in_an_argument, law=Law.REPLAYS))


@workflow
async def a_date_of_pythons_own() -> str:
    today = datetime.now(UTC)  # check: wall-clock
    return await book(today.isoformat())  # here


@workflow
async def a_date_of_the_runs_own() -> str:
    today = now()
    return await book(today.isoformat())


planted.append(Planted(a_date_of_pythons_own, a_date_of_the_runs_own, law=Law.REPLAYS))


@workflow
async def a_random_number_of_pythons_own() -> None:
    await book(str(random.random()))  # here, check: random


@workflow
async def a_random_number_of_the_runs_own() -> None:
    await book(str(rng().random()))


planted.append(Planted(a_random_number_of_pythons_own, a_random_number_of_the_runs_own, law=Law.REPLAYS))


@workflow
async def a_shuffle_of_pythons_own() -> None:
    items = [*"abcdefghijkl"]
    random.shuffle(items)  # check: random
    for item in items:
        await book(item)  # here


@workflow
async def a_shuffle_of_the_runs_own() -> None:
    items = [*"abcdefghijkl"]
    rng().shuffle(items)
    for item in items:
        await book(item)


planted.append(Planted(a_shuffle_of_pythons_own, a_shuffle_of_the_runs_own, law=Law.REPLAYS))


@workflow
async def a_uuid_of_pythons_own() -> None:
    await book(uuid.uuid4().hex)  # here, check: random


@workflow
async def a_uuid_of_the_runs_own() -> None:
    await book(durable_uuid4().hex)


planted.append(Planted(a_uuid_of_pythons_own, a_uuid_of_the_runs_own, law=Law.REPLAYS))


@workflow
async def a_secret_token() -> None:
    await book(secrets.token_hex(8))  # here, check: random


@step
async def make_token() -> str:
    return secrets.token_hex(8)


@workflow
async def a_secret_token_from_a_step() -> None:
    await book(await make_token())


planted.append(Planted(a_secret_token, a_secret_token_from_a_step, law=Law.REPLAYS))


@workflow
async def a_counter_of_the_process() -> None:
    await book(str(next(numbers)))  # here, check: module-state


@workflow
async def a_name_of_the_run() -> None:
    await book(workflow_id())


planted.append(Planted(a_counter_of_the_process, a_name_of_the_run, law=Law.REPLAYS))


@workflow
async def a_branch_on_what_no_log_has() -> None:
    if next(numbers) % 2:  # check: module-state
        await book("odd")  # here
    else:
        await unbook("even")  # here


@step
async def draw_number() -> int:
    return next(numbers)


@workflow
async def a_branch_on_what_a_step_has_returned() -> None:
    if await draw_number() % 2:
        await book("odd")
    else:
        await unbook("even")


planted.append(Planted(a_branch_on_what_no_log_has, a_branch_on_what_a_step_has_returned, law=Law.REPLAYS))


@workflow
async def a_result_from_the_wall_clock() -> int:
    await book("it")
    return time.time_ns()  # here, check: wall-clock


@workflow
async def a_result_from_the_runs_own_clock() -> int:
    await book("it")
    return now().year


planted.append(Planted(a_result_from_the_wall_clock, a_result_from_the_runs_own_clock, law=Law.REPLAYS))


@workflow
async def an_error_that_tells_the_time() -> None:
    await book("it")
    raise ValueError(f"not at {time.time_ns()}")  # here, check: wall-clock


@workflow
async def an_error_that_tells_the_runs_time() -> None:
    await book("it")
    raise ValueError(f"not in {now():%Y}")


planted.append(Planted(an_error_that_tells_the_time, an_error_that_tells_the_runs_time, law=Law.REPLAYS))

remembered: dict[str, str] = {}


@workflow
async def a_cache_of_the_process() -> None:
    if "it" not in remembered:
        remembered["it"] = await book("it")  # check: module-state
    await pay(10)  # here
    if next(numbers) < 0:  # check: module-state
        remembered.clear()  # check: module-state


@workflow
async def a_cache_of_the_run() -> None:
    found: dict[str, str] = {}
    if "it" not in found:
        found["it"] = await book("it")
    await pay(10)


planted.append(Planted(a_cache_of_the_process, a_cache_of_the_run, law=Law.REPLAYS))


def with_it(items: list[str] = []) -> str:
    items.append("it")
    return " and ".join(items)


@workflow
async def a_default_that_is_changed() -> None:
    await book(with_it())  # here


def with_it_anew(items: list[str] | None = None) -> str:
    return " and ".join([*(items or []), "it"])


@workflow
async def a_default_that_stays() -> None:
    await book(with_it_anew())


planted.append(Planted(a_default_that_is_changed, a_default_that_stays, law=Law.REPLAYS))


@step
async def add_to(totals: dict[str, int], amount: int) -> None:
    totals["sum"] = totals.get("sum", 0) + amount


@step
async def add(total: int, amount: int) -> int:
    return total + amount


@workflow
async def a_shared_counter_that_steps_change() -> None:
    totals: dict[str, int] = {}
    await add_to.using(name="add to")(totals, 4)
    await add_to.using(name="add to")(totals, 6)
    await pay(totals.get("sum", 0))  # here


@workflow
async def a_counter_of_the_workflow() -> None:
    total = 0
    total = await add(total, 4)
    total = await add(total, 6)
    await pay(total)


planted.append(Planted(a_shared_counter_that_steps_change, a_counter_of_the_workflow, law=Law.REPLAYS))


class Basket:
    """It keeps what it has learned in a step."""

    def __init__(self) -> None:
        self.price = 0

    @step
    async def learn_price(self) -> int:
        self.price = 10
        return 10

    @step(name="Basket.ask_price")
    async def ask_price(self) -> int:
        return 10


@workflow
async def a_step_that_keeps_its_result_for_itself() -> None:
    basket = Basket()
    await basket.learn_price()
    await pay(basket.price)  # here


@workflow
async def a_step_whose_result_is_kept_by_the_workflow() -> None:
    basket = Basket()
    basket.price = await basket.ask_price()
    await pay(basket.price)


planted.append(
    Planted(a_step_that_keeps_its_result_for_itself, a_step_whose_result_is_kept_by_the_workflow, law=Law.REPLAYS)
)

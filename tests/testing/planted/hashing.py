"""Orders and numbers that hang on hashing: the same in all lives of one process, and others in the next."""

from __future__ import annotations

from nurselog import open_nursery, workflow
from nurselog.testing import Law
from tests.testing.planted.table import Planted
from tests.testing.planted.world import book

planted: list[Planted] = []

ITEMS = frozenset(f"item {number}" for number in range(12))
"""So many that two processes hardly ever have them in one order."""


@workflow
async def a_set_iterated_into_steps() -> None:
    for item in ITEMS:  # check: set-order
        await book(item)  # here


@workflow
async def a_sorted_set_iterated_into_steps() -> None:
    for item in sorted(ITEMS):
        await book(item)


planted.append(Planted(a_set_iterated_into_steps, a_sorted_set_iterated_into_steps, law=Law.HASHING))


@workflow
async def a_set_iterated_into_branches() -> list[str]:
    async with open_nursery() as nursery:  # here
        handles = [nursery.go(book, item) for item in ITEMS]  # check: set-order
    return [await handle.result() for handle in handles]


@workflow
async def a_sorted_set_iterated_into_branches() -> list[str]:
    async with open_nursery() as nursery:
        handles = [nursery.go(book, item) for item in sorted(ITEMS)]
    return [await handle.result() for handle in handles]


planted.append(Planted(a_set_iterated_into_branches, a_sorted_set_iterated_into_branches, law=Law.HASHING))


@workflow
async def any_three_of_a_set() -> None:
    left = set(ITEMS)
    await book(f"{left.pop()} {left.pop()} {left.pop()}")  # here


@workflow
async def the_first_three_of_a_set() -> None:
    left = sorted(ITEMS)
    await book(f"{left.pop()} {left.pop()} {left.pop()}")


planted.append(Planted(any_three_of_a_set, the_first_three_of_a_set, law=Law.HASHING))


@workflow
async def a_hash_in_an_argument() -> None:
    await book(f"shelf {hash('it')}")  # here


@workflow
async def a_sum_in_an_argument() -> None:
    await book(f"shelf {sum(b'it')}")


planted.append(Planted(a_hash_in_an_argument, a_sum_in_an_argument, law=Law.HASHING))


@workflow
async def a_set_in_a_text() -> None:
    await book(", ".join(ITEMS))  # here


@workflow
async def a_sorted_set_in_a_text() -> None:
    await book(", ".join(sorted(ITEMS)))


planted.append(Planted(a_set_in_a_text, a_sorted_set_in_a_text, law=Law.HASHING))

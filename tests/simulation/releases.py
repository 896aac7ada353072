"""The releases of an application, deployed to one machine after the other while workflows are under way.

`order` is changed compatibly, by `patched`: an engine with new code goes on with old runs. One with old code that takes
up a new run cannot follow it, and says so; the run is stuck until somebody resumes it. `menu` is changed
incompatibly, and gets a new version: nobody takes up a run of another one. `novel` is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nurselog import CancelScope, StepInterrupted, Workflow, patched, race, sleep, uuid4
from tests.simulation.load import program
from tests.simulation.plan import NEWEST
from tests.simulation.steps import pay, release, reserve, work
from tests.simulation.talk import listener, member, ring


async def _order(number: int, unit: float, *, gift: bool, card: bool) -> list[str]:
    what, done = f"order {uuid4()}", list[str]()
    try:
        await reserve(what, unit / 100)
        if gift and patched("gift"):
            done.append(f"gift {await work(number, unit / 3)}")
        await sleep(unit * number)
        try:
            done.append(f"paid {await pay(number, unit / 5)}")
        except StepInterrupted:
            done.append("interrupted")
        if card and patched("card"):
            await sleep(unit / 2)
            done.append(f"card {await work(1, unit / 10)}")
        done.append(f"sent {await work(2, unit)}")
    finally:
        with CancelScope(shield=True):
            await release(what, unit / 10)
    return done


async def order_0(number: int, unit: float) -> list[str]:
    """Order as it was in the first release."""
    return await _order(number, unit, gift=False, card=False)


async def order_1(number: int, unit: float) -> list[str]:
    """Add a gift."""
    return await _order(number, unit, gift=True, card=False)


async def order_2(number: int, unit: float) -> list[str]:
    """Add a card, too."""
    return await _order(number, unit, gift=True, card=True)


async def menu_1(number: int, unit: float) -> int:
    """Cook one dish after the other."""
    total = 0
    for dish in range(1, number + 1):
        total += await work(dish, unit / 4)
        await sleep(unit / 2)
    return total


async def menu_2(number: int, unit: float) -> int:
    """Cook for a long time, and then everything at once."""
    await sleep(unit * number)
    return await work(number, unit)


async def novel(number: int, unit: float) -> str:
    """Ask two, and take the first answer."""

    async def ask(who: str, seconds: float) -> str:
        await sleep(seconds)
        return f"{who} {await work(number, seconds)}"

    return await race(lambda: ask("ash", unit), lambda: ask("birch", unit * 1.1))


OLD_MENU: Workflow[..., Any] = Workflow(menu_1, "menu", "1")
_NEW_MENU: Workflow[..., Any] = Workflow(menu_2, "menu", "2")
_NOVEL: Workflow[..., Any] = Workflow(novel, "novel", None)
_LASTING: Sequence[Workflow[..., Any]] = [program, ring, member, listener]
_ORDERS: Sequence[Workflow[..., Any]] = [Workflow(order, "order", None) for order in (order_0, order_1, order_2)]

RELEASES: Sequence[Sequence[Workflow[..., Any]]] = [
    [*_LASTING, _ORDERS[0], OLD_MENU],
    [*_LASTING, _ORDERS[1], _NEW_MENU, _NOVEL],
    [*_LASTING, _ORDERS[2], _NEW_MENU, _NOVEL],
]


def may_get_stuck(name: str, release: int) -> bool:
    """Whether a release may meet runs of a workflow that it cannot follow."""
    return name == "order" and release < NEWEST


def current(name: str, version: str | None) -> Workflow[..., Any]:
    """Return the code that runs of a workflow have in the end."""
    found = [*RELEASES[NEWEST], OLD_MENU]
    return next(one for one in found if one.name == name and one.version in {None, version})

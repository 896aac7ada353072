"""The world outside of the planted workflows: steps, and what services do and remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import trio

from nurselog import Step, step, step_key
from nurselog.testing import Life, Returned


def _real() -> NoReturn:
    raise AssertionError("the real one")


@step
async def book(item: str) -> str:
    _real()


@step
async def unbook(item: str) -> None:
    _real()


@step
async def charge(amount: int) -> str:
    """Take money. This bank takes it as often as it is asked."""
    _real()


@step
async def pay(amount: int) -> str:
    """Take money. This bank knows a request that comes again, by the step's key."""
    _real()


@step
async def pay_by(key: str, amount: int) -> str:
    """Take money. This bank knows a request that comes again, by the key that it is given."""
    _real()


@step
async def pay_on_a_bad_line(amount: int) -> str:
    """Take money. The answer to the first request is lost."""
    _real()


@step(at_most_once=True)
async def pay_once(amount: int) -> str:
    _real()


@step
async def is_paid() -> bool:
    _real()


@step
async def repay(amount: int) -> None:
    """Give money back, as often as it is asked."""
    _real()


@step
async def refund(amount: int) -> None:
    """Give money back. This bank knows a request that comes again."""
    _real()


@step
async def open_shop() -> None:
    _real()


@step
async def sell() -> None:
    """Take money, if the shop is open."""
    _real()


@dataclass
class Outside:
    """What services know."""

    booked: set[str] = field(default_factory=set)
    money: int = 0
    keys: set[str] = field(default_factory=set)
    shop_is_open: bool = False

    @property
    def fakes(self) -> dict[Step[..., Any], Any]:
        return {
            book: self.book,
            unbook: self.unbook,
            charge: self.charge,
            pay: self.pay,
            pay_by: self.pay_by,
            pay_on_a_bad_line: self.pay_on_a_bad_line,
            pay_once: self.charge,
            is_paid: self.is_paid,
            repay: self.repay,
            refund: self.refund,
            open_shop: self.open_shop,
            sell: self.sell,
        }

    async def book(self, item: str) -> str:
        self.booked.add(item)
        await trio.sleep(0.5)  # the answer takes its time
        return item

    def unbook(self, item: str) -> None:
        self.booked.discard(item)

    async def charge(self, amount: int) -> str:
        await trio.sleep(0.5)
        self.money += amount
        return "receipt"

    async def pay(self, amount: int) -> str:
        return await self.pay_by(step_key(), amount)

    async def pay_by(self, key: str, amount: int) -> str:
        await trio.sleep(0.5)
        if key not in self.keys:
            self.keys.add(key)
            self.money += amount
        return "receipt"

    async def pay_on_a_bad_line(self, amount: int) -> str:
        first = not self.keys
        receipt = await self.pay(amount)
        if first:
            raise OSError("the line is dead")
        return receipt

    def is_paid(self) -> bool:
        return self.money > 0

    def repay(self, amount: int) -> None:
        self.money -= amount

    def refund(self, amount: int) -> None:
        if step_key() not in self.keys:
            self.keys.add(step_key())
            self.money -= amount

    def open_shop(self) -> None:
        self.shop_is_open = True

    def sell(self) -> None:
        if self.shop_is_open:
            self.money = 10

    # -- what must hold ------------------------------------------------------------------------------

    def is_fair(self, life: Life) -> None:
        """All or nothing."""
        done = isinstance(life.outcome, Returned)
        assert self.money == (10 if done else 0), f"took {self.money}"
        assert bool(self.booked) == done, f"booked {self.booked}"

    def is_paid_once(self, life: Life) -> None:
        """The money is taken once, if the workflow has come to its end."""
        assert self.money == (10 if isinstance(life.outcome, Returned) else 0), f"took {self.money}"

    def is_tidy(self, life: Life) -> None:
        """Nothing is booked in the end."""
        assert not self.booked, f"booked {self.booked}"

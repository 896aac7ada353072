"""The shop that all hosts in this folder open: its orders are workflows, and know nothing of the web."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

import trio

from nurselog import mailbox, step, transaction, workflow, workflow_id

STORE = os.environ.get("SHOP_STORE", "sqlite:///shop.db")
DATABASES = {"books": "sqlite:///books.db"}
CREDIT = 1_000
"""Cents; orders of more than that wait until somebody approves."""


@dataclass(frozen=True)
class Receipt:
    """What a customer gets."""

    order: str
    item: str
    cents: int
    number: int


class Declined(Exception):
    """Somebody has looked at the order, and does not approve."""


@step
async def pack(item: str) -> None:  # noqa: ARG001 - a parcel would need it
    """Pack the parcel: an effect outside, at least once."""
    await trio.sleep(0.01)


@transaction(database="books")
def enter(books: sqlite3.Connection, order: str, cents: int) -> int:
    """Enter the order in the books, exactly once; return its number."""
    books.execute("CREATE TABLE IF NOT EXISTS sale (number INTEGER PRIMARY KEY, id TEXT, cents INTEGER)")
    [(number,)] = books.execute("INSERT INTO sale (id, cents) VALUES (?, ?) RETURNING number", (order, cents))
    return int(number)


@workflow
async def order(item: str, cents: int) -> Receipt:
    """Take an order, however long its approval needs."""
    if cents > CREDIT and not await mailbox("approval", bool).receive():
        raise Declined(f"nobody wants to sell the {item} for {cents} cents")
    await pack(item)
    return Receipt(workflow_id(), item, cents, await enter(workflow_id(), cents))

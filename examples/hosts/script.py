"""A plain script without any event loop, with an engine in a thread of its own.

    python examples/hosts/script.py

Orders in a loop, as a night's batch does. Killed and started again it goes on where it was, since each order has a name
of its own; what is done is done, and its receipt is in the store.
"""

from __future__ import annotations

from nurselog import open_engine_thread
from shop import DATABASES, STORE, order

WISHES = [("lamp", 900), ("vase", 300), ("book", 20)]

with open_engine_thread(STORE, [order], databases=DATABASES) as shop:
    for item, cents in WISHES:
        receipt = shop.run(order, item, cents, id=f"night-{item}")
        print(f"number {receipt.number}: the {receipt.item} for {receipt.cents} cents")
    print(f"orders in the store: {len(shop.list(name=order.name))}")

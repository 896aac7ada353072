"""Quart-Trio, and an engine in the same loop, around the server.

    python examples/hosts/quart_on_trio.py

It does what `fastapi_on_uvicorn.py` does, which says how to order, and needs `pip install quart-trio`. The engine is
open before the server is, and longer; if its store breaks, the server stops, and whoever supervises it starts another.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import trio
from quart import request
from quart_trio import QuartTrio

from answers import ANSWERS, KEY, KEY_PATTERN, explain
from hypercorn_on_trio import serve_until_told
from nurselog import Engine, open_engine
from shop import DATABASES, STORE, order

app = QuartTrio(__name__)


def shop() -> Engine:
    """Find the engine."""
    found: Engine = app.config["SHOP"]
    return found


@app.post("/orders")
async def place() -> Any:
    """Order something, and wait for the receipt. Who hangs up has Quart cancel this function, and not the order."""
    wish, key = await request.get_json(), request.headers.get(KEY, "")
    match wish:
        case {"item": str(item), "cents": int(cents)} if cents > 0 and re.match(KEY_PATTERN, key):
            return asdict(await shop().run(order, item, cents, id=key))
        case _:
            return {"error": "BadRequest", "detail": f"an order has an item, its cents and, as {KEY}, a name"}, 422


@app.get("/orders/<id>")
async def look(id: str) -> Any:
    """Say where an order stands."""
    return {"status": (await (await shop().get(id)).status()).value}


@app.post("/orders/<id>/approval")
async def approve(id: str) -> Any:
    """Say yes or no to a large order; the first word counts."""
    await shop().send(id, "approval", request.args.get("approved", "true") == "true", key="approval")
    return "", 202


async def answer(error: Exception) -> Any:
    """Answer with an error."""
    return explain(error), ANSWERS[type(error)]


for kind in ANSWERS:
    app.register_error_handler(kind, answer)


async def main() -> None:
    """Open the shop, and serve it."""
    async with open_engine(STORE, [order], databases=DATABASES) as app.config["SHOP"]:
        await serve_until_told(app)


if __name__ == "__main__":
    trio.run(main)

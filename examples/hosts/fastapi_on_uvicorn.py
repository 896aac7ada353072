"""FastAPI on uvicorn, which run on asyncio, and an engine in a thread of its own.

    python examples/hosts/fastapi_on_uvicorn.py

It listens on port 8000, or on the one that is given. To order something:

    curl http://127.0.0.1:8000/orders -H 'Idempotency-Key: a-1' --json '{"item": "lamp", "cents": 900}'

What costs more than 1,000 cents waits for approval, and outlives the server: stop that, start it again, approve, and
order once more with the same key.

    curl -X POST http://127.0.0.1:8000/orders/a-1/approval

It needs `pip install fastapi uvicorn`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, PositiveInt

from answers import ANSWERS, KEY_PATTERN, explain
from nurselog import AsyncClient, Status, open_engine_thread
from shop import DATABASES, STORE, Receipt, order

PATIENCE = 2
"""Seconds that requests under way get when the server stops; by default it would wait as long as they do."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, AsyncClient]]:  # noqa: ARG001 - FastAPI gives it
    """Run the engine as long as the application; when that stops, it suspends the workflows.

    When the engine breaks, the block is cancelled, and the server is told to stop, so that it is started anew: uvicorn
    only notes that a lifespan has failed.
    """
    try:
        async with open_engine_thread(STORE, [order], databases=DATABASES) as shop:
            yield {"shop": shop}
    except Exception:
        signal.raise_signal(signal.SIGTERM)
        raise


def of_request(request: Request) -> AsyncClient:
    """Find the engine's client."""
    shop: AsyncClient = request.state.shop
    return shop


async def answer(_: Request, error: Exception) -> JSONResponse:
    """Answer with an error."""
    return JSONResponse(explain(error), ANSWERS[type(error)])


Shop = Annotated[AsyncClient, Depends(of_request)]
Key = Annotated[str, Header(alias="Idempotency-Key", pattern=KEY_PATTERN)]
app = FastAPI(lifespan=lifespan, exception_handlers=dict.fromkeys(ANSWERS, answer))


class Wish(BaseModel):
    """What somebody wants."""

    item: str
    cents: PositiveInt


@app.post("/orders")
async def place(wish: Wish, key: Key, shop: Shop) -> Receipt:
    """Order something, and wait for the receipt. Who hangs up cancels nothing."""
    return await shop.run(order, wish.item, wish.cents, id=key)


@app.get("/orders/{id}")
async def look(id: str, shop: Shop) -> dict[str, Status]:
    """Say where an order stands."""
    return {"status": await (await shop.get(id)).status()}


@app.post("/orders/{id}/approval", status_code=202)
async def approve(id: str, shop: Shop, approved: bool = True) -> None:  # noqa: FBT001, FBT002 - as above; a query
    """Say yes or no to a large order; the first word counts."""
    await shop.send(id, "approval", approved, key="approval")


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 8000
    uvicorn.run(app, port=port, timeout_graceful_shutdown=PATIENCE)

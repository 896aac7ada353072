"""Starlette on Hypercorn under Trio, and an engine in the same loop. FastAPI's applications are Starlette's, too.

    python examples/hosts/starlette_on_trio.py

It does what `fastapi_on_uvicorn.py` does, which says how to order, and needs `pip install starlette 'hypercorn[trio]'`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import trio
from msgspec import Meta, Struct, ValidationError
from msgspec.json import decode
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from answers import ANSWERS, KEY, KEY_PATTERN, explain
from hypercorn_on_trio import serve_until_told
from nurselog import Engine, open_engine
from shop import DATABASES, STORE, order


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Engine]]:  # noqa: ARG001 - Starlette gives it
    """Run the engine as long as the application; when that stops, it suspends the workflows."""
    async with open_engine(STORE, [order], databases=DATABASES) as shop:
        yield {"shop": shop}


class Wish(Struct):
    """What somebody wants."""

    item: str
    cents: Annotated[int, Meta(gt=0)]


async def place(request: Request) -> Response:
    """Order something, and wait for the receipt. Who hangs up cancels nothing."""
    wish = decode(await request.body(), type=Wish)
    key = request.headers.get(KEY, "")
    if not re.match(KEY_PATTERN, key):
        raise HTTPException(422, f"{KEY} must have 1 to 200 ASCII characters, and no slash")
    return JSONResponse(asdict(await request.state.shop.run(order, wish.item, wish.cents, id=key)))


async def look(request: Request) -> Response:
    """Say where an order stands."""
    handle = await request.state.shop.get(request.path_params["id"])
    return JSONResponse({"status": (await handle.status()).value})


async def approve(request: Request) -> Response:
    """Say yes or no to a large order; the first word counts."""
    approved = request.query_params.get("approved", "true") == "true"
    await request.state.shop.send(request.path_params["id"], "approval", approved, key="approval")
    return Response(status_code=202)


async def answer(_: Request, error: Exception) -> Response:
    """Answer with an error."""
    return JSONResponse(explain(error), 422 if isinstance(error, ValidationError) else ANSWERS[type(error)])


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/orders", place, methods=["POST"]),
        Route("/orders/{id}", look),
        Route("/orders/{id}/approval", approve, methods=["POST"]),
    ],
    exception_handlers=dict.fromkeys([*ANSWERS, ValidationError], answer),
)

if __name__ == "__main__":
    trio.run(serve_until_told, app)

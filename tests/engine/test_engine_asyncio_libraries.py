"""Libraries that know nothing but asyncio, in steps: HTTP and databases, real ones on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from nurselog import (
    Retry,
    StepTimedOut,
    WasCancelled,
    attempt,
    move_on_after,
    open_engine,
    open_nursery,
    step,
    step_key,
    workflow,
)
from nurselog._flow.venue import Venue
from tests.neighbours import need

trio_asyncio: Any = need(Venue.ASYNCIO)
aiohttp: Any = pytest.importorskip("aiohttp")
aiosqlite: Any = pytest.importorskip("aiosqlite")
asyncpg: Any = pytest.importorskip("asyncpg")
sqlalchemy: Any = pytest.importorskip("sqlalchemy")
from aiohttp import web  # noqa: E402 - see above
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402 - see above


def aio(fn: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    return step(name=fn.__name__, asyncio=True, **options)(fn)


async def run(fn: Callable[[], Awaitable[Any]]) -> Any:
    """Run a function as a workflow in real time."""
    flow = workflow(name="flow")(fn)
    async with open_engine("sqlite://", [flow]) as engine:
        return await engine.run(flow, id="one")


# -- HTTP ----------------------------------------------------------------------------------------


class Server:
    """What a server of aiohttp's was asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.left = 0
        self.url = ""

    async def answer(self, request: Any) -> Any:
        self.keys.append(request.headers["Idempotency-Key"])
        if len(self.keys) == 1:
            raise web.HTTPServiceUnavailable
        return web.json_response({"paid": int(request.query["amount"])})

    async def hang(self, request: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            self.left += 1


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """Run a server in the application's loop, which is the steps' then."""
    server = Server()
    app = web.Application()
    app.add_routes([web.get("/pay", server.answer), web.get("/hang", server.hang)])
    runner = web.AppRunner(app, handler_cancellation=True)
    async with trio_asyncio.open_loop():
        await trio_asyncio.aio_as_trio(runner.setup)()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await trio_asyncio.aio_as_trio(site.start)()
        host, port = runner.addresses[0]
        server.url = f"http://{host}:{port}"
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await trio_asyncio.aio_as_trio(runner.cleanup)()


async def test_a_client_and_a_server_of_aiohttp() -> None:
    async with serving() as server:

        async def pay(amount: int) -> int:
            async with aiohttp.ClientSession(raise_for_status=True) as session:
                headers = {"Idempotency-Key": step_key()}
                async with session.get(f"{server.url}/pay", params={"amount": amount}, headers=headers) as response:
                    return int((await response.json())["paid"])

        async def flow() -> int:
            return int(await aio(pay, retry=Retry(attempts=3, delay=0, when=aiohttp.ClientResponseError))(7))

        assert await run(flow) == 7
        assert len(server.keys) == 2
        assert len(set(server.keys)) == 1, "both attempts have one key"


async def test_a_request_is_cancelled_and_timed_out() -> None:
    async with serving() as server:

        async def hang() -> None:
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/hang") as response:
                await response.read()

        async def flow() -> bool:
            with pytest.raises(StepTimedOut):
                await aio(hang, timeout=0.3)()
            with move_on_after(0.3) as scope:
                await aio(hang)()
            return scope.cancelled_caught

        assert await run(flow) is True
        with trio.fail_after(10):
            while server.left < 2:  # noqa: ASYNC110 - asyncio sets no Trio event
                await trio.sleep(0.01)


async def test_a_session_of_the_applications_serves_many_steps() -> None:
    async with serving() as server:
        session = await trio_asyncio.aio_as_trio(open_session)()
        try:

            async def pay(amount: int) -> int:
                headers = {"Idempotency-Key": step_key()}
                async with session.get(f"{server.url}/pay", params={"amount": amount}, headers=headers) as response:
                    return int((await response.json())["paid"]) if response.ok else 0

            async def flow() -> list[int]:
                async with open_nursery() as nursery:
                    handles = [nursery.go(aio(pay), amount) for amount in range(1, 9)]
                return sorted([await handle.result() for handle in handles])

            paid = await run(flow)
            assert paid[0] == 0
            assert len(paid) == 8
        finally:
            await trio_asyncio.aio_as_trio(session.close)()


async def open_session() -> Any:
    return aiohttp.ClientSession()


async def test_a_server_in_one_step_and_a_client_in_another() -> None:
    """In the engine's own loop."""
    ports: list[int] = []

    async def serve() -> str:
        served = asyncio.Event()

        async def answer(request: Any) -> Any:
            served.set()
            return web.Response(text=f"hello {request.path}")

        app = web.Application()
        app.add_routes([web.get("/{name}", answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(runner.addresses[0][1])
            await served.wait()
        finally:
            await runner.cleanup()
        return "served"

    async def ask() -> str:
        while not ports:  # noqa: ASYNC110 - of another step
            await asyncio.sleep(0.01)
        async with aiohttp.request("GET", f"http://127.0.0.1:{ports[0]}/you") as response:
            return str(await response.text())

    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            server = nursery.go(aio(serve))
            return [await aio(ask)(), await server.result()]

    assert await run(flow) == ["hello /you", "served"]


# -- databases -----------------------------------------------------------------------------------


def parts(url: str) -> dict[str, str]:
    """Return an address as asyncpg takes it."""
    found = urlsplit(url)
    options = {key: values[0] for key, values in parse_qs(found.query).items()}
    host = options.get("host") or found.hostname or "localhost"
    user = found.username or options.get("user") or "postgres"
    port = options.get("port") or str(found.port or 5432)
    return {"host": host, "port": port, "user": user, "database": found.path.strip("/")}


async def test_asyncpg(postgres_url: str) -> None:
    async def count() -> list[int]:
        connection = await asyncpg.connect(**parts(postgres_url))
        try:
            async with connection.transaction():
                await connection.execute("CREATE TABLE numbers (n int)")
                await connection.copy_records_to_table("numbers", records=[(n,) for n in range(5)])
                return [row["n"] async for row in connection.cursor("SELECT n FROM numbers ORDER BY n DESC")]
        finally:
            await connection.close()

    async def in_a_pool() -> int:
        async with asyncpg.create_pool(**parts(postgres_url), min_size=2, max_size=2) as pool:
            found = await asyncio.gather(*[pool.fetchval("SELECT $1::int", n) for n in range(6)])
        return sum(found)

    async def refused() -> None:
        connection = await asyncpg.connect(**parts(postgres_url))
        try:
            await connection.execute("SELECT 1/0")
        finally:
            await connection.close()

    async def flow() -> list[object]:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await aio(refused)()
        return [await aio(count)(), await aio(in_a_pool)()]

    assert await run(flow) == [[4, 3, 2, 1, 0], 15]


async def test_a_statement_of_asyncpgs_is_cancelled_on_the_server(postgres_url: str) -> None:
    async def sleep_there() -> None:
        connection = await asyncpg.connect(**parts(postgres_url))
        try:
            await connection.execute("SELECT pg_sleep(60) /* ours */")
        finally:
            await connection.close()

    async def sleepers() -> int:
        connection = await asyncpg.connect(**parts(postgres_url))
        try:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* ours */' AND state = 'active'"
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    async def until(wanted: int) -> None:
        while await aio(sleepers)() != wanted:  # noqa: ASYNC110 - of the server
            await trio.sleep(0.01)

    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(aio(sleep_there))
            await step(name="until")(until)(1)
            handle.cancel("enough")
            assert await handle.receive() == WasCancelled("enough", handle.path)
        await step(name="until")(until)(0)
        return "cancelled there, too"

    with trio.fail_after(30):
        assert await run(flow) == "cancelled there, too"


async def through_sqlalchemy(url: Any) -> list[object]:
    """Write and read, with an engine that lives as long as this."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("CREATE TABLE words (word varchar(9))"))
            rows = [{"word": word} for word in ("seed", "root")]
            await connection.execute(sqlalchemy.text("INSERT INTO words VALUES (:word)"), rows)
        async with engine.connect() as connection:
            result = await connection.stream(sqlalchemy.text("SELECT word FROM words ORDER BY word"))
            found = [row.word async for row in result]
        try:
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text("SELECT nonsense"))
        except sqlalchemy.exc.SQLAlchemyError as exc:
            found.append(type(exc).__name__)
        return found
    finally:
        await engine.dispose()


async def test_sqlalchemy_on_asyncpg(postgres_url: str) -> None:
    address = parts(postgres_url)
    url = sqlalchemy.URL.create(
        "postgresql+asyncpg",
        username=address["user"],
        database=address["database"],
        query={"host": address["host"], "port": address["port"]},
    )
    assert await run(lambda_of(url)) == ["root", "seed", "ProgrammingError"]


async def test_sqlalchemy_on_aiosqlite(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'words.db'}"
    assert await run(lambda_of(url)) == ["root", "seed", "OperationalError"]


def lambda_of(url: Any) -> Callable[[], Awaitable[list[object]]]:
    async def flow() -> list[object]:
        found: list[object] = await step(name="words", asyncio=True, check_arguments=False)(through_sqlalchemy)(url)
        return found

    return flow


async def test_aiosqlite(tmp_path: Path) -> None:
    async def write() -> int:
        async with aiosqlite.connect(tmp_path / "numbers.db") as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS numbers (n)")
            await connection.execute("INSERT INTO numbers VALUES (?)", (attempt(),))
            await connection.commit()
            if attempt() == 1:
                raise OSError
            async with connection.execute("SELECT sum(n) FROM numbers") as cursor:
                [total] = await cursor.fetchone()
        return int(total)

    async def flow() -> int:
        return int(await aio(write, retry=Retry(attempts=2, delay=0))())

    assert await run(flow) == 3

"""The trace of whoever starts a workflow goes on in it: of clients, of those beside an engine's thread, of outboxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider

from nurselog import AsyncClient, Client, Outbox, open_engine, open_engine_thread, step, workflow
from nurselog.telemetry import Traces
from tests.client.colours import Colour, play, play_beside
from tests.stores.callers import Act, Caller
from tests.telemetry.receiver import Receiver

Providers: TypeAlias = Callable[[], TracerProvider]


@step(name="wave")
async def wave() -> None: ...


@workflow(name="greet")
async def greet(name: str) -> str:
    await wave()
    return f"hello, {name}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def elsewhere(url: str, make_provider: Providers) -> AbstractContextManager[Client]:
    """An engine, as if it were another process's: only when it has ended has it sent all that it has to say."""
    return open_engine_thread(url, [greet], instruments=[Traces(make_provider())])


def belongs(receiver: Receiver, *requests: str) -> None:
    """See that each request has its own workflow, and nothing has another trace."""
    receiver.check()
    for request in requests:
        cause = receiver.named(request)
        [caused] = [span for span in receiver.spans if span.parent == cause.id]
        assert caused.name == "greet"
        assert caused.attributes["nurselog.workflow.id"] == request
        [within] = [span for span in receiver.spans if span.parent == caused.id]
        assert {span.name for span in receiver.spans if span.trace == cause.trace} == {request, "greet", within.name}
    assert len(receiver.spans) == 3 * len(requests)


NAMES = [f"r{number}" for number in range(5)]


def on(client: AsyncClient, provider: TracerProvider) -> Callable[[str], Coroutine[Any, Any, None]]:
    """Return what makes a request."""
    tracer = provider.get_tracer("web")

    async def request(name: str) -> None:
        with tracer.start_as_current_span(name):
            assert await client.run("greet", name, id=name) == f"hello, {name}"

    return request


async def all_at_once(client: AsyncClient, provider: TracerProvider) -> None:
    async with anyio.create_task_group() as tasks:
        for name in NAMES:
            tasks.start_soon(on(client, provider), name)


@pytest.mark.parametrize("colour", Colour)
def test_a_client_gives_its_callers_trace_along(
    colour: Colour, url: str, elsewhere: AbstractContextManager[Client], provider: TracerProvider, receiver: Receiver
) -> None:
    async def scene(client: AsyncClient) -> None:
        await on(client, provider)("one")

    with elsewhere:
        play(colour, url, scene, instruments=[Traces(provider)])
    belongs(receiver, "one")


@pytest.mark.parametrize("loop", [Colour.TRIO, Colour.ASYNCIO])
def test_tasks_of_one_client_have_each_their_own(
    loop: Colour, url: str, elsewhere: AbstractContextManager[Client], provider: TracerProvider, receiver: Receiver
) -> None:
    async def scene(client: AsyncClient) -> None:
        await all_at_once(client, provider)

    with elsewhere:
        play(loop, url, scene, instruments=[Traces(provider)])
    belongs(receiver, *NAMES)


@contextmanager
def in_threads(client: Client, provider: TracerProvider) -> Generator[None]:
    """Make all requests at once, each in a thread."""

    def request(name: str) -> None:
        with provider.get_tracer("web").start_as_current_span(name):
            client.run("greet", name, id=name)

    threads = [threading.Thread(target=request, args=(name,)) for name in NAMES]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def test_threads_of_one_client_have_each_their_own(
    url: str, elsewhere: AbstractContextManager[Client], provider: TracerProvider, receiver: Receiver
) -> None:
    with elsewhere, Client(url, instruments=[Traces(provider)]) as client, in_threads(client, provider):
        pass
    belongs(receiver, *NAMES)


def test_callers_of_an_engines_thread_have_each_their_own(
    url: str, provider: TracerProvider, receiver: Receiver
) -> None:
    with open_engine_thread(url, [greet], instruments=[Traces(provider)]) as client, in_threads(client, provider):
        pass
    belongs(receiver, *NAMES)


def test_tasks_beside_an_engines_thread_have_each_their_own(
    url: str, provider: TracerProvider, receiver: Receiver
) -> None:
    async def scene(client: AsyncClient) -> None:
        await all_at_once(client, provider)

    play_beside(Colour.ASYNCIO, lambda: open_engine_thread(url, [greet], instruments=[Traces(provider)]), scene)
    belongs(receiver, *NAMES)


def submit(provider: TracerProvider) -> Act:
    def act(outbox: Outbox, connection: Any) -> object:
        with provider.get_tracer("web").start_as_current_span("one"):
            answer: object = outbox.submit(connection, greet, "one", id="one")
        return answer  # on an async connection the span is over when it is awaited

    return act


@pytest.mark.parametrize("style", ["sync", "asyncio", "trio"])
async def test_an_outbox_gives_its_callers_trace_along(
    style: str, request: pytest.FixtureRequest, tmp_path: Path, make_provider: Providers, receiver: Receiver
) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}" if style == "sync" else request.getfixturevalue("postgres_url")
    web = make_provider()
    async with open_engine(url, [greet], instruments=[Traces(make_provider())]) as engine:
        await Caller(url, style, instruments=[Traces(web)]).do(submit(web))
        with trio.fail_after(60):
            assert await (await engine.get("one")).result() == "hello, one"
    belongs(receiver, "one")

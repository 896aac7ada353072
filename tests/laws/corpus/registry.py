"""The corpus: workflows that the laws are tried on, entered by a decorator, and the steps that they share."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

import nurselog
from nurselog import Retry, Workflow
from tests.laws.harness import as_workflow, chance, entered


@dataclass(frozen=True)
class Case:
    """A workflow of the corpus."""

    name: str
    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    cuts: int = 40
    """At how many places its log is cut at most."""
    threads: bool = False
    """Whether it has sync steps."""

    @property
    def slow(self) -> bool:
        """Whether it is too slow for every test, and for company."""
        return self.cuts <= 3


corpus: dict[str, Case] = {}


def whole_corpus() -> dict[str, Case]:
    """Return the workflows of all files in this folder."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return corpus


def case(**options: Any) -> Callable[[Callable[..., Awaitable[Any]]], Case]:
    """Enter an async function into the corpus, as a workflow; the options are those of `Case`."""

    def enter(fn: Callable[..., Awaitable[Any]]) -> Case:
        name = fn.__name__
        assert name not in corpus, f"two workflows of the corpus are called {name}"
        corpus[name] = Case(name, as_workflow(f"laws.{name}", fn), **options)
        return corpus[name]

    return enter


def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a step that tells the harness when its body is entered; like `nurselog.step` otherwise."""

    def decorate(fn: Callable[..., Any]) -> Any:
        @functools.wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> Any:
            entered()
            return await fn(*args, **kwargs)

        @functools.wraps(fn)
        def run_sync(*args: Any, **kwargs: Any) -> Any:
            entered()
            return fn(*args, **kwargs)

        return nurselog.step(**options)(run if inspect.iscoroutinefunction(fn) else run_sync)

    return decorate if fn is None else decorate(fn)


async def linger(longest: float) -> None:
    """Take some time; how much differs from life to life."""
    await trio.sleep(chance().random() * longest)


# -- steps ---------------------------------------------------------------------------------------


@step
async def fetch(i: int) -> int:
    await linger(0.003)
    return i * 10


@step
async def at_once(i: int) -> int:
    """Ends without a checkpoint."""
    return i + 1


@step
async def flaky(i: int) -> int:
    """Fails by chance, so that a body that runs again may end in another way."""
    await linger(0.002)
    if chance().random() < 0.3:
        raise ValueError(f"flaky {i}")
    return i


@step
async def fail(message: str) -> None:
    await linger(0.002)
    raise ValueError(message)


@step
async def slow(i: int) -> int:
    """Lasts until it is cancelled, and takes a moment to leave."""
    try:
        await trio.sleep(10)
    finally:
        with trio.CancelScope(shield=True):
            await linger(0.001)
    return i


@step
async def stubborn(i: int) -> list[Any]:
    """Ignores cancellation, and ends with a value."""
    with trio.CancelScope(shield=True):
        await linger(0.004)
    return ["finished anyway", i]


@step
async def spiteful(i: int) -> int:
    """Answers a cancellation with an error."""
    try:
        await linger(0.01)
    except trio.Cancelled:
        raise ValueError(f"cancelled {i}") from None
    return i


@step
async def crowded(i: int) -> int:
    """Has tasks of its own, and a plain deadline: no strand, and no business of the workflow."""
    with trio.move_on_after(0.001):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.0005)
            nursery.start_soon(trio.sleep, chance().random() * 0.002)
    return i


@step
async def refund(i: int) -> str:
    await trio.sleep(0.0002)
    return f"refunded {i}"


@step(retry=Retry(attempts=3, delay=0.001))
async def shaky(i: int) -> int:
    """Needs several attempts, and may need too many."""
    await linger(0.001)
    if chance().random() < 0.5:
        raise ConnectionError(f"shaky {i}")
    return i

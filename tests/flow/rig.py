"""Runs one workflow in virtual time, and once more from its own log, where nothing may come out differently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nurselog import Engine, workflow
from nurselog.lowlevel import Event
from tests.engine.rig import in_memory

T = TypeVar("T")


Outside = Callable[[Engine], Awaitable[object]]
"""What somebody else does while a workflow runs."""


async def play(fn: Callable[[], Awaitable[T]], outside: Outside | None = None, **options: Any) -> T:
    """Run `fn` as a workflow and return what it returns; what it returns must be encodable as it is.

    A replay of the whole log, up to its end, must come to the same value or error.
    """
    async with in_memory(**options) as engine:
        return await play_on(engine, fn, outside=outside)


async def play_on(
    engine: Engine, fn: Callable[[], Awaitable[T]], id: str = "played", outside: Outside | None = None
) -> T:
    flow = workflow(name="flow")(fn)
    handle = await engine.submit(flow, id=id)
    if outside is not None:
        await outside(engine)
    first = await _outcome(handle.result())
    log = await (await engine.get(id)).log()
    again = await _outcome((await engine.fork(id, at=len(log) - 1)).result())
    assert repr(again) == repr(first), f"a replay came to another end: {again!r}"
    if isinstance(first, BaseException):
        raise first
    return first  # type: ignore[no-any-return]  # what fn returned


async def _outcome(result: Awaitable[Any]) -> Any:
    try:
        return await result
    except Exception as exc:  # noqa: BLE001 - compared and raised
        return exc


async def events(engine: Engine, id: str = "played") -> list[Event]:
    """Return the events of a log."""
    return [entry.event for entry in await (await engine.get(id)).log()]

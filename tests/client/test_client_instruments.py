"""Those who look on in a client: they are told what it makes, and asked for what goes along with that."""

from __future__ import annotations

import pytest

from nurselog import AsyncClient
from nurselog.abc import Committed, Instrument, Life, Submitted
from nurselog.lowlevel import Started
from tests.client.colours import Colour, play
from tests.engine.watching import Painter, Watcher
from tests.engine.watching import colour as paint


async def headers_of(client: AsyncClient, id: str) -> dict[str, str]:
    [started, *_] = await (await client.get(id)).log()
    assert isinstance(started.event, Started)
    return started.event.headers


def test_they_are_told_what_the_client_does(colour: Colour, url: str) -> None:
    watcher, painter = Watcher(), Painter("red")

    async def scene(client: AsyncClient) -> None:
        token = paint.set("blue")
        for _ in range(2):  # the second time it is there
            await client.submit("order", 1, id="one")
        paint.reset(token)
        await client.submit("order", 2, id="two")
        await client.fork("one", at=1, new_id="three")
        assert [await headers_of(client, id) for id in ("one", "two", "three")] == [
            {"red": "blue:"}, {"red": "none:"}, {"red": "blue:"},
        ]  # fmt: skip

    play(colour, url, scene, instruments=[watcher, painter])
    assert [(what.id, what.started.headers["red"]) for what in watcher.of(Submitted)] == [
        ("one", "blue:"), ("two", "none:"), ("three", "blue:"),
    ]  # fmt: skip
    assert [what.rows for what in watcher.of(Committed)] == [1, 0, 1, 2]
    assert set(watcher.names()) == {"Submitted", "Committed"}
    assert painter.asked == [(None, "")] * 3


def test_one_that_raises_does_no_harm(colour: Colour, url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Instrument):
        def headers(self, parent: Life | None, scope: str) -> dict[str, str]:
            raise ValueError(parent, scope)

    async def scene(client: AsyncClient) -> None:
        for number in range(2):
            await client.submit("order", number, id=f"o-{number}")
        assert await headers_of(client, "o-1") == {"red": "none:"}

    play(colour, url, scene, instruments=[Broken(), Painter("red")])
    [record] = caplog.records
    assert "it is told nothing more" in record.getMessage()

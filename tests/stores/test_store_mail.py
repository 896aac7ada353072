"""Messages that are left: what the checks of all stores cannot see, or need not ask of others."""

from __future__ import annotations

from nurselog.abc import Posted, WorkflowKey
from nurselog.testing.stores.records import create, creation, note
from tests.stores.kit import opened

LEFT, ENDED, KNOWN, FULL = Posted.LEFT, Posted.ENDED, Posted.KNOWN, Posted.FULL


async def test_smoke(file_url: str) -> None:
    async with opened(file_url) as store:
        [one, two] = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        posts = [
            note(one, b"1", once="x"),
            note(WorkflowKey(99), once="x"),
            note(one, b"2", once="x"),
            note(two, b"3", once="x\0y"),
            note(one, b"4", most=1),
            note(one, b"5", most=2),
            note(one, b"6", most=2, once="y"),
            note(one, b"7", most=3, once="y"),
        ]
        assert await store.post(posts) == [LEFT, ENDED, KNOWN, LEFT, FULL, LEFT, FULL, LEFT]
        assert await store.post([
            note(two, once="x\0y"),
            note(one, once="y", most=1),
            note(one, most=3),
            note(one, most=4),
        ]) == [KNOWN, KNOWN, FULL, LEFT]
        assert [m.body for m in await store.messages()] == [b"1", b"3", b"5", b"7", b"hello"]
        assert await store.post([]) == []
        many = [note(two, b"%d" % n) for n in range(5000)]
        await store.post(many)
        assert [m.body for m in await store.messages() if m.key == two][1:] == [m.body for m in many]

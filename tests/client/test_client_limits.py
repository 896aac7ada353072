"""`fail_after` in sync code: how long the calls of a block may take, wherever it begins and ends."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Iterator

import pytest

from nurselog._client.bridges import Bridge
from tests.client.place import Place, in_sync, twice


def test_sync_code_does_not_wait_for_ever() -> None:
    def scene(place: Place, bridge: Bridge) -> None:
        with bridge.fail_after(1000):
            assert bridge.call(twice, 1) == 2
            with bridge.fail_after(0.001), bridge.fail_after(1000):
                with pytest.raises(TimeoutError, match="longer"):
                    bridge.call(place.wait_for_ever)
                with pytest.raises(TimeoutError):
                    bridge.call(place.wait_for_ever)
            assert bridge.call(twice, 2) == 4
        assert bridge._left() == math.inf

    assert in_sync(scene) == ["let go", "let go", "closed"]


def test_a_limit_ends_with_its_block_though_blocks_do_not_nest() -> None:
    """A generator's block begins and ends when its reader comes, between blocks of the reader's own."""

    def scene(_: Place, bridge: Bridge) -> None:
        def reading(seconds: float) -> Iterator[int]:
            with bridge.fail_after(seconds):
                yield bridge.call(twice, 1)

        short, long = reading(100), reading(1000)
        assert next(short) == 2
        with bridge.fail_after(500):
            assert next(long) == 2
            assert 0 < bridge._left() <= 100
            short.close()
            assert 100 < bridge._left() <= 500
        assert 500 < bridge._left() <= 1000
        long.close()
        assert bridge._left() == math.inf

    assert in_sync(scene) == ["closed"]


def test_a_block_may_be_left_in_another_context() -> None:
    """Web servers take each step of a generator in a context of its own."""

    def scene(_: Place, bridge: Bridge) -> None:
        block = bridge.fail_after(100)
        block.__enter__()
        elsewhere = contextvars.copy_context()
        assert elsewhere.run(bridge._left) <= 100
        elsewhere.run(block.__exit__, None, None, None)
        assert elsewhere.run(bridge._left) == bridge._left() == math.inf
        assert bridge.call(twice, 1) == 2

    assert in_sync(scene) == ["closed"]

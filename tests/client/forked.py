"""A program that opens a client in a colour, forks, and asks it in the child; it says what the child was told."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import partial

import anyio

from nurselog import Client, UsageError, open_client


def child_of(ask: Callable[[], object]) -> None:
    """Ask in a child, and wait for it."""
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        ask()
    except UsageError as exc:
        os.write(1, str(exc).encode())
    os._exit(0)


def in_sync(url: str) -> None:
    with Client(url) as client:

        def ask() -> None:
            try:
                client.list()
            finally:
                client.close()  # as leaving the block does

        child_of(ask)
        client.list()


async def in_async(url: str) -> None:
    async with open_client(url) as client:

        def ask() -> None:
            client.list().send(None)  # type: ignore[attr-defined]  # it is a coroutine

        child_of(ask)
        await client.list()


if __name__ == "__main__":
    _, url, colour = sys.argv
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
    if colour == "sync":
        in_sync(url)
    else:
        anyio.run(partial(in_async, url), backend=colour)

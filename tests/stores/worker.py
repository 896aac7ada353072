"""A worker for tests that kill it: `python -m tests.stores.worker URL ID LEASE NOW` obeys commands, one a line.

It answers each with one line of JSON. Its clock stands still: its lease is over when others say so.
"""

from __future__ import annotations

import json
import sys

import trio

from nurselog.abc import Append, WorkflowKey
from nurselog.testing.stores.records import StandingClock, append, claim_due, create, creation, rows
from tests.stores.kit import opened


async def main(url: str, worker: str, lease: int, now: int) -> None:
    async with opened(url, StandingClock(now), worker, lease) as store:
        say("open")
        async for line in trio.wrap_file(sys.stdin):
            match line.split():
                case ["create", *ids]:
                    say(await create(store, *(creation(id, 7, owner=worker) for id in ids)))
                case ["append", key, first, last]:
                    batch = Append(key=WorkflowKey(int(key)), rows=rows(int(first), int(last), 7))
                    say(bool(await append(store, batch)))
                case ["claim"]:
                    say([claim.workflow.id for claim in await claim_due(store, worker)])
                case ["renew"]:
                    say(await store.renew())


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    address, name, microseconds, time = sys.argv[1:]
    trio.run(main, address, name, int(microseconds), int(time))

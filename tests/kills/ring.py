"""A process that runs a ring of workflows, each of which passes tokens on to the next one, until it is killed.

    python -m tests.kills.ring URL SEATS ROUNDS

Each seat puts a token into the ring. A round is over when every token has gone from one seat to the next. A token that
is lost is waited for for ever; one that comes twice, or out of order, fails the seat that gets it: which token comes in
which round is known beforehand. The process says `up`, and at the end how often tokens were passed, all in all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import trio

from nurselog import Engine, Letter, WorkflowEnded, mailbox, open_engine, send, workflow

LEASE = 3.0


def seat_id(place: int) -> str:
    return f"seat-{place}"


@workflow(name="ring.seat")
async def seat(place: int, seats: int, rounds: int) -> int:
    """Pass on what comes; return how often the last token that came has been passed."""
    await mailbox("all seats are taken").receive()
    tokens, following = mailbox("token", tuple[int, int]), seat_id((place + 1) % seats)
    token = (place, 0)
    for passed in range(1, rounds + 1):
        await send(following, "token", (token[0], passed))
        token = await tokens.receive()
        expected = ((place - passed) % seats, passed)
        assert token == expected, f"{token} has come to seat {place}, and not {expected}"
    return token[1]


async def begin(engine: Engine, seats: int) -> None:
    """Say that everybody is there; whoever has heard it hears it no more."""
    try:
        await engine.send_all([Letter(seat_id(place), "all seats are taken", None, "begin") for place in range(seats)])
    except* WorkflowEnded:
        pass


async def passes(engine: Engine, seats: int) -> Sequence[int]:
    """Return how often the last token of each seat was passed."""
    return [await (await engine.get(seat_id(place))).result() for place in range(seats)]


async def main(url: str, seats: int, rounds: int) -> None:
    async with open_engine(url, [seat], lease=LEASE) as engine:
        print("up", flush=True)
        async with trio.open_nursery() as nursery:
            for place in range(seats):
                nursery.start_soon(lambda place=place: engine.submit(seat, place, seats, rounds, id=seat_id(place)))
        await begin(engine, seats)
        print(sum(await passes(engine, seats)), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

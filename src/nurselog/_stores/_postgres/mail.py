"""Leaving messages, one round trip for each shard, and telling those who own the workflows that got some."""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Addressed, Change, Message, Post, Posted
from .binary import Parameter, byteas, column, int4, int8, int8s, number, number_or_none, string, string_or_none, texts
from .driver import TrioConnection
from .session import Session

_LEAVE = b"SELECT * FROM leave_messages($1, $2, $3, $4, $5, $6)"

_LEAVE_EARLY = b"SELECT * FROM leave_early($1, $2, $3, $4, $5, $6, $7)"


async def post(
    connection: TrioConnection, session: Session, shard: int, posts: Sequence[Post]
) -> list[Posted | Message]:
    """Leave messages for workflows of one shard, and make them due."""
    result = await connection.call(_LEAVE, [int4(shard), *letters(posts)])
    became = [Posted(word) for word in column(result, 1, string)]
    owners, numbers = column(result, 2, string_or_none), column(result, 3, number_or_none)
    await tell(connection, session, {owner for owner, one in zip(owners, became, strict=True) if one is Posted.LEFT})
    answers: dict[int, Posted | Message] = {}
    for place, word, first in zip(column(result, 0, number), became, numbers, strict=True):
        one = posts[place - 1]
        answers[place] = word if first is None else Message(number=first, key=one.key, kind=one.kind, body=one.body)
    return [answers[place] for place in range(1, 1 + len(posts))]


async def post_early(
    connection: TrioConnection, session: Session, shard: int, messages: Sequence[Addressed], now: int
) -> list[Posted]:
    """Leave messages for workflows of one shard that need not be there yet."""
    became = dict[int, Posted]()
    while places := [place for place in range(len(messages)) if place not in became]:
        some = [messages[place] for place in places]  # all, but where a workflow came into being meanwhile
        result = await connection.call(_LEAVE_EARLY, [int4(shard), int8(now), *_addressed(some)])
        words, owners = column(result, 1, string), column(result, 2, string_or_none)
        await tell(connection, session, {owner for owner, word in zip(owners, words, strict=True) if word == "left"})
        for number_, word in zip(column(result, 0, number), words, strict=True):
            became[places[number_ - 1]] = Posted.LEFT if word == "kept" else Posted(word)
    return [became[place] for place in range(len(messages))]


async def tell(connection: TrioConnection, session: Session, owners: set[str | None]) -> None:
    """Tell those who own workflows that got messages; None: one has no owner, and whoever comes first may claim it."""
    if None in owners:
        session.voice.news({Change.DUE})
    if workers := {owner for owner in owners if owner is not None}:
        await session.voice.mail(connection, workers)


def _addressed(messages: Sequence[Addressed]) -> tuple[Parameter, ...]:
    return (
        texts([one.id for one in messages]),
        texts([one.kind for one in messages]),
        byteas([one.body for one in messages]),
        texts([one.once for one in messages]),
        int8s([one.most for one in messages]),
    )


def letters(posts: Sequence[Post]) -> tuple[Parameter, ...]:
    """Return the parameters that messages are made of."""
    return (
        int8s([post.key for post in posts]),
        texts([post.kind for post in posts]),
        byteas([post.body for post in posts]),
        texts([post.once for post in posts]),
        int8s([post.most for post in posts]),
    )

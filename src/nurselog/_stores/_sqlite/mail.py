"""Leaving messages: each once only, for workflows that have not ended and in whose inbox there is room.

What becomes of a message depends on those before it in the same call, so it cannot be one statement's condition. But a
transaction has the write lock from its beginning: what was looked at stays as it is. So there are a few looks, for all
of them together, a decision in Python, and a few writes.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from ...abc import Message, Post, Posted, WorkflowKey
from .bulk import FINAL, MessageLine, Query, as_json, insert_messages, transaction
from .session import Session

_LIVING = Query(
    msgspec.json.Decoder(list[WorkflowKey]),
    "key",
    """
    workflow
    WHERE key IN (SELECT value FROM json_each(:keys)) AND status NOT IN (SELECT value FROM json_each(:final))""",
)

# Their places among `words`, not the words: what JSON makes of a NUL in a text is not what it was.
_KNOWN = Query(
    msgspec.json.Decoder(list[int]),
    "word.key",
    """
    json_each(:words) AS word
    JOIN message_key ON workflow = json_extract(word.value, '$[0]') AND once = json_extract(word.value, '$[1]')""",
)

_WAITING = Query(
    msgspec.json.Decoder(list[tuple[WorkflowKey, int]]),
    "json_array(key, (SELECT count(*) FROM (SELECT 1 FROM message WHERE workflow = key LIMIT :most)))",
    "(SELECT value AS key FROM json_each(:keys))",
)

_REMEMBER = """
    INSERT INTO message_key (workflow, once)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:words)"""

_WAKE = "UPDATE workflow SET due_at = 0 WHERE key IN (SELECT value FROM json_each(:keys)) AND due_at IS NOT 0"


class _Word(NamedTuple):
    """What says that a message is the same as another one."""

    workflow: WorkflowKey
    once: str


class _Inboxes(NamedTuple):
    """What decides on messages."""

    living: frozenset[WorkflowKey]
    """Workflows that have not ended."""
    known: set[_Word]
    waiting: Counter[WorkflowKey]
    """How many messages wait, for workflows that have a bound, and up to the highest one."""
    empty: frozenset[WorkflowKey]
    """Workflows that have a bound, and for which nothing waited."""

    def judge(self, post: Post) -> Posted:
        """Decide on a message, and count it for those that come after it."""
        word = None if post.once is None else _Word(post.key, post.once)
        if word in self.known:
            return Posted.KNOWN
        if post.key not in self.living:
            return Posted.ENDED
        if post.most is not None and self.waiting[post.key] >= post.most:
            return Posted.FULL
        self.waiting[post.key] += 1
        if word:
            self.known.add(word)
        return Posted.LEFT


def post(session: Session, posts: Sequence[Post]) -> list[Posted | Message]:
    """Leave messages, and make their workflows due."""
    session.wrote = True
    with transaction(session.connection):
        return leave(session.connection, posts)


def leave(connection: sqlite3.Connection, posts: Sequence[Post]) -> list[Posted | Message]:
    """Do the same inside a transaction."""
    inboxes = _look(connection, posts)
    became: list[Posted | Message] = [inboxes.judge(post) for post in posts]
    places = [place for place, one in enumerate(became) if one is Posted.LEFT]
    left = [posts[place] for place in places]
    if left:
        numbers = insert_messages(connection, [MessageLine(p.key, p.kind, p.body, at) for at, p in enumerate(left)])
        connection.execute(_WAKE, {"keys": as_json({post.key for post in left})})
        for number, place, one in zip(numbers, places, left, strict=True):
            if one.key in inboxes.empty:
                became[place] = Message(number=number, key=one.key, kind=one.kind, body=one.body)
    if words := list(_words(left)):
        connection.execute(_REMEMBER, {"words": as_json(words)})
    return became


def _look(connection: sqlite3.Connection, posts: Sequence[Post]) -> _Inboxes:
    living = _LIVING.fetch(connection, keys=as_json({post.key for post in posts}), final=FINAL)
    known: set[_Word] = set()
    if words := list(dict.fromkeys(_words(posts))):
        known = {words[place] for place in _KNOWN.fetch(connection, words=as_json(words))}
    waiting: Counter[WorkflowKey] = Counter()
    if bounds := [(post.most, post.key) for post in posts if post.most is not None]:
        keys = as_json({key for _, key in bounds})
        waiting.update(dict(_WAITING.fetch(connection, keys=keys, most=max(bounds)[0])))
    empty = frozenset(key for key, count in waiting.items() if not count)
    return _Inboxes(frozenset(living), known, waiting, empty)


def _words(posts: Sequence[Post]) -> Iterator[_Word]:
    return (_Word(post.key, post.once) for post in posts if post.once is not None)

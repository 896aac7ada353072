"""Databases and stores that are wrong on purpose: the judge must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from nurselog._engine.messages import Kind, body_of
from nurselog.abc import (
    Append,
    Batch,
    Claim,
    Created,
    Creation,
    Message,
    Post,
    Posted,
    Receipt,
    Standing,
    WorkflowKey,
)
from nurselog.lowlevel import ChildEnded, Result
from tests.simulation.database import Database
from tests.simulation.store import SimulatedStore

Breakage = Callable[[], AbstractContextManager[Any]]


def no_fence() -> AbstractContextManager[Any]:
    """Whoever comes may write."""
    return patch.object(Database, "passes", lambda *_: True)


def fence_by_owner() -> AbstractContextManager[Any]:
    """Who owns a workflow may write, also what it had to say before it was taken over."""

    def passes(self: Database, worker: str, append: Append) -> bool:
        return self.workflows[append.key].owner == worker

    return patch.object(Database, "passes", passes)


def hasty_answers() -> AbstractContextManager[Any]:
    """A commit is answered, and kept a moment later."""
    write = SimulatedStore._write

    def hasty(self: SimulatedStore, batch: Batch, now: int) -> Receipt:
        if batch.creations or not self._network.happens(0.2):
            return write(self, batch, now)
        self._network.later(lambda: write(self, batch, now))
        return Receipt()

    return patch.object(SimulatedStore, "_write", hasty)


def forgotten_commits() -> AbstractContextManager[Any]:
    """A commit is answered, and sometimes not kept."""
    append = Database._append

    def forgetful(self: Database, worker: str, one: Append, now: int) -> bool:
        return self._random.random() < 0.01 or append(self, worker, one, now)

    return patch.object(Database, "_append", forgetful)


def eternal_leases() -> AbstractContextManager[Any]:
    """A worker that has died without a sign is never found."""
    return patch.object(Database, "is_alive", lambda self, worker: worker in self.workers)


def stale_claims() -> AbstractContextManager[Any]:
    """Whoever takes a workflow over reads its log as it was before the last rows."""
    take = Database._take

    def stale(self: Database, worker: str, key: WorkflowKey, writer: int, now: int) -> Claim:
        claim = take(self, worker, key, writer, now)
        if len(claim.rows) < 4:
            return claim
        return replace(claim, rows=[*claim.rows[:-2], replace(claim.rows[-1], seq=claim.rows[-1].seq - 1)])

    return patch.object(Database, "_take", stale)


def lost_claims() -> AbstractContextManager[Any]:
    """A claim whose answer was lost is never undone."""
    return patch.object(Database, "undo", lambda *_: None)


def two_of_one_id() -> AbstractContextManager[Any]:
    """A creation whose answer was lost is made again."""

    def create_all(self: Database, creations: Sequence[Creation]) -> Any:
        for creation in creations:
            yield Created(workflow=self.workflows[self._create(creation)], new=True)

    return patch.object(Database, "_create_all", create_all)


def lost_creations() -> AbstractContextManager[Any]:
    """A creation that was written, and whose answer was lost, is taken for another one's."""
    return patch.object(Database, "_is_own", lambda *_: False)


def mail_kept() -> AbstractContextManager[Any]:
    """Messages stay when they have been entered."""
    append = Database._append

    def keeping(self: Database, worker: str, one: Append, now: int) -> bool:
        return append(self, worker, replace(one, taken=()), now)

    return patch.object(Database, "_append", keeping)


def mail_lost() -> AbstractContextManager[Any]:
    """Messages that come while a workflow leaves memory go with it."""
    stand = Database._stand

    def losing(self: Database, key: WorkflowKey, new: Standing, now: int) -> None:
        if new.release:
            for number in [message.number for message in self._mail([key])]:
                del self.messages[number]
        stand(self, key, new, now)

    return patch.object(Database, "_stand", losing)


def last_word_late() -> AbstractContextManager[Any]:
    """What a late commit says of a workflow counts, whatever has come since."""

    def append(self: Database, worker: str, one: Append, now: int) -> bool:
        done = before(self, worker, replace(one, standing=None), now)
        if done and one.standing:
            self._stand(one.key, one.standing, now)
        return done

    before = Database._append
    return patch.object(Database, "_append", append)


def words_forgotten() -> AbstractContextManager[Any]:
    """What is to be left once is left each time."""
    leave = Database._leave
    return patch.object(Database, "_leave", lambda self, post: leave(self, replace(post, once=None)))


def bounds_forgotten() -> AbstractContextManager[Any]:
    """There is room for all messages."""
    leave = Database._leave
    return patch.object(Database, "_leave", lambda self, post: leave(self, replace(post, most=None)))


def mail_of_the_refused() -> AbstractContextManager[Any]:
    """Messages are left of appends that are refused."""
    commit = Database.commit

    def writing(self: Database, worker: str, batch: Batch, now: int) -> Receipt:
        receipt = commit(self, worker, batch, now)
        for one in batch.appends:
            if one.key in receipt.refused:
                self.post(one.posts)
        return receipt

    return patch.object(Database, "commit", writing)


def mail_of_appends_lost() -> AbstractContextManager[Any]:
    """Of the messages of an append only the first is left."""
    commit = Database.commit

    def writing(self: Database, worker: str, batch: Batch, now: int) -> Receipt:
        return commit(self, worker, replace(batch, appends=[replace(a, posts=a.posts[:1]) for a in batch.appends]), now)

    return patch.object(Database, "commit", writing)


def mail_taken_apart() -> AbstractContextManager[Any]:
    """What is taken from an inbox goes in a commit of its own."""
    write = SimulatedStore._write

    def apart(self: SimulatedStore, batch: Batch, now: int) -> Receipt:
        if taken := [Append(key=one.key, taken=one.taken) for one in batch.appends if one.taken]:
            write(self, Batch(appends=taken), now)
        return write(self, batch, now)

    return patch.object(SimulatedStore, "_write", apart)


def mail_turned() -> AbstractContextManager[Any]:
    """Last in, first out."""
    mail = Database._mail

    def turned(self: Database, keys: Collection[WorkflowKey]) -> Iterator[Message]:
        return reversed(list(mail(self, keys)))

    return patch.object(Database, "_mail", turned)


def cancels_lost() -> AbstractContextManager[Any]:
    """What somebody outside cancels is answered as left, and not kept."""
    leave = Database._leave

    def losing(self: Database, post: Post) -> Posted:
        return Posted.LEFT if post.kind == Kind.CANCEL.value and post.once is None else leave(self, post)

    return patch.object(Database, "_leave", losing)


def letters_doubled() -> AbstractContextManager[Any]:
    """Messages are left twice."""
    leave = Database._leave

    def doubling(self: Database, post: Post) -> Posted:
        if post.kind == Kind.SEND.value:
            leave(self, replace(post, once=None))
        return leave(self, post)

    return patch.object(Database, "_leave", doubling)


def promises_open() -> AbstractContextManager[Any]:
    """A promise can be settled again."""
    leave = Database._leave

    def again(self: Database, post: Post) -> Posted:
        return leave(self, replace(post, once=None) if post.kind == Kind.SETTLE.value else post)

    return patch.object(Database, "_leave", again)


def children_of_the_refused() -> AbstractContextManager[Any]:
    """Children are made of parents that are refused."""
    commit = Database.commit

    def making(self: Database, worker: str, batch: Batch, now: int) -> Receipt:
        created = list(self._create_all(batch.creations))
        return replace(commit(self, worker, replace(batch, creations=()), now), created=created)

    return patch.object(Database, "commit", making)


def children_given_up() -> AbstractContextManager[Any]:
    """A parent hears that a child has ended as soon as that is told to."""
    leave = Database._leave

    def giving_up(self: Database, post: Post) -> Posted:
        if _is_recall(post):
            child = self.workflows[post.key]
            assert child.parent is not None
            path = child.id.rpartition("/")[2]
            body = body_of(event=ChildEnded(path=path, result=Result.CANCELLED))
            leave(self, Post(key=child.parent, kind=Kind.ENDED.value, body=body, once=f"ended {path}"))
        return leave(self, post)

    return patch.object(Database, "_leave", giving_up)


def recalls_lost() -> AbstractContextManager[Any]:
    """What tells a child to end is lost."""
    leave = Database._leave
    return patch.object(Database, "_leave", lambda self, post: Posted.LEFT if _is_recall(post) else leave(self, post))


def _is_recall(post: Post) -> bool:
    return post.kind == Kind.CANCEL.value and post.once is not None

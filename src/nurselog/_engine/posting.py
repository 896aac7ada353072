"""Leaving messages, many at once: each call of the store takes along what was posted while the one before was made.

The journal does the same with rows. Without it a hundred workflows that write to each other are a hundred transactions,
one after another; with it they are one or two.

What was left is entered here, or a look for it is asked for, for all callers together and before they go on: they may
go on in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .._errors import StoreUnavailable
from ..abc import Message, Post, Posted, Store
from .owning import Owning

MOST = 1_000
"""Posts in one call; those of one caller stay together, however many they are."""


class _Bundle:
    """What one caller has to post."""

    __slots__ = ("answers", "error", "posts")

    def __init__(self, posts: Sequence[Post]) -> None:
        self.posts: Sequence[Post] = posts
        self.answers: Sequence[Posted] | None = None
        self.error: Exception | None = None


class Posting:
    """Leaves messages in a store, and has them entered."""

    def __init__(self, store: Store, ownership: Owning) -> None:
        self._store, self._ownership = store, ownership
        self._queued: list[_Bundle] = []
        self._calling = trio.Lock()

    # Protected, because the call is made for others, too.
    @trio.lowlevel.enable_ki_protection
    async def leave(self, posts: Sequence[Post]) -> Sequence[Posted]:
        """Leave messages; return what became of each. A checkpoint; when cancelled, it leaves them first.

        Raises:
            StoreError: if the call failed that they were in; it says nothing about what became of them.
        """
        bundle = _Bundle(posts)
        self._queued.append(bundle)
        with trio.CancelScope(shield=True):
            async with self._calling:
                if bundle.answers is None and bundle.error is None:  # else somebody has taken it along
                    await self._post(self._next())
        if bundle.error is not None:
            raise bundle.error
        assert bundle.answers is not None
        return bundle.answers

    def _next(self) -> list[_Bundle]:
        """Take what one call may have out of the queue."""
        taken, count = 0, 0
        for bundle in self._queued:
            count += len(bundle.posts)
            if taken and count > MOST:
                break
            taken += 1
        bundles, self._queued = self._queued[:taken], self._queued[taken:]
        return bundles

    async def _post(self, bundles: Sequence[_Bundle]) -> None:
        posts = [post for bundle in bundles for post in bundle.posts]
        arrived = self._ownership.arrival(frozenset(post.key for post in posts))
        try:
            answers = await self._store.post(posts)
        except Exception as exc:  # noqa: BLE001 - it is everybody's
            for bundle in bundles:
                bundle.error = _twin(exc)
            arrived(())  # an answer that was lost says nothing about the messages
        except BaseException:  # an interrupt is for who makes the call, and the others must hear something, too
            for bundle in bundles:
                bundle.error = StoreUnavailable("the call was interrupted; the messages in it may have been left")
            arrived(())
            raise
        else:
            became = map(Posted.of, answers)
            for bundle in bundles:
                bundle.answers = [next(became) for _ in bundle.posts]
            arrived([answer for answer in answers if isinstance(answer, Message)])


def _twin(error: Exception) -> Exception:
    """Return an error once more. Who raises one adds to its traceback, so of those who raise it each needs his own."""
    twin = type(error).__new__(type(error), *error.args)
    vars(twin).update(vars(error))
    twin.__cause__ = error.__cause__
    return twin.with_traceback(error.__traceback__)

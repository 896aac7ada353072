"""The SQLite store: the embedded default, one file and no server.

The store proper is a set of plain functions in `_sqlite`, each one job: one or a few statements on one connection. This
module gives them their place in Trio: a job is handed to an executor, and SQLite's errors become the store's. What a
job needs to know of Trio's side, the time, is asked before it is handed over: a clock may be Trio's own, which cannot
be read in another thread. So "now" is when the call was made, not when the lock was got; for leases that errs on the
safe side.

Where to look: `_sqlite/bulk` has the statements that speed rests on, and says why; `_sqlite/commits` the fence;
`_sqlite/claims` and `_sqlite/workers` who owns what; `_sqlite/deletion` what is removed; `_sqlite/beacon` how the dead
are found; `_sqlite/schema` what happens to a file that is opened.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar, final

import msgspec
import trio

from .._errors import StoreError, StoreUnavailable, UsageError
from .._log.events import Row
from ..abc import (
    Addressed,
    Batch,
    Change,
    Claim,
    Clock,
    Database,
    Deleted,
    Filter,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Wanted,
    Workflow,
    WorkflowKey,
)
from ._sqlite import claims, commits, deletion, early, mail, queries, workers
from ._sqlite.executors import Executor, InlineExecutor, ThreadExecutor
from ._sqlite.faults import translate
from ._sqlite.schema import CHECKPOINT_PAGES, PAGE, Location, Synchronous, connect
from ._sqlite.session import NOBODY, Session
from ._sqlite.strides import Strides
from ._sqlite.transactions import FOREIGN, OWN, SqliteDatabase

P = ParamSpec("P")
T = TypeVar("T")

POLL = 0.05
"""Seconds between two looks at whether another process has written; each costs one pragma."""

_ADDRESS = re.compile(r"sqlite://(?:/(?P<path>[^?\0]+)(?:\?synchronous=(?P<synchronous>full|normal))?)?")

_NAME = re.compile(r"[^\ud800-\udfff]+")
"""A file's name, which a beacon's is made of: in the database it is text, so bytes that are none cannot be in it."""


@final
class SqliteStore:
    """A `Store` in a SQLite database. Not constructed directly: use `open_store`."""

    def __init__(self, location: Location, executor: Executor, clock: Clock) -> None:
        self._location = location
        self._executor, self._clock = executor, clock
        self._session: Session | None = None
        inline = isinstance(executor, InlineExecutor)
        self.database: Database = SqliteDatabase(
            location, OWN, inline=inline, store=lambda: self._open_session.connection
        )
        """Where the application's transactions run."""
        self._unavailable = False
        """Whether the last call has waited in vain."""
        self._blind = False
        """Whether the last look at what others have written has failed, or was cut short."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use it: a file may be, a database in memory is nobody else's."""
        return self._location.path is not None

    @property
    def polls(self) -> bool:
        """Whether `wait_changed` asks the database again and again: nobody tells."""
        return True

    # Protected, like the executor: what was opened or closed must be known.
    @trio.lowlevel.enable_ki_protection
    async def open(self, lease: Lease) -> None:
        """Bring the schema up to date, enter the worker, and start its lease.

        Args:
            lease: the worker's id, which no other living worker may have, and how long it is taken to live.

        Raises:
            UsageError: if the store is open.
            StoreError: if the database cannot be used; nothing is open then, and one may try again.

        A checkpoint.
        """
        await self._begin(functools.partial(_open, self._location, lease, self._clock.utc()))

    @trio.lowlevel.enable_ki_protection
    async def visit(self) -> None:
        """Bring the schema up to date, and enter nobody; raises what `open` does. A checkpoint."""
        await self._begin(functools.partial(_open, self._location, None, 0))

    async def _begin(self, opened: Callable[[], Session]) -> None:
        if self._session:
            raise UsageError("this store is open already: open_store gives each engine one of its own")

        def job() -> None:
            self._session = opened()

        self._executor.start()
        try:
            await self._execute(job)
        except BaseException:
            await self._undo_open()
            raise

    @trio.lowlevel.enable_ki_protection
    async def close(self) -> None:
        """Remove the worker and let everything go; do nothing if the store is not open.

        Raises:
            StoreError: if the worker could not be removed. The store is closed all the same, and others see by the
                beacon, or when the lease expires, that the worker is gone.

        A checkpoint; when cancelled, it closes first.
        """
        session, self._session = self._session, None
        with trio.CancelScope(shield=True):
            if session:
                try:
                    # Whoever has waited for a lock in vain need not wait for it once more: the beacon tells the same
                    # as the row.
                    asked = -math.inf if self._unavailable else monotonic()
                    await self._execute(functools.partial(_close, session, asked))
                finally:
                    self._executor.stop()
        await trio.lowlevel.checkpoint()

    async def _undo_open(self) -> None:
        """Leave nothing open: Control-C comes out when the job is done, and who got no store will not close it."""
        if not self._session:
            self._executor.stop()
            return
        with trio.CancelScope(shield=True), contextlib.suppress(StoreError):  # neither may hide the Control-C
            await self.close()

    async def commit(self, batch: Batch) -> Receipt:
        """Write the batch in one transaction; return when it is durable."""
        return await self._run(commits.commit, batch, self._clock.utc())

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Take over what is due and has no living owner; append `claimed` to each, then read their logs.

        A worker whose lease has expired, or who has been removed, gets nothing until `renew` has extended it.
        """
        return await self._run(claims.claim, wanted, self._clock.utc())

    async def renew(self) -> bool:
        """Extend the lease, also one that has expired, as long as nobody has taken this worker for dead.

        Returns:
            False if somebody has. It is then entered anew, with a new lease, and owns nothing any more; what it was
            running others may have, and so may itself after a `claim`.

        Raises:
            StoreTooNew: if a newer nurselog has changed the schema meanwhile.
        """
        return await self._run(workers.renew, self._clock.utc())

    async def reenter(self) -> None:
        """Enter the worker anew, with a new lease and nothing in its hands: others may have all that it owned."""
        await self._run(workers.reenter, self._clock.utc())

    async def wait_changed(self) -> frozenset[Change]:
        """Wait until somebody else has written since this returned last, or since the store was opened.

        What was written, SQLite does not tell. It also returns when it can look again after it could not: whoever
        waits may want to say that the database is back.
        """
        while True:
            await trio.sleep(POLL)
            blind, self._blind = self._blind, True
            changed = await self._run(queries.changed)
            self._blind = False
            if changed or blind:
                return frozenset(Change)

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages in one transaction, and make their workflows due at once; return what became of each."""
        return await self._run(mail.post, posts)

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that need not be there yet; return what became of each."""
        return await self._run(early.post_early, messages, self._clock.utc())

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        """Return the messages for workflows that this worker owns, in order; for some, only those behind a number."""
        return await self._run(queries.messages, behind or {})

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        """Return the rows of those that exist, in no order."""
        return await self._run(queries.find, ids)

    async def list(self, where: Filter) -> Sequence[Workflow]:
        """Return rows, newest first. The next page begins `before` the last key of this one."""
        return await self._run(queries.list_workflows, where)

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        """Return a workflow's log from `from_seq` on, `limit` rows at most; -1 is the last row, as in a list."""
        return await self._run(queries.read, key, from_seq, limit)

    async def next_due(self, wanted: Wanted) -> int | None:
        """Return when the next one that is wanted is due and has no owner, UTC microseconds; None if none is."""
        return await self._run(queries.next_due, wanted)

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        """Remove families in which all have ended, in one transaction; return what became of each."""
        return await self._run(deletion.delete, roots)

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        """Return roots that ended before a time, and in whose families all have ended; the longest ended come first."""
        return await self._run(deletion.expired, before, limit)

    async def _run(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        session = self._open_session
        asked, job_ = monotonic(), functools.partial(job, session, *args, **kwargs)
        return await self._execute(functools.partial(_watched, session, asked, job_))

    @property
    def _open_session(self) -> Session:
        if not self._session:
            raise UsageError("this store is not open")
        return self._session

    async def _execute(self, job: Callable[[], T]) -> T:
        try:
            answer = await self._executor.run(job)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            translated = translate(error, self._location.url)
            self._unavailable = isinstance(translated, StoreUnavailable)
            raise translated from error
        self._unavailable = False
        return answer


def open_sqlite(url: str, *, clock: Clock) -> SqliteStore:
    """Return the store at a `sqlite:` address; it is not open yet.

    Raises:
        UsageError: if the address is none.
    """
    location = parse_url(url)
    executor = ThreadExecutor(f"nurselog {url}") if location.path else InlineExecutor()
    return SqliteStore(location, executor, clock)


def open_sqlite_database(url: str) -> SqliteDatabase:
    """Return the database at a `sqlite:` address that is not the store's; it is opened when it is used.

    Raises:
        UsageError: if the address is none.
    """
    return SqliteDatabase(parse_url(url), FOREIGN)


def parse_url(url: str) -> Location:
    """Return where a `sqlite:` address points to.

    Raises:
        UsageError: if it points nowhere.
    """
    found = _ADDRESS.fullmatch(url)
    # Resolved once: the host may change its folder, and beacons stand where the file itself is, not a link to it.
    path = Path(os.path.realpath(found["path"])) if found and found["path"] else None
    if not found or found["path"] == ":memory:" or (path and not _NAME.fullmatch(path.name)):
        raise UsageError(
            f"{url!r} is no address of a SQLite store. Write sqlite:///relative/path.db, sqlite:////absolute/path.db, "
            "or sqlite:// for a database in memory. A file has a name, in Unicode. The only option after a question "
            "mark is synchronous=normal."
        )
    return Location(url, path, Synchronous[(found["synchronous"] or "full").upper()])


def _open(location: Location, lease: Lease | None, now: int) -> Session:
    strides = Strides(location.path, PAGE * CHECKPOINT_PAGES) if location.path else None
    session = Session(location, connect(location), lease or NOBODY, strides=strides)
    try:
        if lease is not None:
            workers.enter(session, now)
        session.know_files()
        session.seen = queries.data_version(session.connection)
    except BaseException:
        session.close()
        raise
    return session


def _watched(session: Session, asked: float, job: Callable[[], T]) -> T:
    """Do a job that was asked for then; if it fails and the files have gone, that is what went wrong."""
    begun = monotonic()
    session.wait_for_locks(begun - asked)
    try:
        answer = job()
    except BaseException:
        session.check_files()
        raise
    session.look(begun)
    return answer


def _close(session: Session, asked: float) -> None:
    try:
        session.wait_for_locks(monotonic() - asked)
        if session.lease is not NOBODY:
            workers.leave(session)
        session.check_files()  # no look follows that would find out
    finally:
        session.close()

"""The PostgreSQL store: any number of engines, on any number of machines, on one database.

The store proper is a set of plain functions in `_postgres`: what goes to the server (`binary`), what comes back, and
statements that run on one connection. This module gives them their place in Trio: which connection, for how long, and
what an error means. A call waits for a connection as long as it takes, and may be cancelled there; once it has begun
it ends, and is not cancelled half way. Where a server does not answer at all, it ends by a deadline, with its outcome
unknown: like any call whose answer was lost.

Where to look: `sql/postgres_0001.sql` has the statements, `_postgres/commits` the fence, `_postgres/claims` and
`_postgres/workers` who owns what, `_postgres/deletion` what is removed, `_postgres/voice` how others hear of it,
`_postgres/driver` psycopg under Trio.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar, final

import outcome
import trio

from .._errors import StoreUnavailable, UsageError
from .._log.events import Row
from .._log.lifecycle import Status
from ..abc import (
    Addressed,
    Append,
    Batch,
    Change,
    Claim,
    Clock,
    Creation,
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
from ._postgres import claims, commits, deletion, mail, queries, schema, workers
from ._postgres.address import Address, hide
from ._postgres.driver import DatabaseError, TrioConnection
from ._postgres.faults import translate
from ._postgres.migrations import load_migrations
from ._postgres.pool import Pool
from ._postgres.session import (
    READERS,
    WRITERS,
    Session,
    address_of,
    conninfo_for,
    conninfo_for_bodies,
    not_understood,
    shard_of_key,
)
from ._postgres.transactions import PostgresDatabase, own_table
from ._postgres.voice import Voice

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a call may take once it has begun."""


@final
class PostgresStore:
    """A `Store` in a PostgreSQL database. Not constructed directly: use `open_store`."""

    def __init__(self, address: Address, clock: Clock, lease_clock: Clock | None) -> None:
        self._address = address
        self._clock, self._lease_clock = clock, lease_clock
        self._session: Session | None = None
        conninfo = conninfo_for_bodies(address.conninfo, durable=address.durable)
        self.database: Database = PostgresDatabase(address.shown, conninfo, own_table(address.schema))
        """Where the application's transactions run."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use it: always."""
        return True

    @property
    def polls(self) -> bool:
        """Whether `wait_changed` asks the database again and again: it listens, and asks nothing."""
        return False

    async def open(self, lease: Lease) -> None:
        """Bring the schema up to date, enter the worker, and start its lease.

        Args:
            lease: the worker's id, which no other living worker may have, and how long it is taken to live.

        Raises:
            UsageError: if the store is open, or has another number of shards.
            StoreError: if the database cannot be used; nothing is open then, and one may try again.

        A checkpoint.
        """
        await self._connect(lease, guest=False)

    async def visit(self) -> None:
        """Bring the schema up to date, and enter nobody; raises what `open` does. A checkpoint."""
        await self._connect(Lease(worker=f"guest {secrets.token_hex(8)}", duration=0), guest=True)

    async def _connect(self, lease: Lease, *, guest: bool) -> None:
        if self._session:
            raise UsageError("this store is open already: open_store gives each engine one of its own")
        opener = Pool(conninfo_for(self._address, lease.worker, "opener"), 1)
        try:
            about = await self._call(opener, schema.prepare, self._address, load_migrations())
        finally:
            opener.close()
        shards, told = about.layout.shards, partial(conninfo_for, self._address, lease.worker, layout=about.layout)
        writers, readers = Pool(told("writer"), min(WRITERS, shards)), Pool(told("reader"), READERS)
        voice = Voice(told("listener"), self._address.schema, None if guest else lease.worker)
        session = Session(self._address, lease, self._lease_clock, shards, writers, readers, voice)
        try:
            await self._call(readers, self._enter, session)
        except BaseException:
            session.close()
            raise
        self._session = session

    async def _enter(self, connection: TrioConnection, session: Session) -> None:
        await session.voice.connect()
        if session.voice.worker is not None:
            await workers.enter(connection, session)

    async def close(self) -> None:
        """Remove the worker and let everything go; do nothing if the store is not open.

        Raises:
            StoreError: if the worker could not be removed. The store is closed all the same, and others see when the
                lease expires that the worker is gone.

        A checkpoint; when cancelled, it closes first.
        """
        session, self._session = self._session, None
        with trio.CancelScope(shield=True):
            if session:
                try:
                    await self._call(session.readers, self._leave, session)
                finally:
                    session.close()
        await trio.lowlevel.checkpoint()

    async def _leave(self, connection: TrioConnection, session: Session) -> None:
        if session.voice.worker is not None:
            await workers.leave(connection, session)
        await session.voice.farewell(connection)

    async def commit(self, batch: Batch) -> Receipt:
        """Write the batch, one transaction for each shard, side by side; return when all of it is durable.

        A batch of which some shards could not be written is given back as a whole, to be tried again: rows say who
        wrote them.
        """
        session, now = self._open_session, self._clock.utc()
        await trio.lowlevel.checkpoint_if_cancelled()
        if session.shards == 1:
            return await self._commit(session, 0, batch, now)
        parts = _by_shard(session, batch)
        calls = [partial(self._commit, session, shard, part, now) for shard, part in parts.items()]
        receipts = dict(zip(parts, await _side_by_side(calls), strict=True))
        return _joined(session, batch, receipts)

    async def _commit(self, session: Session, shard: int, part: Batch, now: int) -> Receipt:
        receipt = await self._call(session.writers, commits.commit, session, shard, part, now)
        session.voice.news(_news_of(part))
        return receipt

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Take over what is due and has no living owner; append `claimed` to each, then read their logs.

        A worker whose lease has expired, or who has been removed, gets nothing until `renew` has extended it.
        """
        session = self._open_session
        return await self._call(session.readers, claims.claim, session, wanted, self._clock.utc())

    async def renew(self) -> bool:
        """Extend the lease, also one that has expired, as long as nobody has taken this worker for dead.

        Returns:
            False if somebody has. It is then entered anew, with a new lease, and owns nothing any more; what it was
            running others may have, and so may itself after a `claim`.

        Raises:
            StoreTooNew: if a newer nurselog has changed the schema meanwhile.
        """
        session = self._open_session
        return await self._call(session.readers, workers.renew, session)

    async def reenter(self) -> None:
        """Enter the worker anew, with a new lease and nothing in its hands: others may have all that it owned."""
        session = self._open_session
        await self._call(session.readers, workers.reenter, session)

    async def wait_changed(self) -> frozenset[Change]:
        """Wait until somebody else may have written something that concerns this worker, or for some seconds."""
        session = self._open_session
        try:
            return await session.voice.wait()
        except DatabaseError as error:
            raise translate(error, self._address.shown) from error

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages, and make their workflows due at once; return what became of each.

        One transaction for each shard, side by side. Where some shards could not be written, what became of the others
        is not known; who gives a word with each message may give all of them again.
        """
        session = self._open_session
        await trio.lowlevel.checkpoint_if_cancelled()
        by_shard: dict[int, list[Post]] = {}
        for post in posts:
            by_shard.setdefault(shard_of_key(post.key), []).append(post)
        calls = [partial(self._call, session.readers, mail.post, session, *part) for part in by_shard.items()]
        answers = dict(zip(by_shard, map(iter, await _side_by_side(calls)), strict=True))
        return [next(answers[shard_of_key(post.key)]) for post in posts]

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that need not be there yet; return what became of each.

        One transaction for each shard, side by side, as for `post`.
        """
        session, now = self._open_session, self._clock.utc()
        await trio.lowlevel.checkpoint_if_cancelled()
        by_shard: dict[int, list[Addressed]] = {}
        for message in messages:
            by_shard.setdefault(session.shard_of(message.id), []).append(message)
        calls = [
            partial(self._call, session.readers, mail.post_early, session, *part, now) for part in by_shard.items()
        ]
        answers = dict(zip(by_shard, map(iter, await _side_by_side(calls)), strict=True))
        return [next(answers[session.shard_of(message.id)]) for message in messages]

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        """Return the messages for workflows that this worker owns, in order; for some, only those behind a number."""
        session = self._open_session
        return await self._call(session.readers, queries.messages, session, behind or {})

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        """Return the rows of those that exist, in no order."""
        session = self._open_session
        return await self._call(session.readers, queries.find, session, ids)

    async def list(self, where: Filter) -> Sequence[Workflow]:
        """Return rows, newest first. The next page begins `before` the last key of this one."""
        return await self._call(self._open_session.readers, queries.list_workflows, where)

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        """Return a workflow's log from `from_seq` on, `limit` rows at most; -1 is the last row, as in a list."""
        return await self._call(self._open_session.readers, queries.read, key, from_seq, limit)

    async def next_due(self, wanted: Wanted) -> int | None:
        """Return when the next one that is wanted is due and has no owner, UTC microseconds; None if none is."""
        session = self._open_session
        return await self._call(session.readers, queries.next_due, session, wanted)

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        """Remove families in which all have ended, one transaction for each shard; return what became of each."""
        session = self._open_session
        await trio.lowlevel.checkpoint()
        return await self._call(session.readers, deletion.delete, roots)

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        """Return roots that ended before a time, and in whose families all have ended; shard by shard."""
        session = self._open_session
        return await self._call(session.readers, deletion.expired, session, before, limit)

    @property
    def _open_session(self) -> Session:
        if not self._session:
            raise UsageError("this store is not open")
        return self._session

    async def _call(
        self, pool: Pool, job: Callable[Concatenate[TrioConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do a job on a connection of a pool."""
        try:
            connection = await pool.take()
            try:
                with trio.move_on_after(PATIENCE, shield=True):
                    return await job(connection, *args, **kwargs)
            finally:
                pool.give_back(connection)
            raise StoreUnavailable(f"{self._address.shown}: the server has not answered for {PATIENCE:g} seconds")
        except (DatabaseError, ValueError) as error:
            raise translate(error, self._address.shown) from error


def open_postgres(url: str, *, clock: Clock, lease_clock: Clock | None = None) -> PostgresStore:
    """Return the store at a `postgresql:` address; it is not open yet.

    Args:
        url: the address.
        clock: tells the time for what is due.
        lease_clock: tells the time for leases; None: the database does, which is right wherever time is real.

    Raises:
        UsageError: if the address is none.
    """
    return PostgresStore(address_of(url), clock, lease_clock)


def open_postgres_database(url: str) -> PostgresDatabase:
    """Return the database at a `postgresql:` address that is not the store's; it is opened when it is used.

    Raises:
        UsageError: if the address is none that `libpq` understands.
    """
    shown = hide(url)
    try:
        return PostgresDatabase(shown, conninfo_for_bodies(url), None)
    except DatabaseError as error:
        raise not_understood(url, shown, error) from None


def _by_shard(session: Session, batch: Batch) -> dict[int, Batch]:
    creations: dict[int, list[Creation]] = {}
    appends: dict[int, list[Append]] = {}
    for creation in batch.creations:
        creations.setdefault(session.shard_of(creation.id), []).append(creation)
    for append in batch.appends:
        appends.setdefault(shard_of_key(append.key), []).append(append)
    shards = sorted(creations.keys() | appends.keys())
    return {shard: Batch(creations=creations.get(shard, ()), appends=appends.get(shard, ())) for shard in shards}


def _joined(session: Session, batch: Batch, receipts: Mapping[int, Receipt]) -> Receipt:
    """Put the shards' receipts together; what became of the creations is in the order in which they were given."""
    created = {shard: iter(receipt.created) for shard, receipt in receipts.items()}
    in_order = [next(created[session.shard_of(creation.id)]) for creation in batch.creations]
    refused = frozenset(key for receipt in receipts.values() for key in receipt.refused)
    return Receipt(created=in_order, refused=refused)


async def _side_by_side(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Make calls at the same time, and wait for all; the first one's error is raised at the end. A checkpoint."""
    if len(calls) == 1:
        return [await calls[0]()]
    outcomes: dict[int, outcome.Outcome[T]] = {}

    async def make(place: int) -> None:
        outcomes[place] = await outcome.acapture(calls[place])

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(make, place)
    return [outcomes[place].unwrap() for place in range(len(calls))]


def _news_of(batch: Batch) -> set[Change]:
    """Return what others may wait for: something has ended, tells them something, or needs an owner, now or later."""
    left = [append.standing.status for append in batch.appends if append.standing and append.standing.release]
    news = {Change.END if status.final or status is Status.STUCK else Change.DUE for status in left}
    news |= {Change.ROWS for append in batch.appends if append.public}
    return news | {Change.DUE for creation in batch.creations if creation.owner is None}

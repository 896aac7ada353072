"""The contracts that others may implement: `Store` keeps logs, `Codec` turns values into bytes, `Clock` tells UTC.

The engine calls a store with frozen records and gets frozen records; it knows no SQL, and a store knows no Trio task.
`Instrument` looks on; it and what it is told are here, too.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NewType, Protocol, runtime_checkable

import msgspec

from ._errors import StoreUnavailable
from ._instrument import Committed as Committed
from ._instrument import Happening as Happening
from ._instrument import Instrument as Instrument
from ._instrument import LeaseLost as LeaseLost
from ._instrument import Left as Left
from ._instrument import Life as Life
from ._instrument import LongTurn as LongTurn
from ._instrument import Looked as Looked
from ._instrument import Parting as Parting
from ._instrument import Recorded as Recorded
from ._instrument import Replayed as Replayed
from ._instrument import ScopeEntered as ScopeEntered
from ._instrument import ScopeLeft as ScopeLeft
from ._instrument import StepBegins as StepBegins
from ._instrument import Stuck as Stuck
from ._instrument import Submitted as Submitted
from ._instrument import TakenUp as TakenUp
from ._log.events import Row
from ._log.lifecycle import Status

WorkflowKey = NewType("WorkflowKey", int)
"""A workflow's number in its store; given by the store, never shown to users."""


class Clock(Protocol):
    """Tells the time of day."""

    def utc(self) -> int:
        """Return UTC as microseconds since 1970."""
        ...

    async def sleep_until(self, due: int) -> None:
        """Wait until `utc()` is `due` or later, even if the clock is set meanwhile. A checkpoint."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Turns the application's values into bytes, and back by the annotation that the code has."""

    def check(self, annotation: Any) -> None:
        """See that values could be read back as `annotation` says; asked before the code runs that makes them.

        Raises:
            EncodingError: if none could, whatever they are.
        """
        ...

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the bytes for `value`.

        Raises:
            EncodingError: if it has none, or would not come back as `annotation` says.
        """
        ...

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value whose bytes are `data`.

        Raises:
            DecodingError: if they do not fit `annotation`.
            ValueUnavailable: if they cannot be read here and now, whatever the annotation: a key is missing, or a file.
        """
        ...


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The base of what goes into a store and comes out."""


class Workflow(Record, frozen=True, kw_only=True):
    """One workflow's row."""

    key: WorkflowKey
    shard: int = 0
    id: str
    parent: WorkflowKey | None = None
    """Whose child it is; None: it is a root."""
    name: str
    version: str | None = None
    digest: str
    """Of the encoded input: the same id with another digest is a conflict."""
    status: Status
    owner: str | None = None
    """The worker that runs it."""
    due_at: int | None = None
    """When it next needs an owner, UTC microseconds; 0: at once; None: when something arrives."""
    problem: str | None = None
    """Why it is stuck."""
    created_at: int
    updated_at: int


class Creation(Record, frozen=True, kw_only=True):
    """A workflow to be made, with the first rows of its log."""

    shard: int = 0
    id: str
    parent: WorkflowKey | None = None
    """Whose child it is. It is made only if an append of its parent's, in the same batch, is accepted."""
    name: str
    version: str | None = None
    digest: str
    status: Status
    owner: str | None
    at: int
    rows: Sequence[Row]


class Created(Record, frozen=True, kw_only=True):
    """What became of a `Creation`."""

    workflow: Workflow
    new: bool
    """False if the id was taken by another creation: `workflow` is then the one that has it, nothing was written."""
    mail: bool = False
    """Whether it is new, and messages wait for it already: they had been kept for its id."""
    gone_on: bool = False
    """Whether it is new, and more is in its log by now: an answer was lost, and it was taken over."""


class Standing(Record, frozen=True, kw_only=True):
    """What changes in a workflow's row."""

    status: Status
    due_at: int | None
    """0 while an owner must be found at once if this one dies; None for a final or stuck one."""
    release: bool = False
    """Whether the owner lets go of it."""
    problem: str | None = None


class Post(Record, frozen=True, kw_only=True):
    """A message to be left for a workflow."""

    key: WorkflowKey
    kind: str
    body: bytes
    once: str | None = None
    """A word that says that it is the same message: it is left once only."""
    most: int | None = None
    """It is not left if so many messages wait for the workflow already; None: it is left in any case."""


class Addressed(Record, frozen=True, kw_only=True):
    """A message for the workflow that has an id, whichever that is; else as a `Post`."""

    id: str
    kind: str
    body: bytes
    once: str | None = None
    most: int | None = None


class Posted(enum.Enum):
    """What became of a message that was to be left."""

    LEFT = "left"
    ENDED = "ended"
    """The workflow has ended, or there is none: nothing was left, now or before."""
    KNOWN = "known"
    """It had been left before: not a second time."""
    FULL = "full"
    """Too many messages wait: it was not left."""

    @classmethod
    def of(cls, answer: Posted | Message) -> Posted:
        """Return what became of a message, as `Store.post` says it."""
        return cls.LEFT if isinstance(answer, Message) else answer


class Append(Record, frozen=True, kw_only=True):
    """Everything that one workflow has to write in a batch: rows, a change of standing, messages left and used up."""

    key: WorkflowKey
    rows: Sequence[Row] = ()
    writer: int | None = None
    """As of its claim. Without rows it must be that of the log's last row; None: whoever owns the workflow."""
    standing: Standing | None = None
    taken: Sequence[int] = ()
    """Numbers of messages that are removed in the same transaction."""
    posts: Sequence[Post] = ()
    """Messages that are left in the same transaction, for workflows of the same shard."""
    public: bool = False
    """Whether readers outside may be waiting for one of the rows, here or elsewhere: they are told of it."""


class Batch(Record, frozen=True, kw_only=True):
    """What is committed in one transaction."""

    creations: Sequence[Creation] = ()
    appends: Sequence[Append] = ()
    """One for each workflow at most."""


class Receipt(Record, frozen=True, kw_only=True):
    """What became of a batch."""

    created: Sequence[Created | None] = ()
    """In the order of the batch's creations; None for a child whose parent was refused."""
    refused: frozenset[WorkflowKey] = frozenset()
    """Workflows that somebody else has taken over: nothing of theirs was written."""


class Message(Record, frozen=True, kw_only=True):
    """Something from outside that waits for a workflow's owner to enter it."""

    number: int
    """First in, first out."""
    key: WorkflowKey
    kind: str
    body: bytes


class Change(enum.Enum):
    """What another process may have done."""

    MESSAGE = "message"
    """It has left a message for a workflow that this worker owns."""
    DUE = "due"
    """There is a workflow without a living owner, or one will be due."""
    END = "end"
    """A workflow has ended, or is stuck."""
    ROWS = "rows"
    """A workflow's log has rows that readers outside may be waiting for."""


class Lease(Record, frozen=True, kw_only=True):
    """A worker that wants to own workflows."""

    worker: str
    duration: int
    """Microseconds from each heartbeat on."""


class Wanted(Record, frozen=True, kw_only=True):
    """Which workflows a worker would take."""

    worker: str
    names: frozenset[str]
    """Workflow functions that it has, for workflows of any version."""
    versions: frozenset[tuple[str, str]] = frozenset()
    """Workflow functions that it has for one version only: name and version."""
    limit: int
    keys: frozenset[WorkflowKey] | None = None
    """Only these, whatever their name and due time; None: whatever is due."""


class Claim(Record, frozen=True, kw_only=True):
    """A workflow that changed hands: its row, the writer of its `claimed` event, and its whole log."""

    workflow: Workflow
    writer: int
    rows: Sequence[Row]
    messages: Sequence[Message]


class Filter(Record, frozen=True, kw_only=True):
    """Which workflows to list."""

    status: frozenset[Status] | None = None
    name: str | None = None
    prefix: str | None = None
    """How the id begins."""
    limit: int = 100
    before: WorkflowKey | None = None
    """Only those made before this one: the newest come first."""


class Deleted(Record, frozen=True, kw_only=True):
    """What became of a family that was to be deleted."""

    removed: int = 0
    """How many workflows were removed: all of it; 0 if there was none, or if one of it has not ended."""
    living: str | None = None
    """The id of one that has not ended; then all of the family is as it was."""


class Store(Protocol):
    """Keeps workflows and their logs.

    All calls are checkpoints. None may be cancelled half way: a call that has begun ends, and its effect is whole or
    none. Each raises `StoreUnavailable` if the same call may succeed later, and another `StoreError` if not.
    What that means in each case, clause by clause, `nurselog.testing.stores` asks of a store.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may use it at the same time; a store in memory needs no lease and no polling."""
        ...

    async def open(self, lease: Lease) -> None:
        """Bring the schema up to date, enter the worker, and start its lease."""
        ...

    async def close(self) -> None:
        """Remove the worker and let everything go."""
        ...

    async def commit(self, batch: Batch) -> Receipt:
        """Write the batch in one transaction; return when it is durable.

        A row whose `(workflow, seq)` is taken by a row of the same writer is one's own, written before an answer was
        lost; one of another writer refuses all of that workflow's part, and nothing else.
        """
        ...

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Take over what is due and has no living owner; append `claimed` to each, then read their logs.

        Workers are dead if their lease has expired or their process is known to be gone: each is removed first, with
        all that it owns. Not the one that asks: with an expired lease it gets nothing, and keeps what it has.
        """
        ...

    async def renew(self) -> bool:
        """Extend the lease, also one that has expired; False if somebody has taken this worker for dead meanwhile."""
        ...

    async def reenter(self) -> None:
        """Enter the worker anew, with a new lease and nothing in its hands: others may have all that it owned."""
        ...

    async def wait_changed(self) -> frozenset[Change]:
        """Wait until another process may have written what concerns this worker; called where `shared` is true.

        It may tell of what has not happened, and must tell within some seconds of what has. Cancelling it loses none.
        """
        ...

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages, and make their workflows due at once; return what became of each.

        Those for one workflow are left in their order. Those of one shard are left in one transaction.

        Instead of `LEFT` a store may return the message itself, of those for one workflow all or none: it is then the
        first of all that wait for the workflow, or directly behind one that was left with it. Whoever runs the workflow
        can enter it without asking for `messages`.
        """
        ...

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that need not be there yet; return what became of each.

        Where there is a workflow of the id, this is `post`. Where there is none, the message is kept, and what was kept
        for the same id before counts for it as what waits for a workflow does for a `Post`. In the transaction that
        makes a workflow of this id it gets all of that, before anybody else can leave it a message.
        """
        ...

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        """Return the messages for workflows that this worker owns, in order.

        For those in `behind`, only messages behind that number: the worker knows of the others, and has no room for
        them.
        """
        ...

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        """Return the rows of those that exist."""
        ...

    async def list(self, where: Filter) -> Sequence[Workflow]:
        """Return rows, newest first."""
        ...

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        """Return a workflow's log from `from_seq` on, `limit` rows at most; -1 is the last row, as in a list."""
        ...

    async def next_due(self, wanted: Wanted) -> int | None:
        """Return when the next one that is wanted is due and has no owner, UTC microseconds; None if none is."""
        ...

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        """Remove families in which all have ended, each whole or not at all; return what became of each.

        A family is a root and all whose ids begin with its id and a slash. Whatever belongs to them goes with them:
        rows, messages, words. Their ids are free again; their keys are never given again, and whoever still writes for
        one of them is refused. Those of one shard are removed in one transaction. What is no root's key is nobody's.
        """
        ...

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        """Return roots that ended before a time, UTC microseconds, and in whose families all have ended.

        `limit` at most, in no order: who deletes them and asks again gets the others.
        """
        ...


@runtime_checkable
class TakesGuests(Protocol):
    """A store that clients use, too: they own nothing, and so enter no worker and have no lease.

    A guest commits workflows that nobody owns, leaves messages, looks, deletes, and waits for changes. Of those it may
    be told fewer: there are no messages for it.
    """

    @property
    def polls(self) -> bool:
        """Whether `wait_changed` asks the database again and again; else it costs nothing while nothing happens."""
        ...

    async def visit(self) -> None:
        """Bring the schema up to date, as `open` does, and enter nobody; `close` ends it."""
        ...


class Isolation(enum.Enum):
    """What a transaction sees of others that run at the same time; the words are SQL's."""

    READ_COMMITTED = "READ COMMITTED"
    """Each statement sees what has been committed when it begins."""
    REPEATABLE_READ = "REPEATABLE READ"
    """All statements see what had been committed when the first one began."""
    SERIALIZABLE = "SERIALIZABLE"
    """As if there were no others."""


class Transaction(Record, frozen=True, kw_only=True):
    """What is to be done in a database exactly once."""

    name: str
    """For messages."""
    workflow: WorkflowKey
    """Whose it is."""
    id: str
    """The workflow's."""
    writer: int
    """Who writes its log for whoever asks."""
    key: str
    """Names it in the database: there it is done once."""
    isolation: Isolation
    body: Callable[[Any], Any]
    """Called with a connection, in the transaction; awaited where the database has it so."""
    encode: Callable[[Any], bytes]
    """Makes the outcome of what the body has returned."""
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Runs a body in a worker thread. Cancelling it waits for the thread, unless the workflow leaves memory."""


class CommitUnanswered(StoreUnavailable):
    """Whether a transaction was committed is not known: its key knows."""


class Database(Protocol):
    """Where transactions run that are the application's own."""

    @property
    def is_async(self) -> bool:
        """Whether bodies are async functions."""
        ...

    async def transact(self, transaction: Transaction) -> bytes:
        """Run a body in a transaction that records its outcome under the key; return the outcome.

        If there is an outcome already, from whoever else, the body does not run, and that is returned. While somebody
        else is at it, wait. A checkpoint; when it is cancelled before the commit, all is undone; a commit is not
        cancelled.

        Raises:
            CommitUnanswered: if it is not known whether it was committed.
            StoreUnavailable: if nothing was done, and the same call may succeed later: others were in the way, or the
                database is out of reach.
            StoreError: if the database is no good for it.
            TransactionEnded: if the body has ended the transaction by itself, now or earlier.
            What the body and `encode` raise; then all is undone.
        """
        ...

    async def close(self) -> None:
        """Let everything go. A checkpoint."""
        ...


@runtime_checkable
class HasDatabase(Protocol):
    """A store whose database takes the application's transactions, too."""

    @property
    def database(self) -> Database:
        """The database; to be closed before the store is."""
        ...

"""Workflows and messages in a transaction of the application's own, whatever kind of program that is.

An application that writes to its tables and starts a workflow does one without the other when it dies in between.
Where its tables are in the store's database, one transaction has both: what is written here are the very rows that an
engine would have written. Who runs the workflow is some engine's business, which hears of it after the commit.

Nothing here needs Trio or an engine.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVarTuple, final, overload

from .._errors import InboxFull, MisplacedCallError, WorkflowEnded, WorkflowNotFound
from .._flow.arguments import COUNT, check_interface
from .._flow.strand import Strand, place
from .._flow.workflow import Workflow, unwrap_workflow
from .._log.codec import JsonCodec
from .._log.identity import check_id
from .._log.lifecycle import Status
from .._stores import outlet_of
from .._stores.outlet import Holder, Left
from ..abc import Addressed, Codec, Creation, Instrument, Posted
from .checked import CheckedCodec
from .clock import SystemClock
from .instruments import Instruments
from .messages import Kind, Letter
from .pen import Pen, once_of

if TYPE_CHECKING:
    import sqlite3

    import psycopg

Ts = TypeVarTuple("Ts")


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Outbox:
    """Starts workflows and sends messages inside the application's own transactions.

    What it says must be what engines on this store are opened with, but for the instruments.
    """

    schema: str = "nurselog"
    """Where the store is in a PostgreSQL database."""
    codec: Codec = dataclasses.field(default_factory=JsonCodec)
    """Turns values into bytes."""
    max_payload: int = 1 << 20
    """Bytes that one input or message may have, encoded."""
    max_inbox: int = 1000
    """How many messages may wait for one workflow."""
    instruments: Sequence[Instrument] = dataclasses.field(default=(), hash=False)
    """Who is asked, in the caller's context, what goes along with a workflow. Told nothing: it may not come."""
    _instruments: Instruments | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_interface("codec", self.codec, Codec)
        COUNT.check("max_payload", self.max_payload)
        COUNT.check("max_inbox", self.max_inbox)
        object.__setattr__(self, "_instruments", Instruments.of(self.instruments, SystemClock()))

    @overload
    def submit(
        self,
        connection: sqlite3.Connection | psycopg.Connection[Any],
        workflow: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        id: str | None = None,
    ) -> str: ...
    @overload
    def submit(
        self,
        connection: psycopg.AsyncConnection[Any],
        workflow: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        id: str | None = None,
    ) -> Awaitable[str]: ...
    def submit(
        self,
        connection: Any,
        workflow: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        id: str | None = None,
    ) -> str | Awaitable[str]:
        """Start a workflow in the connection's transaction: it runs if that is committed, and only then.

        Args:
            connection: a connection to the store's database: of sqlite3, or of psycopg, sync or async.
            workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
            args: its arguments; they must be encodable.
            id: 1 to 200 characters without "/"; the same id with the same input is the same run. None: a new one.

        Returns:
            The workflow's id. For an async connection it must be awaited.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input; nothing is written.
            RegistrationError: if `workflow` is none.
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if the input is larger than the limit.
            StoreError: if the database has no store of this release.
            UsageError: if the id or the connection is none.
            MisplacedCallError: in workflow code.
        """
        _check_place("submit")
        target, args_, kwargs = unwrap_workflow(workflow, args)
        name = uuid.uuid4().hex if id is None else id
        check_id(name)
        headers = {} if self._instruments is None else self._instruments.headers()
        beginning = self._pen.beginning(target, args_, kwargs, id=name, at=SystemClock().utc(), headers=headers)
        creation = Creation(
            id=name,
            name=target.name,
            version=target.version,
            digest=beginning.digest,
            status=Status.PENDING,
            owner=None,
            at=beginning.row.at,
            rows=(beginning.row,),
        )
        return outlet_of(connection, self.schema).create(creation, partial(self._made, target, creation))

    def _made(self, target: Workflow[..., Any], creation: Creation, holder: Holder | None) -> str:
        if holder is not None:
            asked = Holder(creation.name, creation.digest, creation.rows[0].value or b"")
            self._pen.check_same(creation.id, holder, target, asked)
        return creation.id

    @overload
    def send(
        self,
        connection: sqlite3.Connection | psycopg.Connection[Any],
        id: str,
        topic: str,
        value: object,
        *,
        key: str | None = None,
    ) -> bool: ...
    @overload
    def send(
        self, connection: psycopg.AsyncConnection[Any], id: str, topic: str, value: object, *, key: str | None = None
    ) -> Awaitable[bool]: ...
    def send(
        self, connection: Any, id: str, topic: str, value: object, *, key: str | None = None
    ) -> bool | Awaitable[bool]:
        """Send a message to a workflow's mailbox in the connection's transaction: it comes if that is committed.

        Args:
            connection: a connection to the store's database: of sqlite3, or of psycopg, sync or async.
            id: the workflow's id.
            topic: the mailbox's: 1 to 200 printable characters.
            value: the message; the codec must be able to write it.
            key: names the message: of several with one key the workflow gets the first.

        Returns:
            False if a message with this key was sent before. For an async connection it must be awaited.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended already.
            InboxFull: if too many messages wait for it.
            EncodingError: if the value cannot be written.
            PayloadTooLargeError: if it is larger than the limit.
            StoreError: if the database has no store of this release.
            UsageError: if the topic, the key or the connection is none.
            MisplacedCallError: in workflow code.
        """
        _check_place("send")
        letter = Letter(id, topic, value, key)
        message = Addressed(
            id=id,
            kind=Kind.SEND.value,
            body=self._pen.letter(letter),
            once=once_of(letter),
            most=self.max_inbox,
        )
        return outlet_of(connection, self.schema).leave(message, partial(self._said, id))

    def _said(self, id: str, left: Left | None) -> bool:
        if left is None:
            raise WorkflowNotFound(id)
        if left.posted is Posted.ENDED:
            raise WorkflowEnded(id, left.status)
        if left.posted is Posted.FULL:
            raise InboxFull(id, self.max_inbox)
        return left.posted is Posted.LEFT

    @property
    def _pen(self) -> Pen:
        return Pen(CheckedCodec(self.codec), self.max_payload)


def _check_place(what: str) -> None:
    """See that this is no workflow code, which would do it again in each of its lives.

    Raises:
        MisplacedCallError: if it is.
    """
    if isinstance(place.get(), Strand):
        raise MisplacedCallError(
            f"outbox.{what}() was called in workflow code, and what a connection does is not in the log. Use "
            f"nurselog.{what}(), or call this in a step"
        )


outbox: Outbox = Outbox()
"""For stores whose engines are opened with the defaults."""

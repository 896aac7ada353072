"""Where those outside are answered: what an engine and a client have in common.

Nothing here runs a workflow. Whatever is asked is a look into the store, a message that is left there, or a workflow
that is made there; who runs it, here or elsewhere, hears of it. So a client needs no more than this, and an engine has
it, too: all that it adds is that a workflow in its memory need not be looked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._errors import EngineClosed, MisplacedCallError, RegistrationError, UsageError, WorkflowNotFound
from .._flow.arguments import WHOLE
from .._flow.names import check_readable, plain_text, reason_text, text_or_none
from .._flow.strand import Strand, place
from .._flow.workflow import unwrap_workflow
from .._log.codec import digest
from .._log.events import Ended, Forked, Row, decode_event, encode_event
from .._log.identity import check_id
from .._log.lifecycle import Status
from ..abc import Clock, Codec, Filter, Store, WorkflowKey
from ..abc import Workflow as WorkflowRow
from .ends import end_of, refuse_stuck
from .handle import WorkflowHandle
from .info import WorkflowInfo
from .messages import Kind, Letter
from .office import Office
from .ownership import new_writer
from .patience import patiently
from .remover import Remover
from .starter import Starter
from .table import Table
from .updating import ask_for
from .waiters import Readers, Waiters

if TYPE_CHECKING:
    from .replaying import Replays
    from .run import Run


@dataclass(eq=False, kw_only=True)
class Desk:
    """Answers those outside. `Engine` says what each call means."""

    store: Store
    table: Table
    clock: Clock
    codec: Codec
    office: Office
    starter: Starter
    remover: Remover
    waiters: Waiters
    """Who waits for an end."""
    readers: Readers
    """Who waits for more of a log."""
    runs: Mapping[WorkflowKey, Run]
    """What is in memory here."""
    told: Callable[[WorkflowKey], Awaitable[None]]
    """Called when an order was left for a workflow: has it entered, if that is to be done here."""
    replays: Replays | None = None
    """Where code follows a log, if there is code."""
    closing: trio.Event
    """Set when nothing is answered any more."""
    closed: str
    """What is said then."""

    # -- making workflows ------------------------------------------------------------------------

    async def submit(
        self,
        workflow: Callable[..., Any] | str,
        args: tuple[Any, ...],
        id: str | None,
        *,
        version: str | None = None,
        returns: Any = Any,
    ) -> WorkflowHandle[Any]:
        """Start a workflow, given as `@workflow` has it, or by its name."""
        if isinstance(workflow, str):
            check_readable(f"workflow {workflow!r}, its result", returns, self.codec)
            workflow, version = plain_text("workflow", workflow), text_or_none("version", version)
            target, kwargs = self.table.named(workflow, version), dict[str, Any]()
            if target is None or version not in {None, target.version}:
                known = "" if target is None else f" in version {version!r}"
                raise RegistrationError(f"this engine has no workflow {workflow!r}{known}")
        else:
            target, args, kwargs = unwrap_workflow(workflow, args)
            returns = target.returns
            if version is not None:
                raise UsageError(f"version is for workflows that are given by name; {target!r} has its own")
        name = uuid.uuid4().hex if id is None else _checked(id)
        with self.opened():
            row = await self.starter.submit(target, args, kwargs, name)
        return WorkflowHandle(self, row, returns)

    async def run(
        self,
        workflow: Callable[..., Any] | str,
        args: tuple[Any, ...],
        id: str | None,
        *,
        version: str | None = None,
        returns: Any = Any,
    ) -> Any:
        """Start a workflow, and wait for its result."""
        return await (await self.submit(workflow, args, id, version=version, returns=returns)).result()

    async def fork(self, id: str, at: int, new_id: str | None) -> WorkflowHandle[Any]:
        """Start a workflow with the first rows of another one's log."""
        WHOLE.check("at", at)
        row = await self.find(id)
        target = self.table.named(row.name, row.version)
        if target is None:
            raise UsageError(f"workflow {id!r} is a {row.name!r}, which this engine does not have")
        log = await self.read_log(row)
        if not 1 <= at <= len(log) - (row.status.final):
            raise UsageError(f"workflow {id!r} can be forked at seq 1 to {len(log) - row.status.final}, not {at}")
        prefix = list(log[:at])
        now = max(self.clock.utc(), prefix[-1].at)
        prefix.append(Row(at + 1, now, 0, new_writer(), encode_event(Forked(source=id, at=at))))
        fork_id = uuid.uuid4().hex if new_id is None else _checked(new_id)
        with self.opened():
            made = await self.starter.create(fork_id, target, digest(f"{id}@{at}".encode()), prefix)
        return WorkflowHandle(self, made, target.returns)

    # -- looking for them ------------------------------------------------------------------------

    async def get(self, id: str, returns: Any = None) -> WorkflowHandle[Any]:
        """Return the handle of a workflow; its result is read as told, or as its function says, if that is here."""
        if returns is not None:
            check_readable(f"workflow {id!r}, its result", returns, self.codec)
        row = await self.find(id)
        known = self.table.find(row.name)
        if returns is None:
            returns = known.returns if known else Any
        return WorkflowHandle(self, row, returns)

    async def list(self, where: Filter) -> Sequence[WorkflowInfo]:
        """Return workflows, the newest first."""
        with self.opened():
            rows = await self.store.list(where)
        return [WorkflowInfo.of(row, here=self.table.can_run(row.name, row.version)) for row in rows]

    async def find(self, id: str) -> WorkflowRow:
        """Return a workflow's row."""
        with self.opened():
            return await self.office.find(id)

    async def find_again(self, row: WorkflowRow) -> WorkflowRow:
        """Return a workflow's row as it is now."""
        with self.opened():
            return await self.office.find(row.id, row.key)

    async def read(self, row: WorkflowRow, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        """Read the log of a workflow, or a part of it; nothing, if it was deleted since it was found."""
        with self.opened():
            return await self.store.read(row.key, from_seq, limit)

    async def read_log(self, row: WorkflowRow, from_seq: int = 1) -> Sequence[Row]:
        """Read the log of a workflow, or its end; it has none if it was deleted since it was found."""
        rows = await self.read(row, from_seq)
        if not rows:
            raise WorkflowNotFound(row.id)
        return rows

    async def last(self, row: WorkflowRow) -> Sequence[Row]:
        """Read as much of the log of a workflow as has its end."""
        rows = await self.read_log(row, -1)
        return rows if isinstance(decode_event(rows[-1].event), Ended) else await self.read_log(row)

    async def end_of(self, row: WorkflowRow) -> tuple[Ended, bytes | None]:
        """Wait for the end of a workflow, wherever it runs, and for the store, where it is unavailable meanwhile."""
        check_place()
        await trio.lowlevel.checkpoint()
        while True:
            run = self.runs.get(row.key)
            if run is not None:
                await run.gone.wait()
                if run.end is not None:
                    return run.end
            with self.waiters.waiting(row) as told:
                found = await patiently(partial(self.find_again, row))
                refuse_stuck(found)
                if found.status.final:
                    event, last = end_of(found, await patiently(partial(self.last, found)))
                    return event, last.value
                if row.key not in self.runs:
                    await told.wait()

    # -- telling them something ------------------------------------------------------------------

    async def tell(self, id: str, kind: Kind, reason: str | None = None) -> None:
        """Leave an order for a workflow."""
        with self.opened():
            row = await self.office.tell(id, kind, reason_text(reason))
        with self.opened():
            await self.told(row.key)

    async def resume(self, id: str) -> None:
        """Let a stuck workflow go on."""
        if (await self.find(id)).status is Status.STUCK:
            await self.tell(id, Kind.RESUME)

    async def send(self, letter: Letter) -> bool:
        """Send a message; return whether it is new."""
        [answer] = await self._send([letter])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send_all(self, letters: Iterable[Letter]) -> Sequence[bool]:
        """Send many messages at once, in their order."""
        answers = await self._send(list(letters))
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(answers)} messages were not left", errors)
        return [answer is True for answer in answers]

    async def _send(self, letters: Sequence[Letter]) -> Sequence[bool | Exception]:
        with self.opened():
            return await self.office.send(letters)

    async def resolve(self, promise: str, value: object) -> None:
        """Settle a promise with a value."""
        with self.opened():
            await self.office.resolve(promise, value)

    async def reject(self, promise: str, error: Exception) -> None:
        """Settle a promise with an error."""
        with self.opened():
            await self.office.reject(promise, error)

    async def update(self, id: str, name: str, value: object, returns: Any, key: str | None) -> Any:
        """Ask a workflow for something; return its answer."""
        check_readable(f"update {name!r}, its answer", returns, self.codec)
        return await ask_for(self, await self.find(id), name, value, uuid.uuid4().hex if key is None else key, returns)

    async def delete(self, id: str) -> None:
        """Remove a workflow that has ended, and its descendants."""
        with self.opened():
            await self.remover.delete(id)

    # -- being there -----------------------------------------------------------------------------

    def opened(self) -> _Opened:
        """Return what is put around a call to the store."""
        return _Opened(self)

    def check_open(self) -> None:
        """See that this may be answered, and still is."""
        check_place()
        if self.closing.is_set():
            raise EngineClosed(self.closed)


class _Opened:
    """Around a call to the store: one that overlaps the end of who answers finds the store closed."""

    __slots__ = ("_desk",)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __enter__(self) -> None:
        self._desk.check_open()

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, UsageError):
            self._desk.check_open()


def check_place() -> None:
    """See that this is no workflow code: what comes of the call is not in the log, and its wait would be nobody's.

    Raises:
        MisplacedCallError: if it is.
    """
    if isinstance(place.get(), Strand):
        raise MisplacedCallError(
            "an engine was asked for something in workflow code, and what it answers is not in the log. Use nurselog's "
            "send(), resolve(), reject(), submit() and child workflows; for all else call the engine in a step"
        )


def _checked(id: str) -> str:
    check_id(id)
    return id

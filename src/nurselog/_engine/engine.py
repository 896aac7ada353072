"""The engine as its users see it: starting workflows, asking for them, and telling them something from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, TypeVarTuple, final, overload

from .._flow.workflow import unwrap_workflow
from .._log.lifecycle import Status
from ..abc import WorkflowKey
from .desk import Desk
from .handle import WorkflowHandle
from .info import WorkflowInfo, filter_of
from .messages import Kind, Letter
from .querying import ask
from .service import Service
from .statistics import EngineStatistics

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@final
class Engine:
    """Runs workflows on a store.

    Not constructed directly: `async with open_engine(url) as engine`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store, self._journal, self._runner = service.store, service.journal, service.runner
        self._ownership = service.ownership
        self._desk = Desk(
            store=service.store,
            table=service.table,
            clock=service.clock,
            codec=service.codec,
            office=service.office,
            starter=service.starter,
            remover=service.remover,
            waiters=service.runner.waiters,
            readers=service.runner.readers,
            runs=service.runner.runs,
            told=self._told,
            replays=service.replays,
            closing=service.closing,
            closed="the engine is closed; its workflows go on when one is opened on the same store",
        )

    async def _told(self, key: WorkflowKey) -> None:
        await self._ownership.told(key)
        await self._journal.flushed()

    # -- running workflows -----------------------------------------------------------------------

    async def run(self, workflow: Callable[[*Ts], Awaitable[T]], *args: *Ts, id: str | None = None) -> T:
        """Run a workflow and return its result: `submit` and `result` in one.

        Args:
            workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
            args: its arguments; they must be encodable.
            id: 1 to 200 characters without "/"; the same id with the same input is the same run. None: a new one.

        A checkpoint. Cancelling the wait never cancels the workflow.

        Raises:
            What `submit` and `WorkflowHandle.result` raise.
        """
        return await (await self.submit(workflow, *args, id=id)).result()

    async def submit(
        self, workflow: Callable[[*Ts], Awaitable[T]], *args: *Ts, id: str | None = None
    ) -> WorkflowHandle[T]:
        """Start a workflow; return when it is durable that it will run.

        Args:
            workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
            args: its arguments; they must be encodable.
            id: 1 to 200 characters without "/"; the same id with the same input is the same run. None: a new one.

        A checkpoint. If it is cancelled the workflow may have been started.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input.
            RegistrationError: if `workflow` is none, or another function has its name.
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if the input is larger than the limit.
            EngineClosed: if the engine is closed.
        """
        unwrap_workflow(workflow, args)  # no name: who has an engine has the function
        return await self._desk.submit(workflow, args, id)

    async def get(self, id: str) -> WorkflowHandle[Any]:
        """Return the handle of a workflow that exists.

        A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
        """
        return await self._desk.get(id)

    async def list(
        self,
        *,
        status: Iterable[Status] | None = None,
        name: str | None = None,
        prefix: str | None = None,
        limit: int = 100,
        before: WorkflowInfo | None = None,
    ) -> Sequence[WorkflowInfo]:
        """Return workflows, the newest first.

        Args:
            status: only those in one of these states.
            name: only those of this function.
            prefix: only those whose id begins like this.
            limit: how many at most.
            before: only those made before this one: the last of the page before.

        A checkpoint.

        Raises:
            UsageError: if one of these is not what it should be.
        """
        return await self._desk.list(filter_of(status, name, prefix, limit, before))

    # -- from outside ----------------------------------------------------------------------------

    async def cancel(self, id: str, reason: str | None = None) -> None:
        """Cancel a workflow, wherever it runs; return when it is durable that it will be.

        Its code sees `trio.Cancelled` and may clean up; `result()` tells what became of it. A stuck one is cancelled
        when its code is mended and it is resumed.

        Args:
            id: the workflow's id.
            reason: a text for people, kept in the log.

        A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended already.
        """
        await self._desk.tell(id, Kind.CANCEL, reason)

    async def kill(self, id: str) -> None:
        """End a workflow without running its code, wherever it runs; return when it is durable that it will be.

        A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended already.
        """
        await self._desk.tell(id, Kind.KILL)

    async def resume(self, id: str) -> None:
        """Let a stuck workflow go on, after its code was mended; do nothing if it is not stuck.

        A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended already.
        """
        await self._desk.resume(id)

    async def send(self, id: str, topic: str, value: object, *, key: str | None = None, early: bool = False) -> bool:
        """Send a message to a workflow's mailbox, wherever it runs; return when it is durable that it will come.

        Args:
            id: the workflow's id.
            topic: the mailbox's: 1 to 200 printable characters.
            value: the message; the codec must be able to write it.
            key: names the message: of several with one key the workflow gets the first. 1 to 200 printable
                characters.
            early: whether there need be no workflow of this id yet: then the message is kept, and is there when one is
                made. `max_inbox` holds for what is kept, and keys count.

        Returns:
            False if a message with this key was sent before.

        Messages of one topic come in the order in which they were sent. A checkpoint. If it is cancelled the message
        may have been sent.

        Raises:
            WorkflowNotFound: if there is none of this id, and the message is not early.
            WorkflowEnded: if it has ended already.
            InboxFull: if too many messages wait for it.
            EncodingError: if the value cannot be written.
            PayloadTooLargeError: if it is larger than the limit.
            UsageError: if the topic or the key is none, or the message is early and no workflow can have the id.
        """
        return await self._desk.send(Letter(id, topic, value, key, early))

    async def send_all(self, letters: Iterable[Letter]) -> Sequence[bool]:
        """Send many messages at once, in their order.

        Args:
            letters: each is to a workflow's mailbox.

        Returns:
            For each letter what `send` returns.

        A checkpoint. If it is cancelled some of them may have been sent.

        Raises:
            ExceptionGroup: with what `send` would have raised, for those that were not left; all others were.
            DataError: if one cannot be written; then none is sent.
            UsageError: the same, for one that is no letter, or whose topic or key is none.
        """
        return await self._desk.send_all(letters)

    async def resolve(self, promise: str, value: object = None) -> None:
        """Settle a promise of a workflow's with a value, wherever it runs; return when that is durable.

        Args:
            promise: its id, as `promise(...).id` gave it.
            value: what it comes to; the codec must be able to write it.

        If nobody waits for it any more, the workflow goes on as if nothing had come. A checkpoint. If it is cancelled
        the promise may have been settled.

        Raises:
            PromiseSettled: if it was settled before, with whatever.
            WorkflowNotFound: if its workflow is not there.
            WorkflowEnded: if its workflow has ended.
            EncodingError: if the value cannot be written.
            PayloadTooLargeError: if it is larger than the limit.
            UsageError: if the id is none.
        """
        await self._desk.resolve(promise, value)

    async def reject(self, promise: str, error: Exception) -> None:
        """Settle a promise of a workflow's with an error, wherever it runs; return when that is durable.

        Args:
            promise: its id, as `promise(...).id` gave it.
            error: what who waits for it gets to see.

        A checkpoint. If it is cancelled the promise may have been settled.

        Raises:
            What `resolve` raises.
        """
        await self._desk.reject(promise, error)

    @overload
    async def update(self, id: str, name: str, value: object = ..., *, key: str | None = ...) -> Any: ...
    @overload
    async def update(self, id: str, name: str, value: object, type: type[T], *, key: str | None = ...) -> T: ...
    @overload
    async def update(
        self, id: str, name: str, value: object = ..., type: object = ..., *, key: str | None = ...
    ) -> Any: ...
    async def update(
        self, id: str, name: str, value: object = None, type: object = Any, *, key: str | None = None
    ) -> Any:
        """Ask a workflow for something, wherever it runs, and return its answer.

        Args:
            id: the workflow's id.
            name: as in its `updates(name)`.
            value: what is asked; the codec must be able to write it.
            type: what the answer is read back as: a class, or any annotation that the codec knows.
            key: names the update: who asks again by the same key gets the same answer, and the workflow is asked once.
                1 to 200 printable characters. None: a new one.

        It waits until the workflow has answered, and that is durable. A checkpoint; if it is cancelled the workflow may
        have been asked, and by the same key the answer is still to be had.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended, or ends, without an answer.
            WorkflowStuck: if it cannot go on with the code as it is; the update waits for it.
            InboxFull: if too many messages wait for it.
            EncodingError: if the value cannot be written.
            PayloadTooLargeError: if it is larger than the limit.
            DecodingError: if the value does not fit the type that the workflow expects, or the answer does not fit
                `type`.
            RegistrationError: if nothing could be read back as `type`.
            UsageError: if the name or the key is none.
            EngineClosed: if the engine closes first.
            Exception: what the workflow has rejected it with.
        """
        return await self._desk.update(id, name, value, type, key)

    async def fork(self, id: str, *, at: int, new_id: str | None = None) -> WorkflowHandle[Any]:
        """Start a new workflow with the first rows of another one's log, and go on from there with the code as it is.

        Args:
            id: the workflow to fork.
            at: the last seq of its log that the fork has.
            new_id: the fork's id; None: a new one.

        Step keys after the cut are the fork's own; random values are the original's.

        A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowConflict: if the new id is taken by anything but this very fork.
            UsageError: if the log has no such row, or the workflow ends there, or its function is not in this engine.
        """
        return await self._desk.fork(id, at, new_id)

    async def query(self, id: str, function: Callable[[Any, *Ts], T], *args: *Ts) -> T:
        """Ask a workflow about its state, wherever it runs, and also when it has ended.

        Args:
            id: the workflow's id.
            function: registered with `@workflow.query`; for keyword arguments a `functools.partial` of it.
            args: what it is called with, behind the state.

        Returns:
            What the function returns, as it would come out of the log.

        If the workflow is in this engine's memory, the function is called there. Else the code follows the log once
        more, without any effect, and the function is called with the state that it comes to. Nothing is written. A
        checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            NothingExposed: if its code has not come to `expose` yet.
            NonDeterminismError: if its code does not follow its log; nothing becomes of the workflow.
            UsageError: if the function is no query of it, or this engine does not have the workflow.
            EncodingError: if the result cannot be written.
            EngineClosed: if the engine closes first.
            Exception: what the function raises.
        """
        answer: T = await ask(self._desk, await self._desk.find(id), function, args)
        return answer

    async def delete(self, id: str) -> None:
        """Remove a workflow that has ended, and its descendants: their logs and all else; return when that is durable.

        Their ids are free again, and a workflow that takes one has nothing of the old one.

        Args:
            id: the workflow's id; a child is deleted with its root.

        A checkpoint. If it is cancelled they may have been removed.

        Raises:
            WorkflowNotFound: if there is none of this id; so too if it was deleted before.
            WorkflowNotEnded: if it, or one of its descendants, has not ended; then nothing is removed.
            UsageError: if the workflow is a child.
        """
        await self._desk.delete(id)

    def statistics(self) -> EngineStatistics:
        """Return how the engine stands. Not a checkpoint."""
        runs = self._runner.runs.values()
        waiting = sum(run.sequencer.idle_until is not None for run in runs)
        return EngineStatistics(
            running=len(runs) - waiting,
            waiting=waiting,
            evicted=self._runner.evicted,
            stuck=self._runner.stuck,
            commit_lag=self._journal.lag,
            lease_left=self._service.tenure.left,
        )

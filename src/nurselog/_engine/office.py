"""Leaves messages for workflows, wherever these run, and sees that somebody enters them into their logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._errors import InboxFull, PromiseSettled, UsageError, WorkflowEnded, WorkflowNotFound
from .._flow.names import label, plain_text
from .._flow.promise import PromiseId
from .._log.events import Received, Result, Row, Started, encode_event
from .._log.failures import encode_error, record_error
from .._log.identity import child_seed
from ..abc import Addressed, Codec, Created, Post, Posted, Store, WorkflowKey
from ..abc import Workflow as WorkflowRow
from .journal import Journal
from .messages import Kind, Letter, body_of
from .ownership import new_writer
from .owning import Owning
from .patience import patiently
from .pen import Pen, once_of
from .posting import Posting

if TYPE_CHECKING:
    from .._flow.children import Child
    from .run import Run


class Office:
    """Knows how to reach a workflow.

    Args:
        journal: writes what belongs together with rows.
        store: where messages are left.
        ownership: enters them, if the workflow is in memory here.
        codec: writes values.
        max_payload: bytes that one value may have.
        max_inbox: how many messages may wait for one workflow.
    """

    def __init__(
        self, journal: Journal, store: Store, ownership: Owning, codec: Codec, max_payload: int, max_inbox: int
    ) -> None:
        self._journal, self._store, self._ownership, self._pen = journal, store, ownership, Pen(codec, max_payload)
        self.max_inbox: int = max_inbox
        self._posting = Posting(store, ownership)
        self._told: list[tuple[Run, Child]] = []
        """Children that are to be cancelled, and their parents."""
        self._some = trio.Event()

    async def find(self, id: str, key: WorkflowKey | None = None) -> WorkflowRow:
        """Return a workflow's row as it is now. A checkpoint.

        Args:
            id: the workflow's.
            key: which one, if it was found before; None: whichever has the id.

        Raises:
            WorkflowNotFound: if there is none of this id, or it was deleted, and what has its id now is another one.
        """
        found = await self._store.find([plain_text("a workflow's id", id)])
        if not found or key not in {None, found[0].key}:
            raise WorkflowNotFound(id)
        return found[0]

    async def leave(self, posts: Sequence[Post]) -> Sequence[Posted]:
        """Leave messages, and see that they are entered, soon.

        A checkpoint. It is not cut in half: when it is cancelled the messages are left, and entered.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._posting.leave(posts)

    def left(self, *keys: WorkflowKey) -> None:
        """Messages were left for workflows together with rows: see that they are entered, soon."""
        self._ownership.mail_for(*keys)

    async def tell(self, id: str, kind: Kind, reason: str | None = None) -> WorkflowRow:
        """Leave an order from outside for a workflow that has not ended; return its row. A checkpoint.

        Raises:
            WorkflowNotFound: if there is none of this id.
            WorkflowEnded: if it has ended.
        """
        row = await self.find(id)
        [answer] = await self.leave([Post(key=row.key, kind=kind.value, body=body_of(reason))])
        if answer is Posted.ENDED:
            raise await self._has_ended(row.id, row.key)
        await self._ownership.enter_messages()  # at once: how the workflow stands changes with it
        return row

    # -- mailboxes and promises ------------------------------------------------------------------

    async def send(self, letters: Sequence[Letter]) -> Sequence[bool | Exception]:
        """Send messages; return of each whether it is new, or why it was not left. A checkpoint.

        Raises:
            DataError: if one cannot be written; then none is sent.
            UsageError: the same, for one that is no letter, or whose topic or key is none.
        """
        bodies = [self._pen.letter(letter) for letter in letters]
        keys = await self._keys_of({letter.id for letter in letters})
        posts: list[Post] = []
        early: list[Addressed] = []
        for letter, body in zip(letters, bodies, strict=True):
            kind, once = Kind.SEND.value, once_of(letter)
            if letter.id in keys:
                posts.append(Post(key=keys[letter.id], kind=kind, body=body, once=once, most=self.max_inbox))
            elif letter.early:
                early.append(Addressed(id=letter.id, kind=kind, body=body, once=once, most=self.max_inbox))
        left = iter(await self.leave(posts) if posts else ())
        kept = iter(await self._leave_early(early) if early else ())
        return [
            await self._said(letter.id, keys.get(letter.id), next(left if letter.id in keys else kept))
            if letter.id in keys or letter.early
            else WorkflowNotFound(letter.id)
            for letter in letters
        ]

    async def _keys_of(self, ids: set[str]) -> Mapping[str, WorkflowKey]:
        """Return the keys of the workflows that exist; no question is asked for those that are in memory."""
        here = self._ownership.keys
        keys = {id: here[id] for id in ids & here.keys()}
        if elsewhere := sorted(ids - keys.keys()):
            keys |= {row.id: row.key for row in await self._store.find(elsewhere)}
        return keys

    async def _leave_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that may have come into being only now, or have not.

        A checkpoint. It is not cut in half: when it is cancelled the messages are left.
        """
        answers: Sequence[Posted] = ()
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            with trio.CancelScope(shield=True):
                answers = await self._store.post_early(messages)
        finally:  # whose they are is not known
            self._ownership.look_for_all()
        return answers

    def update_of(self, row: WorkflowRow, name: str, value: object, key: str) -> Post:
        """Return the message that asks a workflow for an update.

        Raises:
            DataError: if the value cannot be written.
            UsageError: if the name or the key is none.
        """
        event = Received(topic=label("a name", name), update=label("an update's key", key))
        data = self._pen.limited(f"update {name!r}", self._pen.codec.encode(value, Any))
        once = f"update {key}"
        body = body_of(event=event, value=data)
        return Post(key=row.key, kind=Kind.UPDATE.value, body=body, once=once, most=self.max_inbox)

    async def _said(self, id: str, key: WorkflowKey | None, answer: Posted) -> bool | Exception:
        match answer:
            case Posted.LEFT | Posted.KNOWN:
                return answer is Posted.LEFT
            case Posted.FULL:
                return InboxFull(id, self.max_inbox)
            case Posted.ENDED:  # pragma: no branch - there is no other case
                return await self._has_ended(id, key)

    async def resolve(self, id: str, value: object) -> None:
        """Settle a promise with a value. A checkpoint; raises what `Engine.resolve` does."""
        await self._settle(id, Result.VALUE, self._pen.codec.encode(value, Any))

    async def reject(self, id: str, error: Exception) -> None:
        """Settle a promise with an error. A checkpoint; raises what `Engine.reject` does."""
        if not isinstance(error, Exception):
            raise UsageError(f"a promise is rejected with an Exception, not with {error!r}")
        await self._settle(id, Result.ERROR, encode_error(record_error(error)))

    async def _settle(self, id: str, result: Result, data: bytes) -> None:
        promise = PromiseId.parse(id)
        event = Received(path=promise.path, result=result)
        body = body_of(event=event, value=self._pen.limited(f"what promise {id!r} is settled with", data))
        row = await self.find(promise.workflow)
        once = f"promise {promise.path}"
        [answer] = await self.leave([Post(key=row.key, kind=Kind.SETTLE.value, body=body, once=once)])
        if answer is Posted.ENDED:
            raise await self._has_ended(row.id, row.key)
        if answer is Posted.KNOWN:
            raise PromiseSettled(id)

    # -- children --------------------------------------------------------------------------------

    def make_child(self, parent: Run, child: Child, at: int, made: Callable[[], None] | None = None) -> None:
        """Make a child together with its parent's next row, which must follow at once.

        Args:
            parent: runs the parent.
            child: what is to be made.
            at: the time of its first row, UTC microseconds.
            made: called when the child is there.
        """
        workflow = child.workflow
        seed = child_seed(parent.sequencer.seed, child.operation.path)
        started = Started(name=workflow.name, version=workflow.version, seed=seed, headers=parent.headers_for(child))
        rows = (Row(1, at, 0, new_writer(), encode_event(started), child.input),)
        creation, begin = self._ownership.prepare(workflow, child.id, child.digest, rows, parent.key)

        def created(found: Created | None) -> None:
            if found is not None and made is not None:
                made()  # first: its parent may have to make room for it
            begin(found)

        self._journal.make_child(parent, creation, created)

    def cancel_child(self, parent: Run, child: Child) -> None:
        """Have a child cancelled, soon."""
        self._told.append((parent, child))
        self._some.set()

    async def cancel_children(self) -> None:
        """Cancel those that are to be, many at once, for ever."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            await self._cancel_told()

    async def _cancel_told(self) -> None:
        """Do it once; a function of its own, for the names in it must not keep what is over."""
        told, self._told = self._told, []
        await self._journal.flushed()  # then they are there, and what cancels them is their parent's history
        told = [(parent, child) for parent, child in told if not parent.is_lost]
        await patiently(partial(self._cancel, [child for _, child in told]))
        for _, child in told:
            child.sequencer.family.arranged(child)

    async def _cancel(self, children: Sequence[Child]) -> None:
        why = {child.id: child.why.reason for child in children}
        posts = [
            Post(key=row.key, kind=Kind.CANCEL.value, body=body_of(why[row.id]), once="by its parent")
            for row in await self._store.find(list(why))
        ]
        await self.leave(posts)

    async def _has_ended(self, id: str, key: WorkflowKey | None) -> WorkflowEnded | WorkflowNotFound:
        """Return what to say of one that has ended; of one that was not looked for before there is no key."""
        try:
            found = await self.find(id, key)
        except WorkflowNotFound as exc:  # deleted since it was found
            return exc
        return WorkflowEnded(found.id, found.status.value)

"""The database that simulated engines share: a second model of what a store must do, in plain Python.

No SQL, no waiting, no faults: each method is one transaction, done at once, and says what became of it. What happens to
calls on their way here and back is the store's part (`store.py`). What is decided here follows `nurselog.abc.Store` and
docs/log-format.md, and is written anew, not translated: where the engines' two real stores and this one differ in what
they let happen, one of the three is wrong.

Leases go by the database's own clock; what is due, and the times in rows, by the clock of whoever asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from nurselog import Status
from nurselog.abc import (
    Addressed,
    Append,
    Batch,
    Change,
    Claim,
    Created,
    Creation,
    Deleted,
    Filter,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Standing,
    Wanted,
    Workflow,
    WorkflowKey,
)
from nurselog.lowlevel import Claimed, Row, encode_event

HIGHEST_WRITER = 2**63 - 1


class Taken(Exception):
    """A living worker has this id."""


class Database:
    """Workflows, logs, workers and messages.

    Args:
        clock: tells the database's time, UTC microseconds.
        random: draws the writers of claims.
    """

    def __init__(self, clock: Callable[[], int], random: random.Random) -> None:
        self._clock, self._random = clock, random
        self.workflows: dict[WorkflowKey, Workflow] = {}
        self.logs: dict[WorkflowKey, list[Row]] = {}
        self.messages: dict[int, Message] = {}
        self._words: dict[WorkflowKey, set[str]] = {}
        """With which messages were left for a workflow that are left once only; it has none when it has ended."""
        self._early: dict[str, list[Addressed]] = {}
        """What was kept for workflows that are not there yet."""
        self.workers: dict[str, int] = {}
        """When each one's lease ends."""
        self.listeners: dict[str, Callable[[Change], None]] = {}
        """Who is told what, by worker."""
        self._keys: dict[str, WorkflowKey] = {}
        self._out: set[str] = set()
        """Workers whose beacon is out: their process is known to be gone."""
        self._claims: dict[int, dict[WorkflowKey, int]] = {}
        """The writers that each claim gave."""
        self._undone: set[int] = set()
        """Claims that must not be let in any more."""
        self._numbers = self._made = 0

    # -- workers ---------------------------------------------------------------------------------

    def enter(self, lease: Lease) -> None:
        """Enter a worker.

        Raises:
            Taken: if a living one has its id.
        """
        self.reap()
        if lease.worker in self.workers:
            raise Taken(lease.worker)
        self.workers[lease.worker] = self._clock() + lease.duration
        self._out.discard(lease.worker)

    def renew(self, lease: Lease) -> bool:
        """Extend a lease; where the worker was removed, enter it again with nothing in its hands."""
        if lease.worker in self.workers:
            self.workers[lease.worker] = self._clock() + lease.duration
            return True
        self.reenter(lease)
        return False

    def reenter(self, lease: Lease) -> None:
        """Enter a worker again with nothing in its hands."""
        self.remove([lease.worker])
        self.enter(lease)

    def remove(self, workers: Collection[str]) -> None:
        """Remove workers, and let their workflows go."""
        for worker in workers:
            self.workers.pop(worker, None)
        for workflow in list(self.workflows.values()):
            if workflow.owner in workers:
                self._change(workflow, owner=None)
        if workers:
            self._tell(Change.DUE)

    def put_out(self, worker: str) -> None:
        """A worker's process is gone, and whoever looks can see it."""
        self._out.add(worker)

    def is_alive(self, worker: str) -> bool:
        """Whether a worker may own anything."""
        return self.workers.get(worker, 0) > self._clock()

    def reap(self, spared: str | None = None) -> None:
        """Remove the dead, but not the one who asks."""
        dead = [worker for worker in self.workers if not self.is_alive(worker) or worker in self._out]
        self.remove([worker for worker in dead if worker != spared])

    # -- writing ---------------------------------------------------------------------------------

    def commit(self, worker: str, batch: Batch, now: int) -> Receipt:
        """Write a batch."""
        accepted = [one for one in batch.appends if self._append(worker, one, now)]
        parents = {None, *(one.key for one in accepted)}
        made = self._create_all([one for one in batch.creations if one.parent in parents])
        created = [next(made) if one.parent in parents else None for one in batch.creations]
        for one in accepted:  # when all else is done: whoever lets go in the same batch is woken
            self.post(one.posts)
        return Receipt(created=created, refused=frozenset({one.key for one in batch.appends} - parents))

    def _create_all(self, creations: Sequence[Creation]) -> Iterator[Created]:
        seen: set[str] = set()
        for creation in creations:
            key = self._keys.get(creation.id)
            if key is None:
                key = self._create(creation)
                new = True
            else:  # written before, and the answer was lost? But of two in one batch only the first is new
                new = creation.id not in seen and self._is_own(key, creation.rows)
            seen.add(creation.id)
            gone_on = new and self.logs[key][-1].seq > creation.rows[-1].seq
            yield Created(workflow=self.workflows[key], new=new, mail=new and any(self._mail([key])), gone_on=gone_on)

    def _create(self, creation: Creation) -> WorkflowKey:
        self._made += 1
        key = self._keys[creation.id] = WorkflowKey(self._made)
        owner = creation.owner if creation.owner in self.workers else None  # nobody would see that another one is gone
        self.workflows[key] = Workflow(
            key=key,
            shard=creation.shard,
            id=creation.id,
            parent=creation.parent,
            name=creation.name,
            version=creation.version,
            digest=creation.digest,
            status=creation.status,
            owner=owner,
            due_at=0,
            created_at=creation.at,
            updated_at=creation.at,
        )
        self.logs[key] = list(creation.rows)
        for message in self._early.pop(creation.id, ()):
            self._leave(replace(_post(message, key), most=None))  # there was room when it was kept
        if owner is None:
            self._tell(Change.DUE)
        return key

    def _is_own(self, key: WorkflowKey, rows: Sequence[Row]) -> bool:
        last, log = rows[-1], self.logs[key]
        return len(log) >= last.seq and log[last.seq - 1].writer == last.writer

    def _append(self, worker: str, append: Append, now: int) -> bool:
        """Write what one workflow has to say, all of it or nothing."""
        if not self.passes(worker, append):
            return False
        log = self.logs[append.key]
        if append.public:
            self._tell(Change.ROWS)
        log.extend(row for row in append.rows if row.seq > log[-1].seq)
        for number in append.taken:
            self.messages.pop(number, None)
        # Rows behind the append's: its sender has given up on it long ago, and what it says is not the last word.
        if append.standing and not (append.rows and log[-1].seq > append.rows[-1].seq):
            self._stand(append.key, append.standing, now)
        return True

    def passes(self, worker: str, append: Append) -> bool:
        """The fence. The last row must be by the same writer, and reach up to the append."""
        if append.key not in self.workflows:
            return False
        last = self.logs[append.key][-1]
        if not append.rows:
            return self.workflows[append.key].owner == worker and append.writer in {None, last.writer}
        first = append.rows[0]
        return last.writer == first.writer and last.seq >= first.seq - 1

    def _stand(self, key: WorkflowKey, new: Standing, now: int) -> None:
        """Change a workflow's standing; one with mail is due at once, unless it is stuck and may be unable to read."""
        if new.status.final:
            for number in [message.number for message in self._mail([key])]:
                del self.messages[number]
        has_mail = new.status is not Status.STUCK and any(self._mail([key]))
        workflow = self.workflows[key]
        self._change(
            workflow,
            status=new.status,
            problem=new.problem,
            updated_at=now,
            owner=None if new.release else workflow.owner,
            due_at=0 if has_mail else new.due_at,
        )
        if new.status.final or new.status is Status.STUCK:
            self._tell(Change.END)
        if new.release:
            self._tell(Change.DUE)

    def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages, and make due who got any; return those themselves before which nothing waits."""
        empty = {post.key for post in posts if not any(self._mail([post.key]))}
        answers: list[Posted | Message] = []
        for post in posts:
            became, waiting = self._leave(post), list(self._mail([post.key]))
            first = became is Posted.LEFT and post.key in empty and waiting
            answers.append(waiting[-1] if first else became)
        return answers

    def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that need not be there yet."""
        return [self._keep(one) for one in messages]

    def _keep(self, message: Addressed) -> Posted:
        if message.id in self._keys:
            return self._leave(_post(message, self._keys[message.id]))
        kept = self._early.setdefault(message.id, [])
        if message.once is not None and any(one.once == message.once for one in kept):
            return Posted.KNOWN
        if message.most is not None and len(kept) >= message.most:
            return Posted.FULL
        kept.append(message)
        return Posted.LEFT

    def _leave(self, post: Post) -> Posted:
        workflow = self.workflows.get(post.key)
        if post.once in self._words.get(post.key, ()):
            return Posted.KNOWN
        if workflow is None or workflow.status.final:
            return Posted.ENDED
        if post.most is not None and len(list(self._mail([post.key]))) >= post.most:
            return Posted.FULL
        if post.once is not None:
            self._words.setdefault(post.key, set()).add(post.once)
        self._numbers += 1
        self.messages[self._numbers] = Message(number=self._numbers, key=post.key, kind=post.kind, body=post.body)
        self._change(workflow, due_at=0)
        if workflow.owner is None:
            self._tell(Change.DUE)
        elif workflow.owner in self.listeners:
            self.listeners[workflow.owner](Change.MESSAGE)
        return Posted.LEFT

    def _change(self, workflow: Workflow, **fields: object) -> None:
        self.workflows[workflow.key] = replace(workflow, **fields)

    def _tell(self, change: Change) -> None:
        for listener in self.listeners.values():
            listener(change)

    # -- taking over -----------------------------------------------------------------------------

    def claim(self, wanted: Wanted, number: int, now: int) -> Sequence[Claim]:
        """Take over what is wanted. A worker without a lease gets nothing, and a claim that was undone neither."""
        self.reap(spared=wanted.worker)
        if not self.is_alive(wanted.worker) or number in self._undone:
            return []
        picked = sorted(self._pick(wanted, now))
        self._claims[number] = {key: self._random.randint(1, HIGHEST_WRITER) for key in picked}
        return [self._take(wanted.worker, key, self._claims[number][key], now) for key in picked]

    def _pick(self, wanted: Wanted, now: int) -> Sequence[WorkflowKey]:
        free = [one for one in self.workflows.values() if one.owner is None]
        if wanted.keys is not None:
            found = [one for one in free if one.key in wanted.keys and not one.status.final]
        else:
            due = [one for one in free if one.due_at is not None and one.due_at <= now and is_wanted(one, wanted)]
            found = sorted(due, key=lambda one: (one.due_at or 0, one.key))
        return [one.key for one in found[: wanted.limit]]

    def _take(self, worker: str, key: WorkflowKey, writer: int, now: int) -> Claim:
        log, workflow = self.logs[key], self.workflows[key]
        log.append(Row(log[-1].seq + 1, max(now, log[-1].at), 0, writer, encode_event(Claimed(worker=worker))))
        status = workflow.status if workflow.status is Status.CANCELLING else Status.RUNNING
        self._change(workflow, owner=worker, due_at=0, problem=None, status=status, updated_at=now)
        return Claim(workflow=self.workflows[key], writer=writer, rows=list(log), messages=list(self._mail([key])))

    def undo(self, worker: str, number: int) -> None:
        """Let go of what a claim took whose answer was lost, and keep it out if it comes later."""
        self._undone.add(number)
        for key, writer in self._claims.get(number, {}).items():
            workflow = self.workflows.get(key)
            if workflow is not None and workflow.owner == worker and self.logs[key][-1].writer == writer:
                self._change(workflow, owner=None)
                self._tell(Change.DUE)

    # -- deleting --------------------------------------------------------------------------------

    def delete(self, roots: Iterable[WorkflowKey]) -> Sequence[Deleted]:
        """Remove families that have ended."""
        return [self._delete(self._family(root)) for root in roots]

    def _delete(self, family: Sequence[Workflow]) -> Deleted:
        living = next((one.id for one in family if not one.status.final), None)
        if living is not None:
            return Deleted(living=living)
        for number in [message.number for message in self._mail({one.key for one in family})]:
            del self.messages[number]
        for one in family:
            self._words.pop(one.key, None)
            del self.workflows[one.key], self.logs[one.key], self._keys[one.id]
        return Deleted(removed=len(family))

    def _family(self, root: WorkflowKey) -> Sequence[Workflow]:
        """Return a root and its descendants; nobody, if it is none."""
        found = self.workflows.get(root)
        if found is None or found.parent is not None:
            return []
        return [found, *(one for one in self.workflows.values() if one.id.startswith(f"{found.id}/"))]

    def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        """Return roots that ended before a time, and in whose families all have ended."""
        old = [one.key for one in self.workflows.values() if one.parent is None and one.updated_at < before]
        return [key for key in old if all(one.status.final for one in self._family(key))][:limit]

    # -- reading ---------------------------------------------------------------------------------

    def _mail(self, keys: Collection[WorkflowKey]) -> Iterator[Message]:
        return (message for message in self.messages.values() if message.key in keys)

    def mail_of(self, worker: str, behind: Mapping[WorkflowKey, int]) -> Sequence[Message]:
        """Return the messages for what a worker owns, in order; for some workflows only those behind a number."""
        found = self._mail({one.key for one in self.workflows.values() if one.owner == worker})
        return [message for message in found if message.number > behind.get(message.key, 0)]

    def find(self, ids: Iterable[str]) -> Sequence[Workflow]:
        """Return the rows of those that exist."""
        return [self.workflows[self._keys[id]] for id in ids if id in self._keys]

    def list(self, where: Filter) -> Sequence[Workflow]:
        """Return rows, newest first."""
        found = [one for one in reversed(self.workflows.values()) if is_asked_for(one, where)]
        return found[: where.limit]

    def read(self, key: WorkflowKey, from_seq: int, limit: int | None) -> Sequence[Row]:
        """Return a log from `from_seq` on, `limit` rows at most; a negative number counts from the end."""
        return self.logs.get(key, [])[from_seq - 1 if from_seq > 0 else from_seq :][:limit]

    def next_due(self, wanted: Wanted) -> int | None:
        """Return when the next one without an owner is due."""
        free = (one for one in self.workflows.values() if one.owner is None and is_wanted(one, wanted))
        return min((one.due_at for one in free if one.due_at is not None), default=None)


def _post(message: Addressed, key: WorkflowKey) -> Post:
    return Post(key=key, kind=message.kind, body=message.body, once=message.once, most=message.most)


def is_wanted(workflow: Workflow, wanted: Wanted) -> bool:
    """Whether a worker has the function that a workflow needs."""
    return workflow.name in wanted.names or (workflow.name, workflow.version) in wanted.versions


def is_asked_for(workflow: Workflow, where: Filter) -> bool:
    """Whether a workflow belongs into a listing."""
    return (
        (where.status is None or workflow.status in where.status)
        and where.name in {None, workflow.name}
        and workflow.id.startswith(where.prefix or "")
        and (where.before is None or workflow.key < where.before)
    )

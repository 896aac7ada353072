"""A store in plain dictionaries, as somebody might write it who knows nurselog's contracts and nothing of its inside.

It stands for the stores of others: it goes through all checks, and the wrong stores of the tests are made of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from nurselog import Status, StoreUnavailable
from nurselog.abc import (
    Addressed,
    Append,
    Batch,
    Change,
    Claim,
    Clock,
    Created,
    Creation,
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
from nurselog.lowlevel import Claimed, Row, encode_event


@dataclass
class Data:
    """What all stores on one set of data share."""

    workflows: dict[WorkflowKey, Workflow] = field(default_factory=dict)
    logs: dict[WorkflowKey, list[Row]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    words: set[tuple[WorkflowKey, str]] = field(default_factory=set)
    """For whom which message was left that is left once only."""
    early: dict[str, list[Addressed]] = field(default_factory=dict)
    """What was kept for workflows that are not there yet."""
    workers: dict[str, int] = field(default_factory=dict)
    """When each one's lease expires."""
    changes: int = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class DictStore:
    """Each of its methods waits first and does everything then, in one go: nothing can come in between."""

    def __init__(self, data: Data, clock: Clock) -> None:
        self.data, self.clock = data, clock
        self.me, self.duration, self.heard = "", 0, 0

    shared = True

    async def open(self, lease: Lease) -> None:
        await trio.lowlevel.checkpoint()
        self.bury()
        if lease.worker in self.data.workers:
            raise StoreUnavailable(f"a worker {lease.worker!r} is alive")
        self.me, self.duration, self.heard = lease.worker, lease.duration, self.data.changes
        self.enter()

    async def close(self) -> None:
        self.leave(self.me)
        await trio.lowlevel.checkpoint()

    async def commit(self, batch: Batch) -> Receipt:
        await trio.lowlevel.checkpoint()
        self.data.changes += 1
        before = set(self.data.workflows)
        accepted = [part for part in batch.appends if self.append(part)]
        parents = {None, *(part.key for part in accepted)}
        created = [self.create(one, before) if one.parent in parents else None for one in batch.creations]
        for part in accepted:  # all else is done: whoever has just let go is woken
            self.put_all(part.posts)
        return Receipt(created=created, refused=frozenset({part.key for part in batch.appends} - parents))

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        await trio.lowlevel.checkpoint()
        self.bury(spared=self.me)
        due = [one for one in self.data.workflows.values() if self.is_claimed(one, wanted)]
        due.sort(key=lambda one: (one.due_at if wanted.keys is None else 0, one.key))
        return [self.take(one) for one in due[: wanted.limit]] if self.is_alive(wanted.worker) else []

    async def renew(self) -> bool:
        await trio.lowlevel.checkpoint()
        good = self.me in self.data.workers
        self.enter()
        return good

    async def reenter(self) -> None:
        await trio.lowlevel.checkpoint()
        self.leave(self.me)
        self.enter()

    async def wait_changed(self) -> frozenset[Change]:
        while True:
            await trio.sleep(0.001)
            if self.heard < self.data.changes:
                self.heard = self.data.changes
                return frozenset(Change)

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        await trio.lowlevel.checkpoint()
        self.data.changes += 1
        return self.put_all(posts)

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        await trio.lowlevel.checkpoint()
        self.data.changes += 1
        return [self.put_early(one) for one in messages]

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        await trio.lowlevel.checkpoint()
        mine = [one for one in self.data.messages if self.data.workflows[one.key].owner == self.me]
        return [one for one in mine if one.number > (behind or {}).get(one.key, 0)]

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        await trio.lowlevel.checkpoint()
        return [one for one in self.data.workflows.values() if one.id in ids]

    async def list(self, where: Filter) -> Sequence[Workflow]:
        await trio.lowlevel.checkpoint()
        found = [
            one
            for key, one in sorted(self.data.workflows.items(), reverse=True)
            if (where.before is None or key < where.before)
            and (where.status is None or one.status in where.status)
            and one.name == (where.name or one.name)
            and one.id.startswith(where.prefix or "")
        ]
        return found[: where.limit]

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        await trio.lowlevel.checkpoint()
        log = self.data.logs.get(key, [])
        return log[from_seq if from_seq < 0 else from_seq - 1 :][:limit]

    async def next_due(self, wanted: Wanted) -> int | None:
        await trio.lowlevel.checkpoint()
        due = [one.due_at for one in self.data.workflows.values() if self.is_wanted(one, wanted)]
        return min((at for at in due if at is not None), default=None)

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        await trio.lowlevel.checkpoint()
        self.data.changes += 1
        return [self.delete_one(root) for root in roots]

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        await trio.lowlevel.checkpoint()
        return [key for key, one in self.data.workflows.items() if self.is_expired(one, before)][:limit]

    # -- parts of these, which wait for nothing

    def change(self, key: WorkflowKey, **fields: object) -> Workflow:
        changed = self.data.workflows[key] = msgspec.structs.replace(self.data.workflows[key], **fields)
        return changed

    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        for found in self.data.workflows.values():
            if found.id == one.id:
                rows = self.data.logs[found.key][: len(one.rows)]
                new = found.key in before and rows == one.rows
                if new:
                    before.discard(found.key)  # the next one of the id is another one's
                gone_on = new and len(self.data.logs[found.key]) > len(one.rows)
                return Created(workflow=found, new=new, mail=new and self.waiting(found.key) > 0, gone_on=gone_on)
        key = WorkflowKey(next(self.data.numbers))
        self.data.logs[key] = list(one.rows)
        self.data.workflows[key] = Workflow(
            key=key,
            id=one.id,
            parent=one.parent,
            name=one.name,
            version=one.version,
            digest=one.digest,
            status=one.status,
            owner=one.owner if one.owner in self.data.workers else None,
            due_at=0,
            created_at=one.at,
            updated_at=one.at,
        )
        self.move_early(one.id, key)
        return Created(workflow=self.data.workflows[key], new=True, mail=self.waiting(key) > 0)

    def put_early(self, one: Addressed) -> Posted:
        for found in self.data.workflows.values():
            if found.id == one.id:
                return self.put(self.letter(one, found.key))
        kept = self.data.early.setdefault(one.id, [])
        if one.once is not None and one.once in {other.once for other in kept}:
            return Posted.KNOWN
        if one.most is not None and len(kept) >= one.most:
            return Posted.FULL
        kept.append(one)
        return Posted.LEFT

    def letter(self, one: Addressed, key: WorkflowKey) -> Post:
        return Post(key=key, kind=one.kind, body=one.body, once=one.once, most=one.most)

    def move_early(self, id: str, key: WorkflowKey) -> None:
        for one in self.data.early.pop(id, ()):
            self.put(msgspec.structs.replace(self.letter(one, key), most=None))

    def append(self, part: Append) -> bool:
        if part.key not in self.data.workflows or not self.is_mine(part):
            return False
        log = self.data.logs[part.key]
        log += [row for row in part.rows if row.seq > len(log)]
        self.drop(part)
        if part.standing:
            self.stand(part)
        return True

    def is_mine(self, part: Append) -> bool:
        """Whether the writer of these rows may write them; without rows, whether the worker is the owner as it was."""
        log = self.data.logs[part.key]
        if not part.rows:
            return self.data.workflows[part.key].owner == self.me and part.writer in {None, log[-1].writer}
        return part.rows[0].seq <= len(log) + 1 and log[-1].writer == part.rows[-1].writer

    def drop(self, part: Append) -> None:
        over = part.standing is not None and part.standing.status.final
        self.data.messages = [
            one for one in self.data.messages if one.number not in part.taken and not (over and one.key == part.key)
        ]

    def stand(self, part: Append) -> None:
        new, old = part.standing, self.data.workflows[part.key]
        assert new
        mail = new.status is not Status.STUCK and self.waiting(part.key) > 0
        self.change(
            part.key,
            status=new.status,
            problem=new.problem,
            owner=None if new.release else old.owner,
            due_at=0 if mail else new.due_at,
            updated_at=self.clock.utc(),
        )

    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        return [self.put(post) for post in posts]

    def put(self, post: Post) -> Posted:
        verdict = self.judge(post)
        if verdict is Posted.LEFT:
            number = next(self.data.numbers)
            self.data.messages.append(Message(number=number, key=post.key, kind=post.kind, body=post.body))
            self.change(post.key, due_at=0)
            if post.once is not None:
                self.data.words.add((post.key, post.once))
        return verdict

    def judge(self, post: Post) -> Posted:
        if post.once is not None and (post.key, post.once) in self.data.words:
            return Posted.KNOWN
        if post.key not in self.data.workflows or self.data.workflows[post.key].status.final:
            return Posted.ENDED
        if post.most is not None and self.waiting(post.key) >= post.most:
            return Posted.FULL
        return Posted.LEFT

    def waiting(self, key: WorkflowKey) -> int:
        return sum(one.key == key for one in self.data.messages)

    def family(self, root: WorkflowKey) -> list[Workflow]:
        """Return a root and its descendants; nobody, if it is none."""
        one = self.data.workflows.get(root)
        if one is None or one.parent is not None:
            return []
        return [one, *(other for other in self.data.workflows.values() if other.id.startswith(f"{one.id}/"))]

    def delete_one(self, root: WorkflowKey) -> Deleted:
        family = self.family(root)
        for one in family:
            if not one.status.final:
                return Deleted(living=one.id)
        self.remove({one.key for one in family})
        return Deleted(removed=len(family))

    def remove(self, keys: set[WorkflowKey]) -> None:
        for key in keys:
            del self.data.workflows[key], self.data.logs[key]
        self.data.messages = [one for one in self.data.messages if one.key not in keys]
        self.data.words = {(key, word) for key, word in self.data.words if key not in keys}

    def is_expired(self, one: Workflow, before: int) -> bool:
        family = self.family(one.key)
        return bool(family) and one.updated_at < before and all(member.status.final for member in family)

    def is_wanted(self, one: Workflow, wanted: Wanted) -> bool:
        return one.owner is None and (one.name in wanted.names or (one.name, one.version) in wanted.versions)

    def is_claimed(self, one: Workflow, wanted: Wanted) -> bool:
        if wanted.keys is not None:
            return one.owner is None and one.key in wanted.keys and not one.status.final
        return self.is_wanted(one, wanted) and one.due_at is not None and one.due_at <= self.clock.utc()

    def take(self, one: Workflow) -> Claim:
        log, now = self.data.logs[one.key], self.clock.utc()
        writer = 1_000_000 + next(self.data.numbers)
        at = max(now, log[-1].at if log else 0)
        log.append(Row(len(log) + 1, at, 0, writer, encode_event(Claimed(worker=self.me))))
        status = one.status if one.status is Status.CANCELLING else Status.RUNNING
        mine = self.change(one.key, status=status, owner=self.me, due_at=0, problem=None, updated_at=now)
        messages = [message for message in self.data.messages if message.key == one.key]
        return Claim(workflow=mine, writer=writer, rows=list(log), messages=messages)

    def enter(self) -> None:
        self.data.workers[self.me] = self.clock.utc() + self.duration

    def leave(self, worker: str) -> None:
        self.data.changes += 1
        self.data.workers.pop(worker, None)
        for one in [one for one in self.data.workflows.values() if one.owner == worker]:
            self.change(one.key, owner=None)

    def bury(self, spared: str | None = None) -> None:
        """Remove the dead."""
        for worker in [worker for worker in self.data.workers if not self.is_alive(worker) and worker != spared]:
            self.leave(worker)

    def is_alive(self, worker: str) -> bool:
        return self.data.workers.get(worker, 0) > self.clock.utc()

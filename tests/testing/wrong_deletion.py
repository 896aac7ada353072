"""Stores that delete what they must not, or not all of it, and the checks that find them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from nurselog.abc import Append, Created, Creation, Deleted, Post, Posted, Workflow, WorkflowKey
from tests.testing.dict_store import DictStore
from tests.testing.wrong_stores import found


@found("a_family_that_has_ended_is_removed_whole", "hundreds_at_once")
class LeavesDescendants(DictStore):
    def family(self, root: WorkflowKey) -> list[Workflow]:
        return super().family(root)[:1]


@found("a_family_that_has_ended_is_removed_whole")
class TakesNamesakesForDescendants(DictStore):
    def family(self, root: WorkflowKey) -> list[Workflow]:
        family = super().family(root)
        return [one for one in self.data.workflows.values() if family and one.id.startswith(family[0].id)]


@found("a_family_of_which_one_has_not_ended_is_left_as_it_is", "nothing_is_left_for_what_is_deleted_meanwhile")
class RemovesWhatHasEndedOfAFamily(DictStore):
    def delete_one(self, root: WorkflowKey) -> Deleted:
        became = super().delete_one(root)
        self.remove({one.key for one in self.family(root) if one.status.final})
        return became


@found("what_is_no_root_is_not_deleted")
class DeletesChildren(DictStore):
    def family(self, root: WorkflowKey) -> list[Workflow]:
        return super().family(root) or [one for one in self.data.workflows.values() if one.key == root]


@found("hundreds_at_once")
class AnswersInItsOwnOrder(DictStore):
    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        return (await super().delete(roots))[::-1]


@found("who_still_writes_for_what_is_deleted_is_refused")
class BringsTheDeletedBack(DictStore):
    def append(self, part: Append) -> bool:
        if part.key not in self.data.workflows and part.rows:
            self.data.logs[part.key] = list(part.rows)
            return True
        return super().append(part)


@found("who_sends_to_what_is_deleted_hears_that_it_has_ended")
class KeepsMessagesForTheDeleted(DictStore):
    def judge(self, post: Post) -> Posted:
        return Posted.FULL if post.key not in self.data.workflows else super().judge(post)


@found("the_id_of_what_is_deleted_is_free")
class GivesKeysAgain(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        created = super().create(one, before)
        key = WorkflowKey(1 + len(one.id))
        if not created.new or key in self.data.workflows:
            return created
        workflow = msgspec.structs.replace(self.data.workflows.pop(created.workflow.key), key=key)
        self.data.workflows[key], self.data.logs[key] = workflow, self.data.logs.pop(created.workflow.key)
        return msgspec.structs.replace(created, workflow=workflow)


@found("expired_are_roots_that_ended_before_a_time")
class TakesWhatEndsNowForExpired(DictStore):
    def is_expired(self, one: Workflow, before: int) -> bool:
        return super().is_expired(one, before + 1)


@found("a_family_is_expired_when_all_have_ended")
class TakesFamiliesForExpiredWithTheirRoots(DictStore):
    def is_expired(self, one: Workflow, before: int) -> bool:
        return one.parent is None and one.updated_at < before and one.status.final


@found("a_family_is_expired_when_all_have_ended")
class CountsFromTheLastEnd(DictStore):
    def is_expired(self, one: Workflow, before: int) -> bool:
        last = max((member.updated_at for member in self.family(one.key)), default=0)
        return super().is_expired(one, before) and last < before


@found("expired_come_by_and_by")
class GivesAllAtOnce(DictStore):
    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        return await super().expired(before, 2 * limit)


@found("one_of_two_who_delete_removes_it")
class LooksAndThenRemoves(DictStore):
    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        families = [self.family(root) for root in roots]
        await trio.sleep(0.01)
        await super().delete(roots)
        return [Deleted(removed=len(family)) for family in families]

"""Stores that are wrong about early messages in one way each, and the checks that find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio
from msgspec.structs import replace

from nurselog.abc import Addressed, Batch, Claim, Created, Creation, Message, Post, Posted, Receipt, Wanted, WorkflowKey
from tests.testing.dict_store import DictStore
from tests.testing.wrong_stores import found


@found("an_early_message_is_there_when_its_workflow_is")
class ForgetsWhatIsEarly(DictStore):
    def move_early(self, id: str, key: WorkflowKey) -> None:
        pass


@found("an_early_message_is_there_when_its_workflow_is")
class KeepsItSecretFromTheEngine(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        return replace(receipt, created=[one and replace(one, mail=False) for one in receipt.created])


@found("an_early_message_is_there_when_its_workflow_is")
class GivesToWhomeverComesFirst(DictStore):
    def move_early(self, id: str, key: WorkflowKey) -> None:
        for other in list(self.data.early):
            super().move_early(other, key)


@found("an_early_message_waits_for_whoever_claims")
class GivesNothingToClaims(DictStore):
    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        return [replace(one, messages=()) for one in await super().claim(wanted)]


@found("early_messages_are_the_first")
class TurnsThemRound(DictStore):
    def move_early(self, id: str, key: WorkflowKey) -> None:
        self.data.early.get(id, []).reverse()
        super().move_early(id, key)


@found("early_messages_are_the_first")
class MovesThemWithTheNextMessage(DictStore):
    """It gives what was kept when somebody asks, and whoever wrote meanwhile was first."""

    def move_early(self, id: str, key: WorkflowKey) -> None:
        self.data.early[f"to {key}"] = self.data.early.pop(id, [])

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        for key in self.data.workflows:
            super().move_early(f"to {key}", key)
        return await super().messages(behind)


@found("early_words_are_remembered")
class KeepsEverythingAgain(DictStore):
    def put_early(self, one: Addressed) -> Posted:
        return super().put_early(replace(one, once=None))


@found("early_words_are_remembered")
class ForgetsTheWordsOfTheEarly(DictStore):
    def move_early(self, id: str, key: WorkflowKey) -> None:
        super().move_early(id, key)
        self.data.words = {(one, word) for one, word in self.data.words if one != key}


@found("early_messages_are_bounded")
class HasRoomForAllTheEarly(DictStore):
    def put_early(self, one: Addressed) -> Posted:
        return super().put_early(replace(one, most=None))


@found("early_messages_are_bounded")
class CountsTheEarlyOfAll(DictStore):
    def put_early(self, one: Addressed) -> Posted:
        others = sum(len(kept) for id, kept in self.data.early.items() if id != one.id)
        return super().put_early(replace(one, most=None if one.most is None else one.most - others))


@found("whoever_is_there_is_not_awaited")
class AwaitsWhoIsThere(DictStore):
    def put_early(self, one: Addressed) -> Posted:
        self.data.early.setdefault(one.id, []).append(one)
        return Posted.LEFT


@found("whoever_is_there_is_not_awaited")
class AnswersInGroups(DictStore):
    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        there = {one.id for one in self.data.workflows.values()}
        return await super().post_early(sorted(messages, key=lambda one: one.id in there))


@found("a_creation_that_comes_again_says_again_what_waits")
class SaysItOnce(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        known = one.id in {found.id for found in self.data.workflows.values()}
        return replace(super().create(one, before), **({"mail": False} if known else {}))


@found("a_creation_that_comes_again_says_again_what_waits")
class SaysItToEverybody(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        created = super().create(one, before)
        return replace(created, mail=self.waiting(created.workflow.key) > 0)


@found("a_child_may_be_awaited_too")
class AwaitsOnlyRoots(DictStore):
    def move_early(self, id: str, key: WorkflowKey) -> None:
        if "/" not in id:
            super().move_early(id, key)


@found("a_child_may_be_awaited_too")
class GivesToWhomItRefuses(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        for one, made in zip(batch.creations, receipt.created, strict=True):
            if made is None:
                self.data.early.pop(one.id, None)
        return receipt


@found("who_is_early_and_who_makes_do_not_miss_each_other", "many_who_are_early_at_once_are_let_in_one_by_one")
class LooksBeforeItWrites(DictStore):
    """What it has seen may have changed when it writes."""

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        there = {one.id: key for key, one in self.data.workflows.items()}
        kept = {one.id: len(self.data.early.get(one.id, ())) for one in messages}
        await trio.lowlevel.checkpoint()
        return [self.put_late(one, there.get(one.id), kept[one.id]) for one in messages]

    def put_late(self, one: Addressed, key: WorkflowKey | None, kept: int) -> Posted:
        if key is not None:
            return self.put(Post(key=key, kind=one.kind, body=one.body, once=one.once, most=one.most))
        if one.most is not None and kept >= one.most:
            return Posted.FULL
        self.data.early.setdefault(one.id, []).append(one)
        return Posted.LEFT

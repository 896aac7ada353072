"""Stores that are wrong in one way each, and the checks that find them.

Those about messages are in `wrong_mail` and `wrong_early`, those about deletion in `wrong_deletion`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import trio

from nurselog import Status
from nurselog.abc import (
    Append,
    Batch,
    Change,
    Claim,
    Created,
    Creation,
    Filter,
    Lease,
    Post,
    Posted,
    Receipt,
    Wanted,
    Workflow,
    WorkflowKey,
)
from nurselog.lowlevel import Row
from tests.testing.dict_store import DictStore

WRONG: list[tuple[str, type[DictStore]]] = []


def found(*names: str) -> Callable[[type[DictStore]], type[DictStore]]:
    """Say which checks find it, perhaps beside others."""

    def enter(store: type[DictStore]) -> type[DictStore]:
        WRONG.extend((name, store) for name in names)
        return store

    return enter


@found("rows_whose_answer_was_lost_are_ones_own")
class LosesTheLastRow(DictStore):
    def append(self, part: Append) -> bool:
        return super().append(msgspec.structs.replace(part, rows=part.rows[:-1] if len(part.rows) > 2 else part.rows))


@found("rows_whose_answer_was_lost_are_ones_own")
class WritesRowsTwice(DictStore):
    def append(self, part: Append) -> bool:
        log = self.data.logs.get(part.key, [])
        again = [row for row in part.rows if row.seq <= len(log)]
        return super().append(part) and (log.extend(again) or True)


@found("rows_whose_answer_was_lost_are_ones_own")
class RefusesItsOwnRows(DictStore):
    def is_mine(self, part: Append) -> bool:
        return super().is_mine(part) and (not part.rows or part.rows[0].seq > len(self.data.logs[part.key]))


@found("who_was_taken_over_is_refused_and_others_are_not")
class LetsAFormerOwnerWrite(DictStore):
    def is_mine(self, part: Append) -> bool:
        return not part.rows or part.rows[0].seq <= len(self.data.logs[part.key]) + 1


@found("rows_behind_a_claim_are_refused")
class FencesByCollisionAlone(DictStore):
    def is_mine(self, part: Append) -> bool:
        log = self.data.logs[part.key]
        taken = [row for row in log[part.rows[0].seq - 1 :] if row.writer != part.rows[0].writer] if part.rows else []
        return not taken and (bool(part.rows) or super().is_mine(part))


@found("rows_from_before_a_takeover_bring_nothing_with_them")
class FencesByRowsAlone(DictStore):
    def is_mine(self, part: Append) -> bool:
        there = self.data.logs[part.key]
        return super().is_mine(part) or (bool(part.rows) and all(row in there for row in part.rows))


@found("who_was_taken_over_is_refused_and_others_are_not")
class RefusesTheNeighbours(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        everybody = frozenset(part.key for part in batch.appends)
        return msgspec.structs.replace(receipt, refused=everybody if receipt.refused else frozenset())


@found("the_refused_keep_their_standing_and_their_messages")
class RefusesOnlyRows(DictStore):
    def append(self, part: Append) -> bool:
        accepted = super().append(part)
        if not accepted and part.key in self.data.workflows and part.standing:
            self.stand(part)
        return accepted


@found("without_rows_the_owner_decides", "only_the_owner_may_send_without_rows")
class LetsAnybodyStand(DictStore):
    def is_mine(self, part: Append) -> bool:
        return not part.rows or super().is_mine(part)


@found("without_rows_the_last_claim_decides")
class AsksOnlyForTheOwner(DictStore):
    def is_mine(self, part: Append) -> bool:
        return super().is_mine(part if part.rows else msgspec.structs.replace(part, writer=None))


@found("a_creation_whose_answer_was_lost_may_have_gone_on", "a_child_whose_answer_was_lost_is_new_still")
class TakesAllCreationsForFresh(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        return msgspec.structs.replace(super().create(one, before), gone_on=False)


@found("a_commit_is_whole_or_not_at_all")
class CommitsPieceByPiece(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        await super().commit(msgspec.structs.replace(batch, creations=()))
        return await super().commit(batch)


@found(
    "a_creation_whose_answer_was_lost_is_ones_own",
    "a_creation_whose_answer_was_lost_may_have_gone_on",
    "a_child_whose_answer_was_lost_is_new_still",
)
class DisownsItsCreations(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        return super().create(one, set())


@found("the_first_of_two_creations_with_one_id_wins")
class TakesTwinsForOne(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        return super().create(one, set(self.data.workflows))


@found("only_a_worker_that_is_there_may_own")
class LetsGhostsOwn(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        created = super().create(one, before)
        return msgspec.structs.replace(created, workflow=self.change(created.workflow.key, owner=one.owner))


@found("a_claim_is_the_row_the_log_and_the_messages")
class ForgetsClaimed(DictStore):
    def take(self, one: Workflow) -> Claim:
        claim = super().take(one)
        self.data.logs[one.key].pop()
        return msgspec.structs.replace(claim, rows=claim.rows[:-1])


@found("each_claim_has_a_writer_of_its_own")
class HasOneWriter(DictStore):
    def take(self, one: Workflow) -> Claim:
        claim, log = super().take(one), self.data.logs[one.key]
        log[-1] = msgspec.structs.replace(log[-1], writer=1000 + one.key)
        return msgspec.structs.replace(claim, writer=1000 + one.key, rows=list(log))


@found("the_time_in_a_log_never_goes_back")
class TurnsTimeBack(DictStore):
    def take(self, one: Workflow) -> Claim:
        claim, log = super().take(one), self.data.logs[one.key]
        log[-1] = msgspec.structs.replace(log[-1], at=self.clock.utc())
        return msgspec.structs.replace(claim, rows=list(log))


@found("what_lives_is_left_alone")
class ClaimsFromTheLiving(DictStore):
    def is_claimed(self, one: Workflow, wanted: Wanted) -> bool:
        return super().is_claimed(msgspec.structs.replace(one, owner=None), wanted)


@found("what_has_ended_is_never_claimed")
class ClaimsWhatHasEnded(DictStore):
    def is_claimed(self, one: Workflow, wanted: Wanted) -> bool:
        return super().is_claimed(msgspec.structs.replace(one, status=Status.WAITING), wanted)


@found("only_what_is_due_is_claimed_and_the_earliest_first")
class ClaimsTooEarly(DictStore):
    def is_claimed(self, one: Workflow, wanted: Wanted) -> bool:
        return super().is_claimed(msgspec.structs.replace(one, due_at=0), wanted)


@found("only_what_is_due_is_claimed_and_the_earliest_first")
class ClaimsTheLatestFirst(DictStore):
    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        await trio.lowlevel.checkpoint()
        due = [one for one in self.data.workflows.values() if self.is_claimed(one, wanted)]
        return [self.take(one) for one in due[: wanted.limit]]


@found("an_expired_lease_is_enough", "a_dead_worker_s_id_is_free")
class NeverBuriesAnybody(DictStore):
    def bury(self, spared: str | None = None) -> None:
        pass


@found("without_a_lease_nothing_is_claimed")
class ClaimsWithoutALease(DictStore):
    def is_alive(self, worker: str) -> bool:
        return worker == self.me or super().is_alive(worker)


@found("a_lease_that_has_expired_is_renewed_while_nobody_has_taken_over")
class RenewsNothingThatHasExpired(DictStore):
    async def renew(self) -> bool:
        await trio.lowlevel.checkpoint()
        if not (good := self.clock.utc() < self.data.workers.get(self.me, 0)):
            self.leave(self.me)
        self.enter()
        return good


@found("who_was_removed_may_have_its_own_again")
class SaysNothingOfItsRemoval(DictStore):
    async def renew(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.enter()
        return True


@found("two_living_workers_cannot_have_one_id")
class LetsTwinsIn(DictStore):
    async def open(self, lease: Lease) -> None:
        self.data.workers.pop(lease.worker, None)
        await super().open(lease)


@found("who_leaves_leaves_its_workflows")
class TakesItsWorkflowsAlong(DictStore):
    def leave(self, worker: str) -> None:
        self.data.workers.pop(worker, None)


@found("others_hear_of_what_concerns_them")
class TellsNobody(DictStore):
    async def wait_changed(self) -> frozenset[Change]:
        await trio.sleep_forever()
        raise AssertionError


@found("waiting_for_others_may_be_left")
class ForgetsWhatItWasTold(DictStore):
    async def wait_changed(self) -> frozenset[Change]:
        self.heard = self.data.changes
        return await super().wait_changed()


@found("list_filters")
class ListsTheOldestFirst(DictStore):
    async def list(self, where: Filter) -> Sequence[Workflow]:
        return (await super().list(where))[::-1]


@found("pages_of_a_list_do_not_move")
class ForgetsWhereAPageBegan(DictStore):
    async def list(self, where: Filter) -> Sequence[Workflow]:
        return await super().list(msgspec.structs.replace(where, before=None))


@found("the_next_one_that_is_due")
class IsDueAlthoughOwned(DictStore):
    def is_wanted(self, one: Workflow, wanted: Wanted) -> bool:
        return super().is_wanted(msgspec.structs.replace(one, owner=None), wanted)


@found("the_last_row")
class CountsFromOne(DictStore):
    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        return await super().read(key, max(from_seq, 1), limit)


@found("all_calls_are_checkpoints")
class AnswersAtOnce(DictStore):
    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        return [one for one in self.data.workflows.values() if one.id in ids]


@found("it_does_what_the_store_in_memory_does")
class ChangesWhatNoClauseNames(DictStore):
    def put(self, post: Post) -> Posted:
        verdict = super().put(post)
        if verdict is Posted.LEFT:
            self.change(post.key, updated_at=1)
        return verdict


@found("a_creation_makes_a_workflow_and_its_log")
class MakesWorkflowsThatNobodyWakes(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        created = super().create(one, before)
        return msgspec.structs.replace(created, workflow=self.change(created.workflow.key, due_at=None))


@found("an_id_that_is_taken_is_left_as_it_is")
class OverwritesWhatIsTaken(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        created = super().create(one, before)
        self.data.logs[created.workflow.key] = list(one.rows)
        return created


@found("creations_and_appends_in_one_batch")
class ForgetsAppendsBesideCreations(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(msgspec.structs.replace(batch, appends=()) if batch.creations else batch)


@found("an_empty_batch_is_nothing", "all_calls_are_checkpoints")
class RefusesToDoNothing(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        if not batch.creations and not batch.appends:
            raise ValueError("nothing to commit")
        return await super().commit(batch)


@found("rows_come_back_as_they_went_in", "logs_of_many_megabytes")
class TakesEmptyForNone(DictStore):
    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        return [
            msgspec.structs.replace(row, value=row.value or None) for row in await super().read(key, from_seq, limit)
        ]


@found("every_length_of_a_batch", "a_long_append_is_refused_whole")
class WritesInPieces(DictStore):
    """The second piece is not fenced, and loses its first row."""

    def append(self, part: Append) -> bool:
        whole = super().append(msgspec.structs.replace(part, rows=part.rows[:2048]))
        self.data.logs[part.key] += part.rows[2049:] if part.rows else ()
        return whole


@found("a_standing_changes_the_row")
class ForgetsProblems(DictStore):
    def stand(self, part: Append) -> None:
        super().stand(part)
        self.change(part.key, problem=None)


@found("who_is_not_released_stays_owned")
class ReleasesEverybody(DictStore):
    def stand(self, part: Append) -> None:
        super().stand(part)
        self.change(part.key, owner=None)


@found("a_gap_is_refused")
class LeavesGaps(DictStore):
    def is_mine(self, part: Append) -> bool:
        return super().is_mine(part) or part.rows[-1].writer == self.data.logs[part.key][-1].writer


@found("a_workflow_that_does_not_exist_is_refused")
class BelievesInGhosts(DictStore):
    def append(self, part: Append) -> bool:
        return part.key not in self.data.workflows or super().append(part)


@found("two_stores_fence_each_other", "a_log_is_never_torn")
class FencesOnlyItself(DictStore):
    def is_mine(self, part: Append) -> bool:
        return super().is_mine(part) or (self.me.startswith("b") and bool(part.rows))


@found("only_names_that_the_worker_has")
class TakesAllNamesForOne(DictStore):
    def is_wanted(self, one: Workflow, wanted: Wanted) -> bool:
        return one.owner is None and bool(wanted.names or wanted.versions)


@found("only_versions_that_the_worker_has")
class IgnoresVersions(DictStore):
    def is_wanted(self, one: Workflow, wanted: Wanted) -> bool:
        names = wanted.names | {name for name, _ in wanted.versions}
        return one.owner is None and one.name in names


@found("what_is_due_at_the_same_time_is_first_come_first_served", "a_thousand_at_once")
class ClaimsByName(DictStore):
    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        await trio.lowlevel.checkpoint()
        due = [one for one in self.data.workflows.values() if self.is_claimed(one, wanted)]
        return [self.take(one) for one in sorted(due, key=lambda one: (one.name, one.id))[: wanted.limit]]


@found("keys_are_claimed_whatever_their_name_and_due_time")
class ClaimsKeysOnlyWhenDue(DictStore):
    def is_claimed(self, one: Workflow, wanted: Wanted) -> bool:
        return super().is_claimed(one, wanted) and one.due_at is not None


@found("what_is_claimed_runs_but_a_cancelled_one_goes_on_being_cancelled")
class ForgetsThatItWasCancelled(DictStore):
    def take(self, one: Workflow) -> Claim:
        return super().take(msgspec.structs.replace(one, status=Status.RUNNING))


@found("find_gives_those_that_exist")
class WantsEverythingFound(DictStore):
    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        found = {one.id: one for one in await super().find(ids)}
        return [found[id] for id in ids]


@found("read_ends_where_asked")
class ReadsToTheEnd(DictStore):
    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        return await super().read(key, from_seq)


@found("read_begins_where_asked")
class ReadsEverything(DictStore):
    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        return await super().read(key, min(from_seq, 1), limit)


@found("a_cancelled_call_has_no_effect")
class ActsBeforeItWaits(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = Receipt(created=[self.create(one, set(self.data.workflows)) for one in batch.creations])
        await trio.lowlevel.checkpoint()
        return receipt


@found("calls_from_many_tasks")
class TakesOneCallAtATime(DictStore):
    busy = False

    async def commit(self, batch: Batch) -> Receipt:
        if self.busy:
            raise RuntimeError("another task commits")
        self.busy = True
        receipt = await super().commit(batch)
        self.busy = False
        return receipt


@found("a_lease_is_renewed")
class NeverRenews(DictStore):
    async def renew(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.clock.utc() < self.data.workers.get(self.me, 0)


@found("who_was_removed_owns_nothing_and_begins_anew")
class ComesBackFromTheDead(DictStore):
    async def renew(self) -> bool:
        gone = self.me not in self.data.workers
        return await super().renew() or gone


@found("what_was_written_outlives_who_wrote_it")
class EndsWithItsLastWorker(DictStore):
    async def close(self) -> None:
        await super().close()
        if not self.data.workers:
            self.data.messages.clear()


@found("a_worker_that_enters_anew_has_nothing_in_its_hands")
class EntersAnewWithEverything(DictStore):
    async def reenter(self) -> None:
        await trio.lowlevel.checkpoint()
        self.enter()

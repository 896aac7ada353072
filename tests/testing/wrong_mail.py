"""Stores that are wrong about messages and children in one way each, and the checks that find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio
from msgspec.structs import replace

from nurselog.abc import Append, Batch, Created, Creation, Message, Post, Posted, Receipt, WorkflowKey
from tests.testing.dict_store import DictStore
from tests.testing.wrong_stores import found

# -- what is taken, and who is woken -------------------------------------------------------------


@found("a_message_that_was_taken_wakes_nobody")
class DeliversTwice(DictStore):
    def drop(self, part: Append) -> None:
        super().drop(replace(part, taken=()))


@found("a_message_wakes_who_has_just_let_go")
class SleepsThroughMessages(DictStore):
    def stand(self, part: Append) -> None:
        super().stand(part)
        if part.standing:
            self.change(part.key, due_at=part.standing.due_at)


@found("what_is_stuck_is_not_woken_by_what_it_left")
class WakesTheStuck(DictStore):
    def stand(self, part: Append) -> None:
        super().stand(part)
        if self.waiting(part.key):
            self.change(part.key, due_at=0)


@found("a_message_makes_a_workflow_due")
class LeavesMailForTheNextVisitor(DictStore):
    def put(self, post: Post) -> Posted:
        before = self.data.workflows.get(post.key)
        verdict = super().put(post)
        if before:
            self.change(post.key, due_at=before.due_at)
        return verdict


@found("a_message_makes_a_workflow_due")
class WakesOnlyTheFirst(DictStore):
    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        before = {post.key: self.data.workflows[post.key].due_at for post in posts[1:] if self.waiting(post.key) == 0}
        verdicts = super().put_all(posts)
        for key in before.keys() - {post.key for post in posts[:1]}:
            self.change(key, due_at=before[key])
        return verdicts


@found("no_message_is_slept_through")
class WakesNobody(LeavesMailForTheNextVisitor, SleepsThroughMessages):
    pass


@found("what_is_not_left_wakes_nobody")
class WakesForWhatIsKnown(DictStore):
    def put(self, post: Post) -> Posted:
        verdict = super().put(post)
        if verdict is Posted.KNOWN:
            self.change(post.key, due_at=0)
        return verdict


@found("what_is_not_left_wakes_nobody")
class WakesForWhatFindsNoRoom(DictStore):
    def put(self, post: Post) -> Posted:
        verdict = super().put(post)
        if verdict is Posted.FULL:
            self.change(post.key, due_at=0)
        return verdict


@found("messages_come_in_order")
class ShufflesMessages(DictStore):
    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        return sorted(await super().messages(behind), key=lambda message: message.key)


@found("messages_behind_what_is_known")
class LeavesOutWholeWorkflows(DictStore):
    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        return [one for one in await super().messages() if one.key not in (behind or {})]


@found("messages_behind_what_is_known")
class TellsWhatIsKnown(DictStore):
    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        return await super().messages()


@found("messages_are_those_for_what_one_owns")
class GivesMailToStrangers(DictStore):
    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        await trio.lowlevel.checkpoint()
        return [one for one in self.data.messages if self.data.workflows[one.key].owner]


# -- what is answered ----------------------------------------------------------------------------


@found("a_post_says_what_became_of_each")
class SaysThatAllIsWell(DictStore):
    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        return [Posted.LEFT for _ in super().put_all(posts)]


@found("what_is_returned_itself_comes_first")
class ReturnsWhatHasOthersBeforeIt(DictStore):
    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        answers = await super().post(posts)
        last = iter(self.data.messages[-sum(one is Posted.LEFT for one in answers) :])
        return [next(last) if one is Posted.LEFT else one for one in answers]


@found("what_is_returned_itself_comes_first")
class ReturnsSomeOfThem(DictStore):
    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        idle = not self.data.messages
        answers: list[Posted | Message] = [*await super().post(posts)]
        if idle and self.data.messages:
            answers[answers.index(Posted.LEFT)] = self.data.messages[0]
        return answers


@found("messages_for_one_workflow_keep_their_order")
class PutsTheLastOneOnTop(DictStore):
    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        return super().put_all(posts[::-1])[::-1]


@found("thousands_of_messages_at_once")
class LeavesAThousandAtMost(DictStore):
    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        return super().put_all(posts[:1000])


@found("a_post_is_whole_or_not_at_all")
class PostsOneByOne(DictStore):
    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        await trio.lowlevel.checkpoint()
        return [verdict for post in posts for verdict in await super(PostsOneByOne, self).post([post])]


@found("many_who_post_at_once_are_let_in_one_by_one")
class LooksBeforeItWaits(DictStore):
    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        verdicts = [self.judge(post) for post in posts]
        await super().post([replace(post, once=None, most=None) for post in posts])
        self.data.words |= {(post.key, post.once) for post in posts if post.once}
        return verdicts


@found("a_message_for_nobody_is_dropped")
class KeepsMailForNobody(DictStore):
    def judge(self, post: Post) -> Posted:
        return super().judge(post) if post.key in self.data.workflows else Posted.LEFT


@found("an_ended_workflow_gets_no_messages")
class WakesTheDead(DictStore):
    def put(self, post: Post) -> Posted:
        verdict = super().put(post)
        if post.key in self.data.workflows:
            self.change(post.key, due_at=0)
        return verdict


@found("an_ended_workflow_gets_no_messages")
class ForgetsTheWordsOfTheDead(DictStore):
    def judge(self, post: Post) -> Posted:
        over = post.key in self.data.workflows and self.data.workflows[post.key].status.final
        return Posted.ENDED if over else super().judge(post)


# -- words ---------------------------------------------------------------------------------------


@found("what_is_left_once_is_not_left_again")
class LeavesEverythingAgain(DictStore):
    def judge(self, post: Post) -> Posted:
        return super().judge(replace(post, once=None))


@found("what_is_left_once_is_not_left_again")
class TakesEmptyWordsForNone(DictStore):
    def put(self, post: Post) -> Posted:
        return super().put(replace(post, once=post.once or None))


@found("what_is_left_once_is_not_left_again")
class HasTheSameWordsForAll(DictStore):
    def judge(self, post: Post) -> Posted:
        return Posted.KNOWN if post.once in {word for _, word in self.data.words} else super().judge(post)


@found("what_is_left_once_is_not_left_again")
class KnowsTheKindAsWell(DictStore):
    def put(self, post: Post) -> Posted:
        return super().put(replace(post, once=None if post.once is None else f"{post.kind} {post.once}"))


@found("what_was_taken_is_known_still")
class ForgetsWhatWasTaken(DictStore):
    def drop(self, part: Append) -> None:
        super().drop(part)
        self.data.words = {(key, word) for key, word in self.data.words if not part.taken or key != part.key}


@found("what_ends_leaves_the_messages_of_others")
class ForgetsAllWordsAtAnEnd(DictStore):
    def drop(self, part: Append) -> None:
        super().drop(part)
        if part.standing and part.standing.status.final:
            self.data.words.clear()


# -- bounds --------------------------------------------------------------------------------------


@found("who_has_too_many_messages_gets_no_more")
class HasRoomForAll(DictStore):
    def judge(self, post: Post) -> Posted:
        return super().judge(replace(post, most=None))


@found("who_has_too_many_messages_gets_no_more")
class CountsTheMailOfAll(DictStore):
    def waiting(self, key: WorkflowKey) -> int:
        return len(self.data.messages)


@found("who_has_too_many_messages_gets_no_more")
class CountsOneKindOnly(DictStore):
    def waiting(self, key: WorkflowKey) -> int:
        return sum(one.key == key and one.kind == "note" for one in self.data.messages)


@found("who_has_too_many_messages_gets_no_more")
class CountsBeforeItBegins(DictStore):
    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        waiting = {post.key: self.waiting(post.key) for post in posts}
        bounds = [post.most is not None and waiting[post.key] >= post.most for post in posts]
        return [self.put(replace(post, most=0 if full else None)) for post, full in zip(posts, bounds, strict=True)]


@found("what_is_known_is_known_where_there_is_no_room")
class LooksForRoomFirst(DictStore):
    def judge(self, post: Post) -> Posted:
        verdict = super().judge(replace(post, once=None))
        return super().judge(post) if verdict is Posted.LEFT else verdict


@found("what_found_no_room_may_come_again")
class KnowsWhatFoundNoRoom(DictStore):
    def put(self, post: Post) -> Posted:
        verdict = super().put(post)
        if post.once is not None:
            self.data.words.add((post.key, post.once))
        return verdict


# -- messages of appends -------------------------------------------------------------------------


def parts(batch: Batch, **changes: object) -> Batch:
    """Change all appends of a batch."""
    return replace(batch, appends=[replace(part, **changes) for part in batch.appends])


@found("an_append_leaves_its_messages")
class LeavesNothingWithAppends(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(parts(batch, posts=()))


@found("an_append_leaves_its_messages")
class LeavesOneMessageWithAnAppend(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(
            replace(batch, appends=[replace(part, posts=part.posts[:1]) for part in batch.appends])
        )


@found("a_single_row_may_bring_a_message")
class TakesTheShortWayWithOneRow(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        short = len(batch.appends) == 1 and len(batch.appends[0].rows) == 1 and not batch.appends[0].standing
        return await super().commit(parts(batch, posts=()) if short else batch)


@found("a_refused_append_leaves_no_message")
class LeavesWhatTheRefusedSay(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        for part in batch.appends:
            if part.key in receipt.refused:
                self.put_all(part.posts)
        return receipt


@found("a_refused_append_leaves_no_message")
class LeavesNothingBesideTheRefused(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        before = list(self.data.messages)
        receipt = await super().commit(batch)
        if receipt.refused:
            self.data.messages = before
        return receipt


@found("messages_of_an_append_that_comes_again_are_there_once")
class SaysAllAgain(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        appends = [replace(part, posts=[replace(post, once=None) for post in part.posts]) for part in batch.appends]
        return await super().commit(replace(batch, appends=appends))


@found("messages_of_an_append_that_comes_again_are_there_once")
class SaysNothingAgain(DictStore):
    """Of an append that has a row that is there already it leaves nothing, although more may have come."""

    async def commit(self, batch: Batch) -> Receipt:
        old = [part for part in batch.appends if part.rows and part.rows[0].seq <= len(self.data.logs[part.key])]
        appends = [replace(part, posts=()) if part in old else part for part in batch.appends]
        return await super().commit(replace(batch, appends=appends))


@found("what_an_append_cannot_leave_does_not_stop_it")
class RefusesWhoIsNotHeard(DictStore):
    def append(self, part: Append) -> bool:
        return all(self.judge(post) is Posted.LEFT for post in part.posts) and super().append(part)


@found("what_an_append_cannot_leave_does_not_stop_it")
class IgnoresTheBoundsOfAppends(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        appends = [replace(part, posts=[replace(post, most=None) for post in part.posts]) for part in batch.appends]
        return await super().commit(replace(batch, appends=appends))


@found("messages_are_left_when_all_else_is_written", "a_workflow_may_write_to_itself")
class LeavesMessagesFirst(DictStore):
    """Also of an append that lets go of its own workflow, whose standing is then the last word."""

    async def commit(self, batch: Batch) -> Receipt:
        for part in batch.appends:
            self.put_all(part.posts)
        return await super().commit(parts(batch, posts=()))

    def stand(self, part: Append) -> None:
        super().stand(part)
        if part.standing:
            self.change(part.key, due_at=part.standing.due_at)


@found("others_hear_of_the_messages_of_appends")
class KeepsTheMailOfAppendsSecret(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        self.data.changes -= any(part.posts for part in batch.appends)
        return receipt


@found("two_may_write_to_each_other")
class ForgetsWhatCameMeanwhile(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        before = list(self.data.messages)
        await trio.lowlevel.checkpoint()
        self.data.messages = before
        return await super().commit(batch)


# -- children ------------------------------------------------------------------------------------


@found("a_child_is_made_with_an_append_of_its_parent")
class MakesNoChildren(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(replace(batch, creations=[one for one in batch.creations if not one.parent]))
        created = iter(receipt.created)
        return replace(receipt, created=[None if one.parent else next(created) for one in batch.creations])


@found("a_child_is_made_with_an_append_of_its_parent")
class MakesNoChildrenWithoutRows(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        rowless = {part.key for part in batch.appends if not part.rows}
        creations = [replace(one, parent=-1) if one.parent in rowless else one for one in batch.creations]
        return await super().commit(replace(batch, creations=creations))


@found("a_row_says_whose_child_it_is")
class ForgetsWhoseChildItIs(DictStore):
    def create(self, one: Creation, before: set[WorkflowKey]) -> Created:
        return super().create(replace(one, parent=None), before)


@found(
    "who_is_refused_has_no_children",
    "who_appends_nothing_has_no_children",
    "a_child_outlives_a_parent_that_was_taken_over",
)
class MakesAllChildren(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(replace(batch, creations=[replace(one, parent=None) for one in batch.creations]))


@found("who_is_refused_has_no_children")
class SaysNothingOfWhatWasNotMade(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        return replace(receipt, created=[one for one in receipt.created if one])


@found("a_child_outlives_a_parent_that_was_taken_over")
class TakesChildrenBack(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        receipt = await super().commit(batch)
        for one, made in zip(batch.creations, receipt.created, strict=True):
            for key in [key for key, old in self.data.workflows.items() if not made and old.id == one.id]:
                del self.data.workflows[key]
        return receipt


@found("a_thousand_children_of_one_append")
class MakesChildrenByName(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(replace(batch, creations=sorted(batch.creations, key=lambda one: one.id)))


@found("rows_children_and_messages_in_one_append")
class LeavesNothingBesideChildren(DictStore):
    async def commit(self, batch: Batch) -> Receipt:
        return await super().commit(parts(batch, posts=()) if batch.creations else batch)

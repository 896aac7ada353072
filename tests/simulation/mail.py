"""The judge's account of messages: what was left, with which words, and what has been taken.

It follows what the database was asked for, and what that said; after each deed the same messages must wait in both. So
what was left is there until it is taken or its workflow ends, what was left once does not come twice, and none comes
that nobody has sent. What is taken is in the log by the same commit, or a kill in between would lose it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nurselog._engine.messages import Kind, read_message
from nurselog.abc import Append, Batch, Message, Post, Posted, Receipt, WorkflowKey
from nurselog.lowlevel import Cause, Ended, Event, Result, Resumed, ScopeCancelled, decode_event
from tests.simulation.database import Database

_KINDS = {kind.value for kind in Kind}
"""What engines can enter; the checks of stores leave notes of their own."""


class Mail:
    """Keeps account of a database's messages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[int, Message] = {}
        self._words: dict[WorkflowKey, set[str]] = {}
        self._last = 0
        """The highest number that was seen."""
        self.problems: list[tuple[WorkflowKey, str]] = []
        """What must not be, and for whom."""
        self.torn: list[tuple[WorkflowKey, str]] = []
        """What was taken and not entered, and by whom."""
        self.entered: dict[WorkflowKey, list[Message]] = {}
        """What has been taken."""
        self.dropped: list[Message] = []
        """What nobody took before its workflow ended."""

    def posted(self, posts: Sequence[Post], answers: Sequence[Posted]) -> None:
        """Messages were posted, and this was the answer."""
        for post, answer, verdict in zip(posts, answers, self._follow(posts), strict=True):
            if answer is not verdict:
                self.problems.append((post.key, f"of {post} was said that it is {answer.value}, not {verdict.value}"))
        self._compare()

    def committed(self, batch: Batch, receipt: Receipt) -> None:
        """A batch was committed."""
        accepted = [append for append in batch.appends if append.key not in receipt.refused]
        for append in accepted:
            self._taken(append)
            if self._database.workflows[append.key].status.final:
                self.dropped.extend(self._remove([n for n, one in self._waiting.items() if one.key == append.key]))
        self._follow([post for append in accepted for post in append.posts])
        self._compare()

    def _taken(self, append: Append) -> None:
        """See that what is taken is entered; what comes after the end is not, and goes with the workflow."""
        taken = [one for one in self._remove(append.taken) if one.kind in _KINDS]
        rows = [(decode_event(row.event), row.value or b"") for row in append.rows] if taken else []
        over = append.standing is not None and append.standing.status.final
        for message in taken:
            entry = next((row for row in rows if _enters(message, *row)), None)
            if entry is not None:
                rows.remove(entry)
                self.entered.setdefault(append.key, []).append(message)
            elif over:
                self.dropped.append(message)
            else:
                self.torn.append((append.key, f"{message} was taken, and by that commit the log has {rows}"))

    def _remove(self, numbers: Sequence[int]) -> Sequence[Message]:
        return [self._waiting.pop(number) for number in numbers if number in self._waiting]

    def _follow(self, posts: Sequence[Post]) -> Sequence[Posted]:
        """Enter what must be left, under the numbers that the database has given; say what becomes of each."""
        arrived = iter(sorted(number for number in self._database.messages if number > self._last))
        verdicts = list[Posted]()
        for post in posts:
            verdicts.append(self._verdict(post))
            if verdicts[-1] is Posted.LEFT:
                number = next(arrived, self._last + 1)
                self._last = number
                self._waiting[number] = Message(number=number, key=post.key, kind=post.kind, body=post.body)
                if post.once is not None:
                    self._words.setdefault(post.key, set()).add(post.once)
        return verdicts

    def _verdict(self, post: Post) -> Posted:
        workflow = self._database.workflows.get(post.key)
        if post.once in self._words.get(post.key, ()):
            return Posted.KNOWN
        if workflow is None or workflow.status.final:
            return Posted.ENDED
        waiting = sum(message.key == post.key for message in self._waiting.values())
        return Posted.FULL if post.most is not None and waiting >= post.most else Posted.LEFT

    def _compare(self) -> None:
        """See that the same messages wait in both; from then on, what waits in the database counts."""
        found = self._database.messages
        for number in sorted(self._waiting.keys() | found.keys()):
            mine, other = self._waiting.get(number), found.get(number)
            if mine != other:
                message = mine or other
                assert message
                self.problems.append((message.key, f"message {number} must be {mine}, and there is {other}"))
        self._waiting = dict(found)
        self._last = max([self._last, *found])


def _enters(message: Message, event: Event, value: bytes) -> bool:
    """Whether a row is what comes of a message."""
    kind, body = read_message(message)
    match kind:
        case Kind.CANCEL:
            return isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL and event.reason == body.reason
        case Kind.KILL:
            return event == Ended(result=Result.KILLED)
        case Kind.RESUME:
            return isinstance(event, Resumed)
        case _:
            return (event, value) == (body.event, body.value)

"""The judge: watches what engines are told, what bodies do and what logs say, and finds what must not be.

It believes nobody. What was answered as durable it keeps, and looks for it at the end; which steps are recorded it
reads from the logs, at each body that begins; what a waiter was told it compares with the log's last row.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from nurselog import Status, WorkflowCancelled, WorkflowKilled
from nurselog._engine.ends import value_of
from nurselog._engine.messages import Kind
from nurselog.abc import Batch, Post, Posted, Receipt, Workflow, WorkflowKey
from nurselog.lowlevel import (
    END_STATUS,
    Answered,
    Cause,
    ChildEnded,
    Claimed,
    Ended,
    Event,
    JsonCodec,
    LogEntry,
    Received,
    Result,
    Row,
    ScopeCancelled,
    StepEnded,
    TimerFired,
)
from nurselog.testing import Broken, replay
from tests.simulation.answers import Answers
from tests.simulation.database import Database
from tests.simulation.family import Family
from tests.simulation.history import History
from tests.simulation.laws import Breach, Law
from tests.simulation.letters import Letters, submitted_by
from tests.simulation.mail import Mail
from tests.simulation.process import Process
from tests.simulation.releases import current, may_get_stuck
from tests.simulation.steps import Entry
from tests.simulation.talk import listener
from tests.simulation.tally import Tally, Thing


class Judge:
    """Watches a run."""

    def __init__(self, database: Database, tally: Tally) -> None:
        self._database, self._tally = database, tally
        self._histories: dict[WorkflowKey, History] = {}
        self.breaches: list[Breach] = []
        self.trace: list[str] = []
        """All that was seen, in order: two runs of one seed must agree in it."""
        self._submitted: dict[str, None] = {}
        self._answered: dict[tuple[WorkflowKey, int], Row] = {}
        self._cancelled: dict[str, None] = {}
        self._asked: Counter[WorkflowKey] = Counter()
        """How often each was asked to be cancelled."""
        self._letters: list[tuple[WorkflowKey, int]] = []
        """Each time, and how long the log was then."""
        self._mail = Mail(database)
        self._family = Family(database)
        self.letters = Letters(self._mail)
        """What senders were told."""
        self.answers = Answers()
        """What those were told who asked for updates."""
        self.promises: list[str] = []
        """Those that somebody outside is to settle."""
        self._once: Counter[str] = Counter()
        self._reserved: dict[str, str] = {}
        self._released: set[str] = set()

    def broken(self, law: Law, problem: str, id: str | None = None) -> None:
        """Note that a law was broken."""
        self.breaches.append(Breach(law, problem, id))

    def note(self, *what: object) -> None:
        """Note what happens, for the trace."""
        self.trace.append(" ".join(map(str, what)))

    # -- what happens ----------------------------------------------------------------------------

    def done(self, process: Process, batch: Batch, receipt: Receipt) -> None:
        """A batch was committed."""
        self._tally[Thing.COMMITS] += 1
        self._tally[Thing.FENCED] += len(receipt.refused)
        self._mail.committed(batch, receipt)
        self.breaches.extend(self._family.committed(batch, receipt))
        for append in batch.appends:
            stuck = append.standing is not None and append.standing.status is Status.STUCK
            if stuck and append.key not in receipt.refused:
                self._got_stuck(process, self._database.workflows[append.key])

    def _got_stuck(self, process: Process, workflow: Workflow) -> None:
        self._tally[Thing.STUCK] += 1
        if not may_get_stuck(workflow.name, process.release):
            self.broken(Law.FOLLOWS, f"{workflow.id} got stuck: {workflow.problem}", workflow.id)

    def answered(self, batch: Batch, receipt: Receipt) -> None:
        """An engine was told that a batch is durable."""
        for append in batch.appends:
            if append.key not in receipt.refused:
                self._promise(append.key, append.rows)
        for creation, created in zip(batch.creations, receipt.created, strict=True):
            if created and created.new:
                self._promise(created.workflow.key, creation.rows)

    def _promise(self, key: WorkflowKey, rows: Sequence[Row]) -> None:
        for row in rows:
            self._answered[key, row.seq] = row

    def posted(self, posts: Sequence[Post], answers: Sequence[Posted]) -> None:
        """Messages were posted, and this was the answer."""
        self._mail.posted(posts, answers)
        for post, answer in zip(posts, answers, strict=True):
            if post.kind == Kind.CANCEL.value and answer is Posted.LEFT:
                self._asked[post.key] += 1
                self._letters.append((post.key, len(self._database.logs[post.key])))

    def submitted(self, id: str) -> None:
        """Somebody was told that a workflow will run."""
        self._submitted[id] = None

    def cancelled(self, id: str) -> None:
        """Somebody was told, while nothing went wrong, that a workflow will be cancelled."""
        self._cancelled[id] = None

    def result(self, id: str, outcome: object) -> None:
        """Somebody was told how a workflow has ended."""
        self.note("result", id, outcome)
        if outcome != (said := self._end_of(id)):
            self.broken(Law.ANSWER, f"somebody was told {outcome}, and the log says {said}", id)

    # -- what bodies do --------------------------------------------------------------------------

    def entered(self, body: Entry) -> None:
        """A body begins. One whose workflow was taken over may not have heard of it yet, and may do what it likes."""
        self._tally[Thing.BODIES] += 1
        self.note("body", body.id, body.key, body.attempt)
        history = self._look(body.id)
        if body.writer == history.rows[-1].writer:
            for law, problem in _untimely(body, history):
                self.broken(law, problem, body.id)
        else:
            self._tally[Thing.ZOMBIES] += 1
        self._once[body.key] += body.once
        if self._once[body.key] > 1:
            self.broken(Law.AT_MOST_ONCE, "the body of an at_most_once step runs again", body.id)

    def reserved(self, id: str, what: str) -> None:
        """Something was reserved."""
        self._reserved[what] = id

    def released(self, what: str) -> None:
        """It was released."""
        self._released.add(what)

    def asked(self, promise: str) -> None:
        """Somebody outside is to settle a promise."""
        if promise not in self.promises:
            self.promises.append(promise)

    def _look(self, id: str) -> History:
        [workflow] = self._database.find([id])
        history = self._histories.setdefault(workflow.key, History(id))
        history.read(self._database.logs[workflow.key])
        return history

    # -- the end ---------------------------------------------------------------------------------

    def wait_no_longer(self) -> None:
        """The calm time is over: whatever has not ended waits for ever."""
        for one in self._database.workflows.values():
            if not one.status.final:
                law = Law.RECALLED if one.name == listener.name else Law.ENDS
                self.broken(
                    law, f"it is {one.status.value} for ever, owned by {one.owner}, due at {one.due_at}", one.id
                )

    def conclude(self) -> None:
        """Look at all that is left."""
        histories = {one.key: self._look(one.id) for one in self._database.workflows.values()}
        for id in (*self._submitted, *submitted_by(histories.values())):
            if not self._database.find([id]):
                self.broken(Law.KEPT, f"{id} was submitted, and is not there")
        for workflow in self._database.workflows.values():
            self._conclude_one(workflow)
        for (key, seq), row in self._answered.items():
            log = self._database.logs[key]
            if len(log) < seq or log[seq - 1] != row:
                found = log[seq - 1] if len(log) >= seq else "nothing"
                id = self._database.workflows[key].id
                self.broken(Law.KEPT, f"row {seq} was answered as durable: {row}, and there is {found}", id)
        for key, length in self._letters:
            self._conclude_letter(self._look(self._database.workflows[key].id), length)
        for what, id in self._reserved.items():
            if what not in self._released and not self._look(id).killed:
                self.broken(Law.CLEAN, f"{what} is still reserved", id)
        self._conclude_conversations(histories)

    def _conclude_conversations(self, histories: Mapping[WorkflowKey, History]) -> None:
        for key, problem in self._mail.problems:
            self.broken(Law.MAIL, problem, self._database.workflows[key].id)
        for key, problem in self._mail.torn:
            self.broken(Law.TAKEN, problem, self._database.workflows[key].id)
        self.breaches.extend([*self._family.conclude(histories), *self.letters.conclude(histories)])
        self.breaches.extend(self.answers.conclude(histories.values()))

    def _conclude_one(self, workflow: Workflow) -> None:
        if self._database.find([workflow.id]) != [workflow]:
            self.broken(Law.SOUND, "two workflows have this id", workflow.id)
            return
        history, log = self._look(workflow.id), self._database.logs[workflow.key]
        self._tally[Thing.WORKFLOWS] += 1
        self._tally[Thing.CHILDREN] += workflow.parent is not None
        self._tally[Thing.EVENTS] += len(log)
        self._tally[Thing.TAKEOVERS] += sum(isinstance(event, Claimed) for event in history.events)
        if history.rows != log:
            self.broken(Law.KEPT, "rows have changed after they were written", workflow.id)
            return
        for event in history.events:
            if isinstance(event, Received):
                self._tally[Thing.SETTLED if event.topic is None else Thing.LETTERS] += 1
            elif isinstance(event, Answered):
                self._tally[Thing.ANSWERED] += 1
            elif isinstance(event, ChildEnded):
                self._tally[Thing.RECALLED] += event.result is Result.CANCELLED
        for law, problem in (*unsound(history.events, log), *unended(history.events, workflow)):
            self.broken(law, problem, workflow.id)
        cancels, asked = sum(map(_is_cancel, history.events)), self._asked[workflow.key]
        if not int(workflow.id in self._cancelled) <= cancels <= asked:
            self.broken(Law.CANCELS, f"it was cancelled {asked} times, and its log has {cancels}", workflow.id)

    def _conclude_letter(self, history: History, length: int) -> None:
        """Whoever took a workflow over has found the letters that were there, and has entered them."""
        later = history.events[length:]
        killed = later and later[-1] == Ended(result=Result.KILLED)
        if any(isinstance(one, Claimed) for one in later) and not any(map(_is_cancel, later)) and not killed:
            self.broken(
                Law.CANCELS, f"behind row {length} it was cancelled, and then taken over without that", history.id
            )

    def _end_of(self, id: str) -> object:
        [workflow] = self._database.find([id])
        history = self._look(id)
        event, codec = history.events[-1], JsonCodec()
        if not isinstance(event, Ended):
            return "nothing"
        returns = current(workflow.name, workflow.version).returns
        return outcome_of(lambda: value_of(id, event, history.rows[-1].value, codec, returns))

    def replay(self) -> None:
        """Replay every log by the code of today. It runs Trio by itself."""
        for workflow in self._database.workflows.values():
            entries = [LogEntry.of(row) for row in self._database.logs[workflow.key]]
            self._tally[Thing.REPLAYS] += 1
            try:
                replay(current(workflow.name, workflow.version), entries, id=workflow.id)
            except Broken as broken:
                self.broken(Law.REPLAYS, broken.report.findings[0].problem, workflow.id)

    def log(self, id: str) -> Sequence[LogEntry]:
        """Return a workflow's log."""
        [workflow] = self._database.find([id])
        return [LogEntry.of(row) for row in self._database.logs[workflow.key]]


def outcome_of(result: Any) -> object:
    """Return what a call for a result gives or raises, as something that can be compared."""
    try:
        return "value", result()
    except (WorkflowCancelled, WorkflowKilled) as exc:
        return type(exc).__name__, None
    except Exception as exc:  # noqa: BLE001 - the workflow's own error
        return type(exc).__name__, str(exc)


def _untimely(body: Entry, history: History) -> Iterator[tuple[Law, str]]:
    """Find what is wrong with a body that begins just now."""
    if body.key in history.recorded:
        yield Law.NOT_AGAIN, f"a body runs whose outcome is recorded, attempt {body.attempt}"
    if body.attempt <= history.failed.get(body.key, 0):
        yield Law.NOT_AGAIN, f"attempt {body.attempt} runs again, which is recorded as failed"
    if body.delivered > history.delivered:
        yield Law.DURABLE, f"{body.delivered} events have moved it, and {history.delivered} are in its log"


def unsound(events: Sequence[Event], log: Sequence[Row]) -> Iterator[tuple[Law, str]]:
    """Find what no log may have."""
    if [row.seq for row in log] != list(range(1, len(log) + 1)):
        yield Law.SOUND, f"seqs are not dense: {[row.seq for row in log]}"
    if any(one.at > other.at for one, other in pairwise(log)):
        yield Law.SOUND, "time goes back"
    for kind in (StepEnded, TimerFired):
        places = [event.path for event in events if isinstance(event, kind)]
        if len(places) != len(set(places)):
            yield Law.SOUND, f"{kind.__name__} twice at one path"
    for (before, _), (row, event) in pairwise(zip(log, events, strict=True)):
        if isinstance(event, Claimed) == (row.writer == before.writer):
            yield Law.FENCE, f"row {row.seq} is by writer {row.writer}, and the one above by {before.writer}"


def unended(events: Sequence[Event], workflow: Workflow) -> Iterator[tuple[Law, str]]:
    """Find what is wrong with a workflow's end."""
    if any(isinstance(event, Ended) for event in events[:-1]):
        yield Law.ENDS, "there are rows after its end"
    last = events[-1]
    if not isinstance(last, Ended):
        yield Law.ENDS, f"its log has no end, and its row is {workflow}"
    elif (workflow.status, workflow.owner, workflow.due_at) != (END_STATUS[last.result], None, None):
        yield Law.ENDS, f"its log has an end, and its row is {workflow}"


def _is_cancel(event: Event) -> bool:
    return isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL


class Complaints(logging.Handler):
    """Takes what engines complain of to the judge."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(logging.ERROR)
        self._judge = judge

    def emit(self, record: logging.LogRecord) -> None:
        """Note a complaint.

        Not of a workflow that is stuck: another law says which may be. Nor of a step of nurselog's own that waits for a
        database that is slow, as it must.
        """
        text = self.format(record)
        if " is stuck: " not in text and not (": step 'nurselog." in text and text.endswith("is closed at its wait")):
            self._judge.broken(Law.HEALTHY, text)

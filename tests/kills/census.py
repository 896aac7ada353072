"""Reads a whole PostgreSQL store and the effects of those who worked on it, and says what it has checked.

Laws of the logs are one thing: they hold whatever happens. That a step which is recorded does not begin again is
another: it holds for processes that are killed, and not for one that was stopped past its lease and has not looked at
the clock yet. What such a one does is in no log, and that is what the first part is about.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path

import msgspec
import psycopg
from psycopg.rows import class_row

from nurselog._log.identity import step_key
from nurselog.lowlevel import Claimed, Ended, Event, Result, Started, StepEnded, decode_event, parse_path
from tests.kills.effects import told

FINAL = {
    Result.VALUE: "completed",
    Result.ERROR: "failed",
    Result.CANCELLED: "cancelled",
    Result.KILLED: "killed",
}


@dataclass(frozen=True)
class Line:
    """A row of a log, with what the workflow's own row says."""

    id: str
    status: str
    owner: str | None
    seq: int
    at: int
    writer: int
    format: int
    text: str
    value: bytes | None

    @property
    def event(self) -> Event:
        return decode_event(self.text.encode())


@dataclass(frozen=True)
class Body:
    """A step that began."""

    at: int
    life: str
    id: str
    key: str
    name: str
    attempt: str


class Census:
    """All that is in a store, and all that has happened.

    Args:
        url: the store's database.
        effects: the file in which processes have written down what they did.
    """

    def __init__(self, url: str, effects: Path) -> None:
        with psycopg.connect(url, options="-c search_path=nurselog", row_factory=class_row(Line)) as connection:
            lines = connection.execute(
                "SELECT id, status, owner, seq, at, writer, format, event AS text, value"
                " FROM log JOIN workflow USING (shard) WHERE log.workflow = workflow.key ORDER BY id, seq"
            ).fetchall()
        self.logs = {id_: list(log) for id_, log in groupby(lines, attrgetter("id"))}
        with psycopg.connect(url, options="-c search_path=nurselog") as plain:
            self.workflows = {id_ for (id_,) in plain.execute("SELECT id FROM workflow")}
            [self.left] = plain.execute(
                "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM workflow WHERE owner IS NOT NULL)"
            ).fetchall()
        lines = told(effects)
        self.submitted = {words[3] for words in lines if words[2] == "submitted"}
        self.bodies = [Body(int(at), life, *words) for at, life, kind, *words in lines if kind == "body"]
        self.takeovers = self.steps = 0

    def check_logs(self) -> None:
        """Hold every log against what no crash may break."""
        assert self.workflows == self.logs.keys(), "a workflow without a log"
        assert self.submitted <= self.workflows, "a submit that was answered is lost"
        assert self.left == (0, 0), "messages, or owners, of workflows that are over"
        for id_, log in self.logs.items():
            assert [line.seq for line in log] == list(range(1, len(log) + 1)), f"{id_}: a seq is missing"
            events = [line.event for line in log]
            assert isinstance(events[0], Started), f"{id_} does not begin with its beginning"
            ends = [at for at, event in enumerate(events) if isinstance(event, Ended)]
            assert ends == [len(events) - 1], (
                f"{id_}, {log[0].status}, has not ended, or not once, or not last: {events}"
            )
            assert FINAL[events[-1].result] == log[0].status, f"{id_}: the row and the log disagree"  # type: ignore[union-attr]  # it is `Ended`
            self._check_owners(id_, log)
            paths = [event.path for event in events if isinstance(event, StepEnded)]
            assert len(paths) == len(set(paths)), f"{id_}: a step is recorded twice"
            self.steps += len(paths)

    def _check_owners(self, id_: str, log: list[Line]) -> None:
        """A new writer comes with `claimed`, and the former one is never heard of again."""
        for before, line in pairwise(log):
            claimed = isinstance(line.event, Claimed)
            assert claimed == (line.writer != before.writer), f"{id_}, {line.seq}: a writer without a claim, or twice"
            self.takeovers += claimed
        eras = [writer for writer, _ in groupby(line.writer for line in log)]
        assert len(eras) == len(set(eras)), f"{id_}: a fenced owner has written behind another's claim"

    def check_bodies(self) -> None:
        """Nothing that was recorded has begun again, and what is to happen at most once did."""
        recorded: dict[str, int] = {}
        for id_, log in self.logs.items():
            for line in log:
                if isinstance(event := line.event, StepEnded):
                    recorded[step_key(id_, parse_path(event.path))] = line.at
        for body in self.bodies:
            assert body.at <= recorded.get(body.key, body.at), f"it was recorded, and ran again: {body}"
        once = Counter(body.key for body in self.bodies if body.name == "pay")
        assert set(once.values()) <= {1}, "at most once is not more than once"

    def results(self) -> dict[str, tuple[str, object]]:
        """Return each workflow's status and the value that its log ends with."""
        return {
            id_: (log[0].status, msgspec.json.decode(log[-1].value) if log[-1].value else None)
            for id_, log in self.logs.items()
        }

    def __str__(self) -> str:
        states = Counter(log[0].status for log in self.logs.values())
        return (
            f"{len(self.logs)} workflows ({', '.join(f'{count} {state}' for state, count in sorted(states.items()))}), "
            f"{sum(map(len, self.logs.values()))} rows, {self.steps} steps recorded, {self.takeovers} takeovers, "
            f"{len(self.bodies)} bodies begun, {len(self.submitted)} submits answered"
        )

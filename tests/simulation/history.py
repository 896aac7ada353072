"""What the judge knows of a workflow's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nurselog._log.identity import step_key
from nurselog.lowlevel import Ended, Event, Result, Row, StepEnded, StepRetried, decode_event, is_delivered, parse_path


@dataclass
class History:
    """A workflow's log: as much as was there when the judge looked last."""

    id: str
    rows: list[Row] = field(default_factory=list[Row])
    events: list[Event] = field(default_factory=list[Event])
    recorded: set[str] = field(default_factory=set[str])
    """Keys of steps that have an outcome."""
    failed: dict[str, int] = field(default_factory=dict[str, int])
    """Attempts that are recorded as failed, by the step's key."""
    delivered: int = 0
    """How many events there are that move the workflow."""

    @property
    def killed(self) -> bool:
        """Whether it was killed."""
        return self.events[-1] == Ended(result=Result.KILLED)

    def read(self, log: Sequence[Row]) -> None:
        """Read what is new."""
        for row in log[len(self.rows) :]:
            event = decode_event(row.event)
            self.rows.append(row)
            self.events.append(event)
            self.delivered += is_delivered(event)
            if isinstance(event, StepEnded):
                self.recorded.add(step_key(self.id, parse_path(event.path)))
            elif isinstance(event, StepRetried):
                self.failed[step_key(self.id, parse_path(event.path))] = event.attempt

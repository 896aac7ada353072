"""Those who look on: they are told what happens, and cannot do any harm.

There is no `Instruments` at all where nobody looks on, so that each place that has something to tell costs one look at
an attribute, and makes no record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from .._errors import UsageError
from .._flow.body import Body
from .._flow.scope import CancelScope
from .._instrument import (
    Committed,
    Happening,
    Instrument,
    Left,
    Life,
    LongTurn,
    Parting,
    Recorded,
    Replayed,
    ScopeEntered,
    ScopeLeft,
    StepBegins,
    Submitted,
    TakenUp,
)
from .._log.cursor import Cursor
from .._log.events import Ended, Event, Forked, Row, Started, decode_event
from ..abc import Append, Batch, Clock, Creation, Receipt

if TYPE_CHECKING:
    from .._flow.sequencer import Sequencer

logger = logging.getLogger("nurselog")


class Instruments:
    """All that look on in one engine."""

    def __init__(self, instruments: Iterable[Instrument], clock: Clock) -> None:
        self._all = list(instruments)
        self.clock: Clock = clock

    @classmethod
    def of(cls, instruments: Sequence[Instrument], clock: Clock) -> Instruments | None:
        """Return them; None if there are none.

        Raises:
            UsageError: if something is no instrument, or they are in no list.
        """
        if not isinstance(instruments, Sequence):
            raise UsageError(f"instruments must be a list of them, not {instruments!r}")
        for one in instruments:
            if not isinstance(one, Instrument):
                raise UsageError(
                    f"an instrument must be an object of a class that derives from nurselog.abc.Instrument, not {one!r}"
                )
        return cls(instruments, clock) if instruments else None

    def tell(self, what: Happening) -> None:
        """Tell all of them."""
        for one in self._all:
            try:
                one.happened(what)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is none of the engine's, nor of who runs now
                self._drop(one, exc)

    def headers(self, parent: Life | None = None, scope: str = "") -> dict[str, str]:
        """Ask all of them for what goes along with a workflow."""
        together: dict[str, str] = {}
        for one in self._all:
            try:
                headers = dict(one.headers(parent, scope))
                if not all(isinstance(text, str) for pair in headers.items() for text in pair):
                    raise TypeError(f"headers are texts by name, not {headers!r}")  # noqa: TRY301 - to be dropped for
            except Exception as exc:  # noqa: BLE001 - see above
                self._drop(one, exc)
            else:
                together |= headers
        return together

    def _drop(self, dropped: Instrument, exc: Exception) -> None:
        self._all = [one for one in self._all if one is not dropped]  # a new list: somebody goes through the old one
        logger.error("instrument %r raised an error: it is told nothing more", dropped, exc_info=exc)

    def submitted(self, id: str, rows: Sequence[Row]) -> None:
        """A workflow was made."""
        started = decode_event(rows[0].event)
        assert isinstance(started, Started), "every log begins so"
        self.tell(Submitted(id=id, started=started, at=rows[-1].at))

    def committed(self, batch: Batch, receipt: Receipt, lag: float, seconds: float) -> None:
        """A batch is durable, but for what was there already and what was refused."""
        made = zip(batch.creations, receipt.created, strict=True)
        parts: list[Creation | Append] = [one for one, created in made if created is not None and created.new]
        parts += [one for one in batch.appends if one.key not in receipt.refused]
        rows = [row for part in parts for row in part.rows]
        size = sum(len(row.event) + len(row.value or b"") for row in rows)
        self.tell(Committed(workflows=len(parts), rows=len(rows), bytes=size, lag=lag, seconds=seconds))


class Teller:
    """Tells what happens in one life of a workflow."""

    def __init__(self, instruments: Instruments, life: Life) -> None:
        self._instruments = instruments
        self.life: Life = life
        self._since = trio.current_time()
        self._reached = self._evident = -1
        self._unsaid: list[tuple[int, ScopeLeft]] = []

    def taken_up(self, rows: Sequence[Row], cursor: Cursor) -> None:
        """It has begun."""
        self._reached = self._evident = cursor.reached
        own = rows[_forked_at(rows) + 1 :] if cursor.sources else rows[1:]  # behind the one that has made it
        writers = [row.writer for row in own if row.writer != self.life.writer]
        self._instruments.tell(
            TakenUp(
                life=self.life,
                at=self._instruments.clock.utc(),
                rows=len(rows),
                events=len(cursor.left),
                former=writers[-1] if writers else None,
                sources=cursor.sources,
            )
        )

    def replayed(self) -> None:
        """The recorded log has been followed."""
        self._instruments.tell(Replayed(life=self.life, seconds=trio.current_time() - self._since))

    def recorded(self, row: Row, event: Event) -> None:
        """An event is durable."""
        if row.after > self._evident or isinstance(event, Ended):
            self._evident = row.after + isinstance(event, Ended)  # then it is all over, and has happened
            self._say()
        self._instruments.tell(Recorded(life=self.life, event=event, row=row))

    def begins(self, body: Body) -> None:
        """A step's function is about to be called: this is told where context variables are the function's."""
        call = body.call
        begins = StepBegins(
            life=self.life,
            path=call.path,
            scope=call.scope.path,
            name=call.step.name,
            attempt=body.attempt,
            at=body.began_at,
        )
        call.context.run(self._instruments.tell, begins)

    def entered(self, scope: CancelScope) -> None:
        """The code has entered a scope."""
        outer = scope._outer.path if scope._outer else ""
        at = scope._sequencer.now
        self._instruments.tell(ScopeEntered(life=self.life, path=scope.path, outer=outer, name=scope._name, at=at))

    def left(self, scope: CancelScope) -> None:
        """The code has left a scope.

        This is told once the log shows that the code has come beyond: some row is durable that was appended after one
        more event had been delivered, which happens only when all strands are through with this one. Otherwise the next
        life will tell it, since it sees no such row either. So it is told once, although it has no row of its own.
        """
        sequencer = scope._sequencer
        delivered = sequencer.cursor.delivered
        left = ScopeLeft(
            life=self.life,
            path=scope.path,
            at=sequencer.now,
            cause=scope.cause,
            reason=scope.reason,
            cancelled_at=scope._cancelled_at,
            replaying=delivered < self._reached,
        )
        self._unsaid.append((delivered, left))
        self._say()

    def _say(self) -> None:
        while self._unsaid and self._unsaid[0][0] < self._evident:
            self._instruments.tell(self._unsaid.pop(0)[1])

    def held_up(self, path: str, seconds: float) -> None:
        """A turn was long."""
        self._instruments.tell(LongTurn(life=self.life, path=path, seconds=seconds))

    def over(self, sequencer: Sequencer, why: Parting) -> None:
        """All about this life is durable."""
        at = self._instruments.clock.utc()
        self._instruments.tell(Left(life=self.life, at=at, why=why, turns=sequencer.turns))

    def headers(self, scope: str) -> dict[str, str]:
        """Ask for what goes along with a child, beside what had come with the workflow itself."""
        return self._instruments.headers(self.life, scope)


def _forked_at(rows: Sequence[Row]) -> int:
    """Return the index of the last row that says that the workflow is a fork."""
    return max(index for index, row in enumerate(rows) if isinstance(decode_event(row.event), Forked))

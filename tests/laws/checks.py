"""The laws that every log and every life after a crash must keep; each check raises an AssertionError that says which.

1. *Nothing twice*: the body of a recorded step never runs again.
2. *Nothing rewritten*: a resumed log begins with its prefix, byte for byte.
3. *Same view*: up to the end of the prefix, the code sees what it saw before the crash, in the same order.
4. *Pure replay*: a finished log, replayed, runs no body, adds nothing but who claimed it and its end, and comes to the
   same end.
5. *The log says what happened*: the answer that a waiter gets is the one in the last row.
6. *Each message once*: what was left for a mailbox or a promise is in the log once, and in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from nurselog._engine.messages import Body
from nurselog._log.events import FROM_OUTSIDE
from nurselog._log.identity import step_key
from nurselog.lowlevel import (
    Claimed,
    Emitted,
    Ended,
    Event,
    Forked,
    Published,
    Received,
    Result,
    Resumed,
    Row,
    Selected,
    StepBegan,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
    decode_event,
    is_delivered,
    parse_path,
)
from nurselog.testing import Returned
from nurselog.testing.keeper import ID, Mail
from nurselog.testing.life import Closed
from tests.laws.harness import Recording, end_of, resume, tally


def text(rows: Iterable[Row]) -> str:
    """Return a log for people who look for what broke a law."""
    return "\n".join(f"  {row.seq:3} after {row.after:3}  {decode_event(row.event)} {row.value!r:.60}" for row in rows)


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Return where two sequences part."""
    pairs = zip(one, other, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return f"at {at}: {list(one[at : at + 2])} against {list(other[at : at + 2])}"


# -- one log -------------------------------------------------------------------------------------


def check_log(recording: Recording) -> None:
    """See that a log is sound in itself."""
    rows, events = recording.rows, recording.events
    tally["events"] += len(recording.added)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1)), f"seqs are not dense:\n{text(rows)}"
    assert all(a.at <= b.at for a, b in pairwise(rows)), f"time goes back:\n{text(rows)}"
    delivered = 0
    for row, event in zip(rows, events, strict=True):
        assert isinstance(event, (Claimed, Resumed)) or row.after <= delivered, (
            f"from the future: {row.seq}\n{text(rows)}"
        )
        delivered += is_delivered(event)
    known = delivered + _waiting(recording)
    early = [seen for seen in recording.trace if seen[0] > known]
    assert not early, f"the code saw what was not durable: {early}\n{text(rows)}"
    for kind in (StepEnded, Selected):
        paths = [event.path for event in events if isinstance(event, kind)]
        assert len(paths) == len(set(paths)), f"{kind.__name__} twice at one path:\n{text(rows)}"
    _check_steps(rows, events)
    _check_timers(rows, events)
    assert all(not isinstance(event, Ended) for event in events[:-1]), f"rows after the end:\n{text(rows)}"
    _check_end(recording)


def _check_steps(rows: Sequence[Row], events: Sequence[Event]) -> None:
    ended: set[str] = set()
    failed: dict[str, int] = {}
    for event in events:
        match event:
            case StepBegan(path=path):
                assert path not in ended, f"{path} begins after its end:\n{text(rows)}"
            case Emitted(path=path, attempt=attempt):
                assert path not in ended, f"{path} tells something after its end:\n{text(rows)}"
                assert attempt == failed.get(path, 0) + 1, f"{path}: not attempt {attempt}:\n{text(rows)}"
            case StepRetried(path=path, attempt=attempt):
                assert path not in ended, f"{path} is tried again after its end:\n{text(rows)}"
                assert attempt == failed.get(path, 0) + 1, f"{path}: not attempt {attempt}:\n{text(rows)}"
                failed[path] = attempt
            case StepEnded(path=path, attempts=attempts, result=result):
                count = failed.get(path, 0)  # it may end while it waits for the next attempt
                assert attempts in (count, count + 1), f"{path}: not {attempts} attempts:\n{text(rows)}"
                assert attempts or result is Result.CANCELLED, f"{path} ended without an attempt:\n{text(rows)}"
                ended.add(path)
            case Forked():
                failed.clear()  # a fork's attempts are its own
            case _:
                pass


def _check_timers(rows: Sequence[Row], events: Sequence[Event]) -> None:
    due: set[tuple[str, int]] = set()
    for row, event in zip(rows, events, strict=True):
        match event:
            case TimerSet():
                due.add((event.path, event.due))
            case TimerFired():
                assert (event.path, event.due) in due, f"a timer fired that was never set, or twice:\n{text(rows)}"
                due.remove((event.path, event.due))
                assert row.at >= event.due, f"a timer fired too early:\n{text(rows)}"
            case _:
                pass


def _check_end(recording: Recording) -> None:
    outcome, said = recording.outcome, end_of(recording.rows, recording.workflow)
    if said is not None or recording.is_over:
        assert outcome == said, f"the answer is {outcome}, and the log says {said}:\n{text(recording.rows)}"


def check_mail(recording: Recording) -> None:
    """See that each message is in the log once, those of one topic in order; the last ones may have come too late."""
    rows, events = recording.rows, recording.events
    entered = _by_address((event, row.value or b"") for event, row in zip(events, rows, strict=True))
    left = _by_address((body.event, body.value) for body in map(_body, recording.mail))
    for address, values in entered.items():
        assert values == left[address][: len(values)], f"{address}: {values}, of {left[address]}:\n{text(rows)}"
    tally["messages"] += len(recording.mail)


def _waiting(recording: Recording) -> int:
    """Count the messages that are durable, and not in the log yet: so many events the code may be ahead of it."""
    left = sum(_body(mail).event is not None for mail in recording.mail)
    return max(0, left - sum(isinstance(event, FROM_OUTSIDE) for event in recording.events))


def _body(mail: Mail) -> Body:
    return msgspec.json.decode(mail.post.body, type=Body)


def _by_address(entries: Iterable[tuple[Event | None, bytes]]) -> dict[Received, list[tuple[str | None, bytes]]]:
    """Sort messages by what they are for: each topic and each name of updates has many, and each promise one."""
    found: dict[Received, list[tuple[str | None, bytes]]] = defaultdict(list)
    for event, value in entries:
        if isinstance(event, Received):
            name = event if event.update is None else msgspec.structs.replace(event, update="each")
            found[name].append((event.update, value))
    return found


# -- two lives -----------------------------------------------------------------------------------


def check_resumed(before: Recording, after: Recording) -> None:
    """See that a life which began with the first rows of `before` kept to them. `before` need not have ended."""
    cut = after.begun_with
    prefix = before.rows[:cut]
    assert after.rows[:cut] == prefix, f"the prefix was rewritten, {first_difference(prefix, after.rows)}"
    check_log(after)
    check_mail(after)
    _check_bodies(prefix, after)
    delivered = sum(map(is_delivered, before.events[:cut]))
    _check_same(before, after, _until(before, delivered), _until(after, delivered), "the code sees")
    _check_same(before, after, _published(before, delivered), _published(after, delivered), "others are told")


def _check_same(before: Recording, after: Recording, one: list[Any], other: list[Any], what: str) -> None:
    if any(isinstance(life.outcome, Closed) or life.is_killed for life in (before, after)):
        # What a life saw that was closed or killed is cut off at any place.
        length = min(len(one), len(other))
        one, other = one[:length], other[:length]
    assert one == other, (
        f"cut at {after.begun_with}: {what} something else, {first_difference(one, other)}\n{text(after.rows)}"
    )


def _until(recording: Recording, delivered: int) -> list[tuple[int, Any]]:
    return [seen for seen in recording.trace if seen[0] <= delivered]


def _published(recording: Recording, delivered: int) -> list[tuple[Event, bytes | None]]:
    """Return what the workflow's code had published by then, in its order: each once, whatever has happened."""
    log = zip(recording.rows, recording.events, strict=True)
    return [(event, row.value) for row, event in log if isinstance(event, Published) and row.after <= delivered]


def _check_bodies(prefix: Sequence[Row], after: Recording) -> None:
    recorded: set[str] = set()
    failed: dict[str, int] = {}
    for event in (decode_event(row.event) for row in prefix):
        if isinstance(event, StepEnded):
            recorded.add(step_key(ID, parse_path(event.path)))
        elif isinstance(event, StepRetried):
            failed[step_key(ID, parse_path(event.path))] = event.attempt
    again = [body for body in after.bodies if body[0] in recorded or body[1] <= failed.get(body[0], 0)]
    assert not again, f"recorded bodies ran again: {again}\n{text(after.rows)}"
    assert len(set(after.bodies)) == len(after.bodies), f"a body ran twice in one life: {after.bodies}"


def check_replay(recording: Recording, **plan: Any) -> None:
    """See that the replay of a finished log changes nothing and does nothing."""
    tally["replays"] += 1
    again = resume(recording.workflow, recording.rows[:-1], **plan)
    assert again.rows[:-2] == recording.rows[:-1], "the replay rewrote the log"
    added = [type(event) for event in again.added]
    assert added == [Claimed, Ended], (
        f"the replay added {again.added} and came to {again.outcome}\n{text(recording.rows)}"
    )
    assert again.bodies == (), f"the replay ran bodies: {again.bodies}"
    assert again.trace == recording.trace, (
        f"the replay saw something else, {first_difference(recording.trace, again.trace)}"
    )
    assert again.outcome == recording.outcome, f"the replay ended with {again.outcome}, not {recording.outcome}"
    assert _ends(again) == _ends(recording)


def _ends(recording: Recording) -> tuple[Event, bytes | None]:
    value = recording.rows[-1].value
    return recording.events[-1], value if isinstance(recording.outcome, Returned) else None


def sample(count: int, limit: int) -> list[int]:
    """Return up to `limit` of the numbers from 0 to `count` - 1, spread evenly, first and last included."""
    if count <= limit:
        return list(range(count))
    return sorted({round(i * (count - 1) / (limit - 1)) for i in range(limit)})


def finished(recording: Recording) -> Recording:
    """Return a recording whose workflow has come to an end of its own, not stuck or given up."""
    assert recording.is_over, f"{recording.outcome}\n{text(recording.rows)}"
    check_log(recording)
    return recording

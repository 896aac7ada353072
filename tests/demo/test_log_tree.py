"""A log drawn as a tree: by the places in the code, whatever the order in time."""

from __future__ import annotations

import json
import random
from typing import get_args

import msgspec
import pytest

from nurselog._log.failures import encode_error, record_error
from nurselog._tree import Mark, draw_log, printable
from nurselog.lowlevel import (
    Answered,
    Cause,
    ChildEnded,
    ChildStarted,
    Claimed,
    Emitted,
    Ended,
    Event,
    Forked,
    Patched,
    Published,
    Received,
    Result,
    Resumed,
    ScopeCancelled,
    Selected,
    Started,
    StepBegan,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
)
from tests.demo.records import START, log_of

RACE = (
    Started(name="race", seed="s"),
    TimerSet(path="1", name="scope", due=START + 2_000_000),
    TimerSet(path="3.1", name="sleep", due=START),
    TimerSet(path="4.1", name="sleep", due=START + 500_000),
    TimerFired(path="3.1", due=START),
    StepBegan(path="3.2", name="download"),
    StepRetried(path="3.2", name="download", attempt=1, due=START + 40_000),
    TimerFired(path="4.1", due=START + 500_000),
    Claimed(worker="host:12"),
    StepEnded(path="3.2", name="download", result=Result.VALUE, attempts=2, began_at=START + 5000),
    ScopeCancelled(path="2", by=Cause.EXPLICIT, reason="3 was first"),
    StepEnded(path="4.2", name="download", result=Result.CANCELLED, scope="2", reason="3 was first"),
    StepEnded(path="4.4", name="discard", result=Result.ERROR),
    Ended(result=Result.VALUE),
)

DRAWN = """\
race-1
    +0.000  │  race started
    +0.008  │  taken over by host:12
    +0.013  │  the workflow completed
    +0.001  ├─ 1 scope, due at +2.000
    +0.010  ├─ 2 CANCELLED by the code: "3 was first"
            ├─ 3 branch
    +0.002  │  ├─ 3.1 sleep, due at +0.000
    +0.004  │  │     the time is up
    +0.009  │  └─ 3.2 download, 4 ms, at attempt 2
    +0.006  │        attempt 1 failed; the next is due at +0.040
            └─ 4 branch
    +0.003     ├─ 4.1 sleep, due at +0.500
    +0.007     │     the time is up
    +0.011     ├─ 4.2 download CANCELLED by scope 2: "3 was first"
    +0.012     └─ 4.4 discard FAILED
"""


def drawn(*events: Event) -> str:
    return "".join(f"{line.text}\n" for line in draw_log("race-1", log_of(*events)))


def test_a_race_is_drawn_by_its_branches() -> None:
    assert drawn(*RACE) == DRAWN


FAMILY = (
    Started(name="trip", seed="s"),
    ChildStarted(path="1", name="hotel", digest="0" * 16),
    ChildStarted(path="3.1", name="car", digest="0" * 16),
    Received(topic="wishes"),
    Received(path="2"),
    ChildEnded(path="3.1", result=Result.CANCELLED, reason="no car"),
)

DRAWN_FAMILY = """\
race-1
    +0.000  │  trip started
    +0.003  │  received in mailbox 'wishes'
    +0.001  ├─ 1 child workflow hotel
    +0.004  ├─ 2 the promise was resolved
            └─ 3 branch
    +0.002     └─ 3.1 child workflow car
    +0.005           the child was CANCELLED: "no car"
"""


def test_children_and_messages_are_drawn_where_they_belong() -> None:
    assert drawn(*FAMILY) == DRAWN_FAMILY


def test_the_order_in_time_changes_the_times_only() -> None:
    def places(*events: Event) -> list[str]:
        return sorted(line[10:] for line in drawn(*events).splitlines() if "ms" not in line)

    shuffled = random.Random(1).sample(RACE[1:], len(RACE) - 1)
    assert places(RACE[0], *shuffled) == places(*RACE)


def test_operations_come_in_the_order_of_their_numbers_and_plain_tasks_last() -> None:
    text = drawn(
        Started(name="w", seed="s"),
        Selected(path="t1.1", index=1),
        Selected(path="10", index=2),
        Patched(path="2", name="n"),
    )
    assert [line.split("─ ")[1] for line in text.splitlines()[2:]] == [
        "2 patched 'n'",
        "10 select took case 2",
        "t1 branch",
        "t1.1 select took case 1",
    ]


def test_a_step_that_has_not_ended_has_only_begun() -> None:
    assert drawn(Started(name="w", seed="s"), StepBegan(path="1", name="upload")).endswith("└─ 1 upload began\n")


@pytest.mark.parametrize(
    ("event", "mark", "text"),
    [
        (ScopeCancelled(by=Cause.DEADLINE), Mark.CANCELLED, "CANCELLED by its time limit"),
        (ScopeCancelled(by=Cause.FAILURE, reason="ValueError"), Mark.CANCELLED, 'a failure inside: "ValueError"'),
        (ScopeCancelled(by=Cause.EXTERNAL), Mark.CANCELLED, "CANCELLED by somebody outside"),
        (StepEnded(name="s", result=Result.CANCELLED, begun=False), Mark.CANCELLED, "s CANCELLED before it began"),
        (StepEnded(name="s", result=Result.ERROR, attempts=3), Mark.FAILED, "s FAILED, at attempt 3"),
        (StepRetried(name="s", attempt=1, due=START), Mark.FAILED, "attempt 1 failed; the next is due at +0.000"),
        (Ended(result=Result.ERROR), Mark.FAILED, "the workflow FAILED"),
        (Ended(result=Result.CANCELLED, reason="bored"), Mark.CANCELLED, 'the workflow was CANCELLED: "bored"'),
        (Ended(result=Result.KILLED), Mark.CANCELLED, "the workflow was KILLED"),
        (ChildEnded(result=Result.ERROR), Mark.FAILED, "the child FAILED"),
        (ChildEnded(result=Result.KILLED), Mark.CANCELLED, "the child was KILLED"),
        (Received(result=Result.ERROR), Mark.FAILED, "the promise was REJECTED"),
        (Answered(key="k", result=Result.ERROR), Mark.FAILED, "update 'k' was REJECTED"),
        (Forked(source="a", at=4), Mark.FAINT, "forked from 'a' at row 4"),
        (Resumed(), Mark.FAINT, "resumed"),
        (Selected(index=0), Mark.PLAIN, "select took case 0"),
    ],
)
def test_what_went_wrong_stands_out(event: Event, mark: Mark, text: str) -> None:
    _, line = draw_log("id", log_of(event))
    assert line.mark is mark
    assert line.text.endswith(text)


ERROR = encode_error(record_error(ValueError(f"far too {'long ' * 20}\nand more")))
FAULT = f": ValueError: far too {'long ' * 10}lo..."


@pytest.mark.parametrize(
    ("event", "value", "text"),
    [
        (StepEnded(name="s", result=Result.ERROR), ERROR, f"s FAILED{FAULT}"),
        (Ended(result=Result.ERROR), ERROR, f"the workflow FAILED{FAULT}"),
        (StepRetried(name="s", attempt=1, due=START), ERROR, f"attempt 1 failed{FAULT}; the next is due at +0.000"),
        (ChildEnded(result=Result.ERROR), ERROR, f"the child FAILED{FAULT}"),
        (ChildEnded(result=Result.KILLED), b"", "the child was KILLED"),
        (ChildEnded(result=Result.VALUE), b"7", "the child completed -> 7"),
        (Received(topic="add", update="k"), b"3", "asked for update 'add' by key 'k' -> 3"),
        (Answered(key="k", result=Result.VALUE), b"7", "update 'k' was answered -> 7"),
        (Answered(key="k", result=Result.VALUE), b"null", "update 'k' was answered"),
        (Answered(key="k", result=Result.ERROR), ERROR, f"update 'k' was REJECTED{FAULT}"),
        (Received(topic="wishes"), b'"sea"', "received in mailbox 'wishes' -> \"sea\""),
        (Received(result=Result.ERROR), ERROR, f"the promise was REJECTED{FAULT}"),
        (Received(), b"null", "the promise was resolved"),
        (Published(name="state"), b'"paid"', "published 'state' -> \"paid\""),
        (Published(name="items", end=True), None, "published the end of 'items'"),
        (Emitted(name="items", path="1"), b"7", "published 'items' -> 7"),
        (StepEnded(name="s", result=Result.VALUE), b'{"price":12}', 's -> {"price":12}'),
        (StepEnded(name="s", result=Result.VALUE), b"\xff" * 7000, "s -> 7,000 bytes"),
        (StepEnded(name="s", result=Result.VALUE), b"\0text", "s -> text"),
        (StepEnded(name="s", result=Result.VALUE), b"x" * 70, "s -> " + "x" * 60 + "..."),
        (StepEnded(name="s", result=Result.VALUE), b"null", "s"),
    ],
)
def test_values_and_errors_are_shown_on_one_line(event: Event, value: bytes | None, text: str) -> None:
    line = draw_log("id", log_of((event, value)))[-1]
    assert line.text.endswith(f" {text}")


@pytest.mark.parametrize(("count", "shown"), [(3, ["0", "1", "2"]), (4, ["3, the last of 4"])])
def test_of_a_long_stream_the_last_item_is_shown(count: int, shown: list[str]) -> None:
    def items(name: str) -> list[tuple[Event, bytes]]:
        return [(Emitted(path="1", name=name), str(number).encode()) for number in range(count)]

    stream = [one for pair in zip(items("a"), items("b"), strict=True) for one in pair]
    end = Emitted(path="1", name="a", end=True)
    lines = draw_log("id", log_of(StepEnded(path="1", name="s", result=Result.VALUE), *stream, end))
    texts = [line.text.strip() for line in lines[2:]]
    for name in "ab":
        assert [text.partition(f"'{name}' -> ")[2] for text in texts if f"'{name}' ->" in text] == shown
    assert texts[-1].endswith("published the end of 'a'")


def test_every_kind_of_event_has_a_text() -> None:
    samples = {type(event) for event in (*RACE, *FAMILY)} | {
        Selected,
        Patched,
        Resumed,
        Forked,
        Published,
        Emitted,
        Answered,
    }
    assert samples == set(get_args(Event))


def test_only_marked_text_is_painted() -> None:
    assert Mark.PLAIN.paint("text") == "text"
    assert Mark.CANCELLED.paint("text") == "\x1b[33mtext\x1b[0m"


# -- texts of strangers --------------------------------------------------------------------------

FORGED = "no\x1b[2J\x1b]0;title\x07\r\n    +0.000  ├─ 77 quote, 1 ms -> 12.5\x85\u2028\u202eend\x7f"
SHOWN = r"no\x1b[2J\x1b]0;title\x07\r\n    +0.000  ├─ 77 quote, 1 ms -> 12.5\x85\u2028\u202eend\x7f"


def hostile_lines() -> list[str]:
    value = encode_error(record_error(ValueError(FORGED.replace("\n", " "))))
    entries = log_of(
        Started(name=FORGED, seed="s"),
        Claimed(worker=FORGED),
        ScopeCancelled(path="1", by=Cause.EXTERNAL, reason=FORGED),
        StepEnded(path="2", name=FORGED, result=Result.CANCELLED, reason=FORGED),
        StepEnded(path="3", name="step", result=Result.ERROR),
        StepEnded(path="4", name="step", result=Result.VALUE),
        Patched(path="", name=FORGED),
        Forked(source=FORGED, at=1),
        Ended(result=Result.CANCELLED, reason=FORGED),
    )
    values = {"3": value, "4": json.dumps(FORGED, ensure_ascii=False).encode()}
    drawing = draw_log(FORGED, [msgspec.structs.replace(one, value=values.get(one.event.path)) for one in entries])
    return [line.text for line in drawing]


def test_a_text_cannot_draw_lines_of_its_own_or_steer_the_terminal() -> None:
    lines = hostile_lines()
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 10, "one for each row, and the first"
    assert lines[0] == SHOWN
    assert any(line.endswith(f': "{SHOWN}"') for line in lines), "nothing of it is lost"


@pytest.mark.parametrize("text", ["", "plain", "grüße │ 日本 🌱", 'a "quoted" one'])
def test_what_can_be_seen_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text

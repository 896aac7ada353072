"""The judge's account of conversations: what senders were told, and what those have received whom they wrote to.

A text says who has sent it, as which of the sender's messages, and at which attempt. So a message that comes twice, or
before one that was sent earlier, shows in the receiver's log, whatever the way it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from nurselog._engine.messages import Kind, read_message
from nurselog._flow.promise import PromiseId
from nurselog.abc import Message, WorkflowKey
from nurselog.lowlevel import ChildEnded, Ended, Received, Result, StepEnded
from tests.simulation.history import History
from tests.simulation.laws import Breach, Law
from tests.simulation.mail import Mail
from tests.simulation.talk import TOPICS, Count, ring


class Letters:
    """Keeps account of what senders were told."""

    def __init__(self, mail: Mail) -> None:
        self._mail = mail
        self._told: dict[tuple[str, str], str] = {}
        """What was left, by receiver and letter: the text, or that of another attempt."""
        self._new: Counter[tuple[str, str]] = Counter()
        """How often somebody was told that a letter is new."""
        self._settled: dict[str, list[str]] = {}
        """What somebody was told that a promise is settled with."""

    def told(self, id: str, text: str, *, new: bool) -> None:
        """A sender was told that a message is left, or was before."""
        self._told[id, _letter(text)] = text
        self._new[id, _letter(text)] += new

    def settled(self, promise: str, text: str) -> None:
        """Somebody was told to have settled a promise."""
        self._settled.setdefault(promise, []).append(text)

    def conclude(self, histories: Mapping[WorkflowKey, History]) -> Iterator[Breach]:
        """Compare what was said and what was received."""
        by_id = {history.id: history for history in histories.values()}
        for key, history in histories.items():
            yield from self._entered(history, self._mail.entered.get(key, []))
            yield from self._order(history)
            yield from _counts(history)
        dropped = {(histories[one.key].id, what) for one in self._mail.dropped if (what := _what(one))}
        for id, letter in self._told:
            if letter not in {_letter(text) for text in texts(by_id[id])} and (id, letter) not in dropped:
                yield Breach(Law.RECEIVED, f"{letter} was left, and is not received", id)
        for (id, letter), times in self._new.items():
            if times > 1:
                yield Breach(Law.ONCE, f"of {letter} was said {times} times that it is new", id)
        for promise, said in self._settled.items():
            yield from self._outcome(promise, said, by_id, dropped)

    def _entered(self, history: History, mail: list[Message]) -> Iterator[Breach]:
        """What was taken from the inbox is what the log has, topic by topic in the order of the store."""
        taken: dict[str, list[object]] = {}
        for message in sorted(mail, key=lambda one: one.number):
            body = read_message(message)[1]
            if body.event is not None:
                taken.setdefault(_place(body.event), []).append((body.event, body.value))
        found: dict[str, list[object]] = {}
        for row, event in zip(history.rows, history.events, strict=True):
            if isinstance(event, Received | ChildEnded):
                found.setdefault(_place(event), []).append((event, row.value or b""))
        if taken != found:
            yield Breach(Law.RECEIVED, f"it was sent {taken}, and has received {found}", history.id)

    def _order(self, history: History) -> Iterator[Breach]:
        """Each message once, and those of one sender in their order.

        Somebody outside who was not told anything may have gone on to the next one, and the one before comes later.
        """
        for letter, times in Counter(map(_letter, texts(history))).items():
            if times > 1:
                yield Breach(Law.ONCE, f"{letter} was received {times} times", history.id)
        for topic in TOPICS:
            last: dict[str, int] = {}
            for text in texts(history, topic):
                sender, number, attempt = text.split(":")
                if attempt == "0" or (history.id, _letter(text)) in self._told:
                    if int(number) < last.get(sender, -1):
                        yield Breach(Law.RECEIVED, f"{text} was received behind {last[sender]}", history.id)
                    last[sender] = int(number)

    def _outcome(
        self, promise: str, said: list[str], by_id: Mapping[str, History], dropped: set[tuple[str, str]]
    ) -> Iterator[Breach]:
        id, path = PromiseId.parse(promise)
        history = by_id[id]
        outcomes = [
            row.value or b""
            for row, event in zip(history.rows, history.events, strict=True)
            if isinstance(event, Received) and event.topic is None and event.path == path
        ]
        if len(said) > 1 or len(outcomes) > 1:
            yield Breach(Law.SETTLED, f"{promise} was settled with {said} and {outcomes}", id)
        elif not outcomes and (id, path) not in dropped:
            yield Breach(Law.SETTLED, f"{promise} was settled with {said}, and its workflow does not know", id)
        elif outcomes and said[0].encode() not in outcomes[0]:
            yield Breach(Law.SETTLED, f"{promise} was settled with {said}, and has {outcomes}", id)


def texts(history: History, *topics: str) -> Iterator[str]:
    """Yield what a workflow has received on some topics, or on all."""
    for row, event in zip(history.rows, history.events, strict=True):
        if isinstance(event, Received) and event.topic in (topics or TOPICS):
            yield msgspec.json.decode(row.value or b"", type=str)


def submitted_by(histories: Iterable[History]) -> Iterator[str]:
    """Yield the ids that workflows were told when they had submitted others."""
    for history in histories:
        for row, event in zip(history.rows, history.events, strict=True):
            if isinstance(event, StepEnded) and event.name == "nurselog.submit" and event.result is Result.VALUE:
                yield msgspec.json.decode(row.value or b"", type=str)


def _counts(history: History) -> Iterator[Breach]:
    """See what a ring has come to, or one of its members: what they were handed, and that each was there in time."""
    last, value = history.events[-1], history.rows[-1].value or b""
    if not history.id.startswith(ring.name) or not isinstance(last, Ended):
        return
    if last.result is Result.ERROR and b"WorkflowNotFound" in value:
        yield Breach(Law.RING, f"it failed: {value.decode()}", history.id)
    elif last.result is Result.VALUE and "/" in history.id:
        count = msgspec.json.decode(value, type=Count)
        if any(one != other for one, other in zip(count.found, count.expected, strict=False)):
            yield Breach(Law.RING, f"it was handed {count.found}, not {count.expected}", history.id)


def _letter(text: str) -> str:
    """Return a message's text without the attempt."""
    return text.rpartition(":")[0]


def _place(event: Received | ChildEnded) -> str:
    return event.topic or event.path if isinstance(event, Received) else f"child {event.path}"


def _what(message: Message) -> str | None:
    """Return which message it is, or which promise it settles."""
    kind, body = read_message(message)
    if not isinstance(body.event, Received):
        return None
    if kind is Kind.SETTLE:
        return body.event.path
    return _letter(str(msgspec.json.decode(body.value)))

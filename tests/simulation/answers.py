"""The judge's account of updates: what those who asked were told, and what the logs say that they were answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from nurselog._log.failures import decode_error, rebuild_error
from nurselog.lowlevel import Answered, Received, Result
from tests.simulation.history import History
from tests.simulation.laws import Breach, Law


class Answers:
    """Keeps account of what those who asked were told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], set[str]] = {}
        """All answers that anybody was told, by workflow and key."""

    def told(self, id: str, key: str, answer: str | Exception) -> None:
        """Somebody was told the answer to an update."""
        self._told.setdefault((id, key), set()).add(repr(answer))

    def conclude(self, histories: Iterable[History]) -> Iterator[Breach]:
        """Compare what was said with the logs."""
        said: dict[tuple[str, str], str] = {}
        for history in histories:
            yield from _once(history)
            said |= {(history.id, key): answer for key, answer in _answers(history).items()}
        for (id, key), answers in self._told.items():
            if answers != {said.get((id, key))}:
                yield Breach(Law.UPDATED, f"of {key} was said {answers}, and the log has {said.get((id, key))}", id)


def _once(history: History) -> Iterator[Breach]:
    """See that each update has come once, and was answered once at most, after that."""
    asked = Counter(one.update for one in history.events if isinstance(one, Received) and one.update is not None)
    answered = Counter(one.key for one in history.events if isinstance(one, Answered))
    for key, times in (asked | answered).items():
        if times > 1 or answered[key] > asked[key]:
            problem = f"{key} was asked {asked[key]} times, and answered {answered[key]} times"
            yield Breach(Law.UPDATED, problem, history.id)


def _answers(history: History) -> Mapping[str, str]:
    """Return the answers in a log, by key, as those are told who asked."""
    return {
        event.key: repr(_answer(event, row.value or b""))
        for row, event in zip(history.rows, history.events, strict=True)
        if isinstance(event, Answered)
    }


def _answer(event: Answered, data: bytes) -> str | Exception:
    if event.result is Result.ERROR:
        return rebuild_error(decode_error(data))
    return msgspec.json.decode(data, type=str)

"""When a failed step is tried again."""

# No `from __future__ import annotations`: as text, they would be looked up where the class is public, not here.

from collections.abc import Callable
from typing import cast

import msgspec

from .._errors import UsageError
from .arguments import COUNT, FACTOR, PART, SECONDS

_DEMANDS = {"attempts": COUNT, "delay": SECONDS, "factor": FACTOR, "max_delay": SECONDS, "jitter": PART}

Wants = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a step is tried, and how long it waits in between.

    Attempts and due times are in the log: a crash neither forgets an attempt that failed nor starts the waiting anew.
    An attempt that a crash has cut short does not count.
    """

    attempts: int = 3
    """How often it is tried at most, the first time included."""
    delay: float = 0.1
    """Seconds before the second attempt."""
    factor: float = 2.0
    """By which each further delay is longer."""
    max_delay: float = 60.0
    """Seconds that no delay exceeds."""
    jitter: float = 0.1
    """The part of a delay, 0 to 1, that is random, so that many that failed together do not come back together."""
    when: Wants = Exception
    """Which errors are worth another attempt: a type, several, or a function of the error. A group is worth it if all
    that is in it is."""

    def __post_init__(self) -> None:
        for name, demand in _DEMANDS.items():
            demand.check(name, getattr(self, name))
        if not _can_choose(self.when):
            raise UsageError(f"when must be a type of error, a tuple of types, or a function, not {self.when!r}")

    def wants(self, error: Exception) -> bool:
        """Whether this error is worth another attempt."""
        match self.when:
            case type() | tuple() as given:
                types = cast("type[Exception]", given)
                if isinstance(error, ExceptionGroup) and not isinstance(error, types):
                    return all(map(self.wants, cast("ExceptionGroup[Exception]", error).exceptions))
                return isinstance(error, types)
            case asked:
                return asked(error)

    def delay_after(self, attempt: int, draw: float) -> float:
        """Return the seconds to wait after an attempt, counted from 1; `draw` is a random number from 0 to 1."""
        full = self.delay
        for _ in range(attempt - 1):  # not a power: it would overflow where max_delay has long been reached
            if full >= self.max_delay:
                break
            full *= self.factor
        return min(full, self.max_delay) * (1 - self.jitter * draw)


def _can_choose(when: object) -> bool:
    """Whether it says which errors are worth another attempt; a type could be called, too, and would say nothing."""
    if isinstance(when, tuple):
        return all(isinstance(one, type) and issubclass(one, BaseException) for one in cast("tuple[object, ...]", when))
    return issubclass(when, BaseException) if isinstance(when, type) else callable(when)


ONCE = Retry(attempts=1)
"""What a step does unless told otherwise: one attempt."""

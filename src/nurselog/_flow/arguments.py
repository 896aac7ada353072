"""What the application passes, looked at where it comes in.

Annotations promise types, and nothing keeps the promise. A number that is none is found out hours later, in a failed
step that should have been tried again, or in a row that nobody can read any more: far from the line that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._errors import UsageError
from .._log.codec import digest_arguments


@dataclass(frozen=True)
class Demand:
    """What a number must be."""

    said: str
    """In words, after "must be"."""
    types: tuple[type[int | float], ...]
    holds: Callable[[float], bool]
    """Asked about what has one of the types."""

    def check(self, what: str, value: object, error: type[UsageError] = UsageError) -> None:
        """Look at an argument; True and False are no numbers, though Python takes them for some.

        Raises:
            UsageError: or what is given as `error`, if it is not what is demanded.
        """
        if isinstance(value, bool) or not isinstance(value, self.types) or not self.holds(value):
            raise error(f"{what} must be {self.said}, not {value!r}")


WHOLE = Demand("a whole number", (int,), lambda _: True)
NATURAL = Demand("a whole number, 0 or more", (int,), lambda value: value >= 0)
COUNT = Demand("a whole number, 1 or more", (int,), lambda value: value >= 1)
LIMIT = Demand("a whole number, 1 or more, or math.inf", (int, float), lambda value: value >= 1 and _is_whole(value))
SECONDS = Demand("a number of seconds, 0 or more", (int, float), lambda value: value >= 0)
PERIOD = Demand("a number of seconds, more than 0", (int, float), lambda value: value > 0)
FACTOR = Demand("a number, 1 or more", (int, float), lambda value: 1 <= value < math.inf)
PART = Demand("a number from 0 to 1", (int, float), lambda value: 0 <= value <= 1)


def _is_whole(value: float) -> bool:
    """Whether a number counts something; infinity does, where there is no limit."""
    return isinstance(value, int) or value == math.inf


def check_interface(what: str, value: object, interface: type) -> None:
    """See that an object has what an interface of `nurselog.abc` has.

    Raises:
        UsageError: if it has not.
    """
    members = [name for name in vars(interface) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(value, name)]
    if missing or isinstance(value, type):
        lacks = f"{value!r} has no {', '.join(missing)}" if missing else f"{value!r} is a class, not an object"
        raise UsageError(f"{what} must have the interface of nurselog.abc.{interface.__name__}: {lacks}")


def unwrap_partial(
    fn: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Take partials apart: a step inside is still a step, a workflow a workflow."""
    kwargs: dict[str, Any] = {}
    while isinstance(fn, partial):
        args = (*fn.args, *args)
        kwargs = {**fn.keywords, **kwargs}
        fn = fn.func
    return fn, args, kwargs


def digests_of(
    args: Sequence[object], kwargs: Mapping[str, object], id: str, sources: Sequence[str]
) -> tuple[str | None, ...]:
    """Return the digest of a call's arguments, and those that they had in the logs that this one was forked from.

    Arguments have the workflow's id, or a promise's, wherever somebody is to answer; and a fork's are its own.

    Args:
        args: by position, as they were passed: without defaults, which may be added to a function under way.
        kwargs: by name.
        id: the workflow's.
        sources: of the workflows that it was forked from.

    Returns:
        The first one is that of the call; None where the arguments cannot be encoded as they are.
    """
    own = digest_arguments(args, kwargs)
    if own is None or not sources:
        return (own,)
    return (own, *(digest_arguments(args, kwargs, (id, source)) for source in sources))

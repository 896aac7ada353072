"""The names by which functions are recorded: never with the module, so that code can move."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from .._errors import RegistrationError

_LONGEST = 200


def recorded_name(fn: Callable[..., Any], name: str | None, kind: str) -> str:
    """Return the name of a function in the log.

    Raises:
        RegistrationError: if it has none that a restarted process would find again.
    """
    if name is not None:
        if not name or len(name) > _LONGEST or not name.isprintable():
            raise RegistrationError(
                f"the name of a {kind} must have 1 to {_LONGEST} printable characters, not {name!r}"
            )
        return name
    found = None if isinstance(fn, partial) else getattr(fn, "__qualname__", None)
    if not isinstance(found, str) or "<" in found:
        raise RegistrationError(
            f"{fn!r} has no name of its own that a restarted process would find again: give it one, @{kind}(name=...)"
        )
    return found


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling this gives something to be awaited."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - not whether, but what kind


def plain_text(what: str, text: str | None) -> str | None:
    """Return a text as the log can have it: without a class of its own, such as an enum's.

    Raises:
        TypeError: if it is no text.
        ValueError: if it has a character that is half of one (a lone surrogate).
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"{what} has a character that cannot be written: {exc}") from None
    return str.__str__(text)

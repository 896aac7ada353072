"""The names by which functions are recorded: never with the module, so that code can move."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Never, NoReturn

from .._errors import RegistrationError, UsageError
from ..abc import Codec

_LONGEST = 200

_LONGEST_REASON = 1000


def recorded_name(fn: Callable[..., Any], name: str | None, kind: str) -> str:
    """Return the name of a function in the log.

    Raises:
        RegistrationError: if it has none that a restarted process would find again.
    """
    if name is not None:
        if not _is_name(name):
            raise RegistrationError(
                f"the name of a {kind} must have 1 to {_LONGEST} printable characters, not {name!r}"
            )
        return str.__str__(name)
    found = None if isinstance(fn, partial) else getattr(fn, "__qualname__", None)
    if not isinstance(found, str) or "<" in found:
        raise RegistrationError(
            f"{fn!r} has no name of its own that a restarted process would find again: give it one, @{kind}(name=...)"
        )
    return found


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()


def label(what: str, text: str) -> str:
    """Return a word by which users tell things apart, such as a topic, as the log and the store can have it.

    Raises:
        UsageError: if it is none: not printable text, empty, or too long.
    """
    if not _is_name(text):
        raise UsageError(f"{what} must have 1 to {_LONGEST} printable characters, not {text!r}")
    return str.__str__(text)


def check_readable(what: str, annotation: Any, codec: Codec) -> None:
    """See that what is annotated could be read back from the log, before any code runs for it.

    Raises:
        RegistrationError: if it could not. What never returns has nothing to be read back.
    """
    if annotation is NoReturn or annotation is Never:
        return
    try:
        codec.check(annotation)
    except Exception as exc:  # whatever a codec of the user's makes of the annotation
        raise RegistrationError(f"{what}: {exc}") from exc


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling this gives something to be awaited."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - not whether, but what kind


def plain_text(what: str, text: str, error: type[UsageError] = UsageError) -> str:
    """Return a text as the log can have it: without a class of its own, such as an enum's.

    Raises:
        UsageError: or what is given as `error`, if it is no text, or has a character that is half of one (a lone
            surrogate).
    """
    if not isinstance(text, str):
        raise error(f"{what} must be a str, not {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise error(f"{what} has a character that cannot be written: {exc}") from None
    return str.__str__(text)


def text_or_none(what: str, text: str | None, error: type[UsageError] = UsageError) -> str | None:
    """Return a text as the log can have it; None is none.

    Raises:
        UsageError: as `plain_text`.
    """
    return None if text is None else plain_text(what, text, error)


def reason_text(reason: str | None) -> str | None:
    """Return a reason as the log can have it.

    One that is too long is cut, not refused: reasons are often made of an error's text, while that error is handled,
    and a cancellation that fails because of its explanation would be a worse fault than the one that it is about.

    Raises:
        UsageError: as `plain_text`.
    """
    text = text_or_none("a reason", reason)
    if text is None or len(text) <= _LONGEST_REASON:
        return text
    return f"{text[:_LONGEST_REASON]}... ({len(text)} characters)"


def patch_name(name: str) -> str:
    """Return a patch's name as the log can have it; cut, two of them could become one.

    Raises:
        UsageError: if it is too long, or as `plain_text`.
    """
    name = plain_text("a patch's name", name)
    if len(name) > _LONGEST:
        raise UsageError(f"a patch's name may have {_LONGEST} characters, not {len(name)}")
    return name

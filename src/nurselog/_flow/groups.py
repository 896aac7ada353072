"""Exceptions and groups of them, looked into without trusting what their classes do in code of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast

import trio

from .._errors import Suspended, UsageError

_members: Any = vars(BaseExceptionGroup)["exceptions"]
_message: Any = vars(BaseExceptionGroup)["message"]


def members_of(group: BaseExceptionGroup[BaseException]) -> tuple[BaseException, ...]:
    """Return the members of a group."""
    found: tuple[BaseException, ...] = _members.__get__(group)
    return found


def find_fatal(exc: BaseException) -> BaseException | None:
    """Return what no workflow may handle, such as a KeyboardInterrupt, if `exc` is or holds any."""
    if isinstance(exc, BaseExceptionGroup):
        members = members_of(cast("BaseExceptionGroup[BaseException]", exc))
        return next((found for one in members if (found := find_fatal(one))), None)
    harmless = isinstance(exc, (Exception, trio.Cancelled, Suspended, GeneratorExit)) or _is_asyncios(exc)
    return None if harmless else exc


def _is_asyncios(exc: BaseException) -> bool:
    """Whether this is a cancellation of asyncio's, which takes long to import: who raises one has done that."""
    asyncio: Any = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(exc, asyncio.CancelledError)


def split_error(exc: BaseException) -> tuple[Exception | None, BaseException | None]:
    """Take apart what code raised: its error, and what is none, above all the cancellation of Trio's scopes.

    Groups are looked into. One whose class cannot be split is taken apart as a plain group.
    """
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        try:
            error, rest = group.split(Exception)
        except Exception:  # noqa: BLE001 - the class's own `derive`: whatever it does
            error, rest = _plain(group).split(Exception)
        return error, rest
    if isinstance(exc, Exception):
        return exc, None
    return None, exc


def _plain(group: BaseExceptionGroup[BaseException]) -> BaseExceptionGroup[BaseException]:
    members = [
        _plain(cast("BaseExceptionGroup[BaseException]", one)) if isinstance(one, BaseExceptionGroup) else one
        for one in members_of(group)
    ]
    return BaseExceptionGroup(str(_message.__get__(group)), members).with_traceback(group.__traceback__)


def no_error(what: str, exc: BaseException) -> UsageError:
    """Return the error of code that ended with something that is none, and that nobody has caused."""
    kinds = sorted({type(leaf).__name__ for leaf in _leaves(exc)})
    return UsageError(f"{what} raised {', '.join(kinds)}, but nobody has cancelled it")


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if not isinstance(exc, BaseExceptionGroup):
        yield exc
        return
    for member in members_of(cast("BaseExceptionGroup[BaseException]", exc)):
        yield from _leaves(member)

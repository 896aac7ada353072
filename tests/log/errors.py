"""Errors of many kinds, and what the tests do with each."""

from __future__ import annotations

import decimal
import enum
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import attrs
import msgspec

from nurselog._log.failures import (
    ErrorRecord,
    decode_error,
    encode_error,
    rebuild_error,
    record_error,
)


def again(exc: Exception) -> Exception:
    """Return what workflow code sees after `exc` went through the log."""
    return rebuild_error(decode_error(encode_error(record_error(exc))))


def raised(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as exc:  # noqa: BLE001 - whatever it is
        return exc
    raise AssertionError


def parts(exc: BaseException) -> object:
    """Return all that makes two errors the same, but identity and traceback.

    The text is left out, for sets print in any order; the texts of those that the test names are compared apart.
    """
    held = {name: parts(v) if isinstance(v, BaseException) else v for name, v in vars(exc).items()}
    members = [parts(member) for member in exc.exceptions] if isinstance(exc, BaseExceptionGroup) else None
    args = None if members else [parts(arg) if isinstance(arg, BaseException) else arg for arg in exc.args]
    cause = None if exc.__cause__ is None else parts(exc.__cause__)
    return type(exc), args, held, members, cause


def made(exc: Exception, held: dict[str, Any]) -> Exception:
    vars(exc).update(held)
    return exc


def caused(exc: Exception, cause: Exception) -> Exception:
    exc.__cause__ = cause
    return exc


class Reason(enum.Enum):
    POOR = "poor"


@dataclass(frozen=True)
class Money:
    amount: decimal.Decimal
    currency: str


class Declined(Exception):
    """An `__init__` that does not take `args`, with an effect and a text of its own."""

    made = 0

    def __init__(self, *, code: int, reason: Reason = Reason.POOR) -> None:
        Declined.made += 1
        super().__init__(f"declined: {code}")
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        return f"card declined ({self.code}, {self.reason.value})"


class Slotted(ValueError):
    __slots__ = ("__hidden", "code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code, self.__hidden = code, (1, 2)

    def hidden(self) -> tuple[int, int]:
        return self.__hidden


class Forwarding(Exception):
    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        return super().__new__(cls, "made by __new__")

    def __init__(self, value: object) -> None:
        self.value = value


class Guarded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        vars(self)["code"] = code

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        raise TypeError


class Quota(OSError):
    def __init__(self, used: int) -> None:
        super().__init__(errno.EDQUOT, "quota", "/data")
        self.used = used


@dataclass
class AsDataclass(Exception):
    code: int
    money: Money


@attrs.frozen
class AsAttrs(Exception):
    code: int


class Outer:
    class Inner(KeyError):
        pass


def with_notes() -> Exception:
    exc = ValueError("noted")
    exc.add_note("one")
    exc.add_note("two\nlines")
    return exc


def textless(record: ErrorRecord) -> ErrorRecord:
    return msgspec.structs.replace(
        record,
        traceback="",
        message="",
        cause=record.cause and textless(record.cause),
        members=record.members and tuple(map(textless, record.members)),
    )


class Connected(Exception):
    """Holds what lives in this process only."""

    def __init__(self) -> None:
        super().__init__("connection lost")
        self.connection = object()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Batch(ExceptionGroup[Exception]):
    def __new__(cls, number: int, members: list[Exception]) -> Self:
        made = super().__new__(cls, f"batch {number}", members)
        made.number = number
        return made

    number: int

    def derive(self, excs: Any) -> Batch:
        return Batch(self.number, excs)

"""`@transaction`: a step that writes to a database, exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from .._errors import RegistrationError
from ..abc import Isolation
from .names import text_or_none
from .step import Step, make_step
from .transacting import Terms

if TYPE_CHECKING:
    import sqlite3

    import psycopg  # an extra: only type checkers need it here

    AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]

P = ParamSpec("P")
T = TypeVar("T")


class TransactionDecorator(Protocol):
    """What `transaction(...)` with options returns."""

    @overload
    def __call__(self, fn: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], /) -> Step[P, T]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[sqlite3.Connection, P], T], /) -> Step[P, T]: ...


@overload
def transaction(fn: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], /) -> Step[P, T]: ...
@overload
def transaction(fn: Callable[Concatenate[sqlite3.Connection, P], T], /) -> Step[P, T]: ...
@overload
def transaction(
    *,
    database: str | None = None,
    isolation: Isolation = Isolation.READ_COMMITTED,
    timeout: float | None = None,
    name: str | None = None,
) -> TransactionDecorator: ...
def transaction(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    database: str | None = None,
    isolation: Isolation = Isolation.READ_COMMITTED,
    timeout: float | None = None,
    name: str | None = None,
) -> Any:
    """Make a function a step whose body is one transaction of a database: what it writes is there exactly once.

    Its outcome is committed together with what it writes. So whatever happens to the process, and at whatever moment,
    the workflow goes on with the outcome, and the body's writes are there once; or it has none of both.

    Args:
        fn: for PostgreSQL an async function, which gets a `psycopg.AsyncConnection`; for SQLite a sync one, which gets
            a `sqlite3.Connection` and runs in a worker thread. The connection comes first; callers do not pass it.
        database: the name of a database of `open_engine(databases=...)`; None: the store's own.
        isolation: what it sees of others that run at the same time. SQLite has SERIALIZABLE in any case.
        timeout: seconds for the whole step, all tries included.
        name: its name in the log; by default the function's qualified name.

    If others are in the way (a serialization failure, a deadlock, a lock), or the database is out of reach, all is
    undone and the body runs again, after a pause, until it succeeds, its scope is cancelled or the timeout is over. So
    a body may run several times; only what it does with the connection counts once.

    Raises:
        RegistrationError: as `step`; or if the function takes no connection, or is a method.

    When called in a workflow, the step raises the body's own error, which undoes all that it has written;
    `TransactionEnded` if the body has ended the transaction by itself; else what `step` says. It is a checkpoint; when
    it is cancelled before the commit, all is undone. Outside of workflows, and inside of steps, it cannot be called.
    """

    def decorate(fn: Callable[..., Any]) -> Step[..., Any]:
        if not isinstance(isolation, Isolation):
            raise RegistrationError(f"transaction {fn!r}: isolation must be a nurselog.Isolation, not {isolation!r}")
        named = text_or_none("the name of a database", database, RegistrationError)
        made = make_step(
            fn, "transaction", name, timeout=timeout, transaction=Terms(database=named, isolation=isolation)
        )
        _check_connection(fn, made.name)
        return made

    return decorate if fn is None else decorate(fn)


def _check_connection(fn: Callable[..., Any], name: str) -> None:
    """See that there is a parameter for the connection."""
    places = [one for one in inspect.signature(fn).parameters.values() if one.kind in _BY_PLACE]
    if not places or places[0].name == "self":
        raise RegistrationError(
            f"transaction {name!r} must be a function whose first argument is the connection, and no method"
        )


_BY_PLACE = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
}

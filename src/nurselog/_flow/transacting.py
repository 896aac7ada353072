"""The run of a transaction's body: as often as it takes, until it is known what became of it.

A transaction records its outcome in the database that it writes to, under a key of its own and in one commit with what
it writes. So whoever runs it again, here or elsewhere, is told what the first one came to, and nothing is done twice.
What remains to be done here is to try again: others were in the way, the server went away, or its answer to COMMIT did.

Only the last of these must not be left by a cancellation. If it was committed, the step has its outcome, and a log that
said "cancelled" would be wrong for ever. So then the key is asked, however long that takes, by a transaction whose body
refuses: an outcome comes back, or the refusal does, and then nothing was done, nor will be. So too at the beginning of
a step that a former life may have been at: it may have committed, and the scope been cancelled or the timeout passed
while nobody was there.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Never

import msgspec
import trio

from .._errors import StoreUnavailable, UsageError
from .._log.identity import seeded_random, transaction_key
from ..abc import CommitUnanswered, Database, Isolation, Transaction
from .leftovers import open_scopes

if TYPE_CHECKING:
    from .body import Body

logger = logging.getLogger("nurselog")

_BACKOFF = (0.005, 1.0)
"""Seconds: the first and the longest wait before it is tried again, half of it by chance."""

_PATIENCE = 5
"""After so many tries in vain somebody should know."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction was decorated with."""

    database: str | None = None
    """Its name, as `open_engine` knows it; None: the store's own."""
    isolation: Isolation = Isolation.READ_COMMITTED


class Encoded(bytes):
    """An outcome that is what the log will have: it was committed so, and is not encoded again."""


class _NotThereError(Exception):
    """There is no outcome under the key."""


async def transact(body: Body, fn: Callable[..., Any]) -> Encoded:
    """Run a step's function in a transaction, exactly once.

    Args:
        body: the step's.
        fn: the function, which gets the connection and the step's arguments.
    """
    database, transaction = await _prepare(body, fn)
    return Encoded(await _persistently(database, transaction, body))


async def find_outcome(body: Body) -> bytes | None:
    """Return the outcome that a former life has committed; None: there is none. A cancellation waits for the answer."""
    return await body.hold(partial(_ask, *await _prepare(body, _refuse)))


async def _prepare(body: Body, fn: Callable[..., Any]) -> tuple[Database, Transaction]:
    call, sequencer = body.call, body.call.sequencer
    terms = call.step.transaction
    assert terms is not None, "it is one"
    try:
        database = sequencer.host.database(terms.database)
        _check_kind(database, body, terms)
    except UsageError as exc:  # nothing is lost: who opens the engine with that database may resume it
        sequencer.stuck(exc)
        await trio.sleep_forever()
    transaction = Transaction(
        name=call.step.name,
        workflow=sequencer.host.key,
        id=sequencer.id,
        writer=sequencer.log.writer,
        key=transaction_key(sequencer.id, sequencer.seed, call.operation.path),
        isolation=terms.isolation,
        body=lambda connection: fn(connection, *call.args, **call.kwargs),
        encode=partial(_encode, body, open_scopes()),
        in_thread=body.in_thread,
    )
    return database, transaction


def _check_kind(database: Database, body: Body, terms: Terms) -> None:
    step = body.call.step
    if database.is_async is not step.is_async:
        where = "the store's database" if terms.database is None else f"database {terms.database!r}"
        wanted, is_ = ("an async function", "a sync one") if database.is_async else ("a sync function", "an async one")
        raise UsageError(
            f"transaction {step.name!r} runs in {where}, which wants {wanted} (PostgreSQL's connections are async, "
            f"SQLite's are not), and this is {is_}"
        )


def _encode(body: Body, status: object, value: object) -> bytes:
    if inspect.isawaitable(value):
        raise UsageError(
            f"transaction {body.call.step.name!r} is no async function, but it returned something to be awaited"
        )
    return body.encode(value, tidy=open_scopes() is status)


async def _persistently(database: Database, transaction: Transaction, body: Body) -> bytes:
    random = seeded_random(body.call.sequencer.seed, body.call.operation.path)
    pause, longest = _BACKOFF
    tries = 0
    while True:
        try:
            return await database.transact(transaction)
        except CommitUnanswered as exc:
            logger.warning("transaction %r of workflow %r: %s", transaction.name, transaction.id, exc)
            found = await body.hold(partial(_ask, database, transaction))
            if found is not None:
                return found
        except StoreUnavailable as exc:
            tries += 1
            _say(transaction, tries, exc)
        await trio.sleep(pause * (1 + random.random()) / 2)
        pause = min(2 * pause, longest)


def _say(transaction: Transaction, tries: int, error: StoreUnavailable) -> None:
    if tries == _PATIENCE:
        logger.warning("transaction %r of workflow %r waits: %s", transaction.name, transaction.id, error)


async def _ask(database: Database, transaction: Transaction) -> bytes | None:
    """Return the outcome that a database has; None: it has none, and that is certain."""
    question = msgspec.structs.replace(transaction, body=_refuse)
    for tries in count(1):
        try:
            return await database.transact(question)
        except _NotThereError:
            return None
        except StoreUnavailable as exc:
            _say(transaction, tries, exc)
            await trio.sleep(_BACKOFF[1])
    raise AssertionError  # pragma: no cover - it counts for ever


def _refuse(*_: object, **__: object) -> Never:
    raise _NotThereError

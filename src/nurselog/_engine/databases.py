"""The databases in which an engine's transactions run, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .._errors import UsageError
from .._flow.names import plain_text
from .._stores import open_database
from ..abc import Database, HasDatabase, Store, Transaction


class Databases:
    """The store's own database, and those that the engine was told of; they connect when they are first used.

    Args:
        store: the store.
        others: addresses by name.

    Raises:
        UsageError: if a name or an address is none.
    """

    def __init__(self, store: Store, others: Mapping[str, str]) -> None:
        self._own: Database | None = store.database if isinstance(store, HasDatabase) else None
        if self._own is not None and not store.shared:
            self._own = _Overheard(self._own, self)
        self.looks: Callable[[], None]
        """What to do when a transaction may have left something in the store, and nobody tells of it."""
        self._others = {plain_text("the name of a database", name): open_database(url) for name, url in others.items()}

    def find(self, name: str | None) -> Database:
        """Return the database of a name; None: the store's own.

        Raises:
            UsageError: if there is none.
        """
        if name is None:
            if self._own is None:
                raise UsageError(
                    "this store has no database for transactions: name one of open_engine(databases=...), or, in a "
                    "test, let a fake stand for the transaction"
                )
            return self._own
        if name not in self._others:
            known = ", ".join(map(repr, self._others)) or "none"
            raise UsageError(f"there is no database {name!r}: this engine was opened with databases={known}")
        return self._others[name]

    async def close(self) -> None:
        """Close all. A checkpoint."""
        for database in (self._own, *self._others.values()):
            if database is not None:
                await database.close()


class _Overheard:
    """The database of a store that is nobody else's, and so tells nobody what changes.

    A transaction's body may start workflows and send messages by an outbox: the engine must look for them itself.
    """

    def __init__(self, inner: Database, databases: Databases) -> None:
        self._inner, self._databases = inner, databases
        self.is_async: bool = inner.is_async

    async def transact(self, transaction: Transaction) -> bytes:
        try:
            return await self._inner.transact(transaction)
        finally:
            self._databases.looks()

    async def close(self) -> None:
        await self._inner.close()

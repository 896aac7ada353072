"""The run's own schema in a PostgreSQL database: made before the run, removed after it, and once taken away.

The demo does not own the server, and others may work on it. So it makes a schema instead of using one, which fails if
there is one of that name, whoever made it; that is decided by the server, in one statement. And the connections that
it ends are those that carry the run's own name, which it has put into the address: no other engine's.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from .. import StoreError, UsageError
from .._stores._postgres.address import parse
from .._stores._postgres.binary import column, number, text
from .._stores._postgres.driver import DatabaseError
from .._stores._postgres.session import connected
from .supervisor import Restart, RunFailed

_SCHEMA = "nurselog_demo"
"""Where the address names none."""
_EXISTS = "42P06"
"""The SQLSTATE of a schema that is there."""
_PATIENCE = 60.0
"""Seconds for the server to be there again after its restart, or to remove a schema."""
_LOOK = 0.05
"""Seconds between two looks whether it is."""

_STARTED = b"SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"

_END = b"""
    SELECT count(*) FILTER (WHERE ended) FROM (
        SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
    ) AS connection"""


class Database:
    """A run's place in a database. Not constructed directly: use `own_schema`.

    Attributes:
        url: the store's address for the run's engines; there may be a password in it.
        schema: the name of the run's schema.
    """

    def __init__(self, url: str) -> None:
        shown = parse(url).shown  # first of all, so that what is wrong with it is said of the address as it was typed
        place, _, options = url.partition("?")
        # Where an option is there twice the last one counts: a schema that is asked for, and the run's own name.
        options = f"schema={_SCHEMA}&{options}"
        self.schema: str = parse(f"{place}?{options}").schema
        self._name = f"demo-{self.schema}"
        self.url: str = f"{place}?{options}&application_name={self._name}"
        self._address = parse(self.url)._replace(shown=shown)

    async def make(self) -> None:
        """Make the schema.

        Raises:
            UsageError: if there is one of this name.
            StoreError: if it cannot be made.
        """
        async with connected(self._address, "demo") as connection:
            try:
                await connection.run_script(f'CREATE SCHEMA "{self.schema}"')
            except DatabaseError as error:
                if error.sqlstate != _EXISTS:
                    raise
                raise UsageError(
                    f"{self._address.shown}: schema {self.schema!r} is there already, and the demo removes its schema "
                    "at the end. Name one that is not there by schema=, or drop this one if a run has left it."
                ) from error

    async def drop(self) -> None:
        """Remove the schema with all that is in it, even if cancelled.

        Raises:
            StoreError: if it cannot be removed.
        """
        try:
            with trio.fail_after(_PATIENCE, shield=True):
                async with connected(self._address, "demo") as connection:
                    await connection.run_script(f'DROP SCHEMA "{self.schema}" CASCADE')
        except (StoreError, trio.TooSlowError) as error:
            why = str(error) or f"the server has not done it within {_PATIENCE:g} seconds"
            raise StoreError(f"schema {self.schema!r} could not be removed, and stays: {why}") from error

    async def end_connections(self) -> Restart:
        """End all connections of the run's engines, which a role may do to its own."""
        async with connected(self._address, "demo") as connection:
            [ended] = column(await connection.call(_END, [text(self._name)]), 0, number)
        return Restart(ended)

    async def restart(self, command: str, output: Path) -> Restart:
        """Run a shell command that restarts the server, and wait until that has happened.

        Args:
            command: the command.
            output: the file for what it writes.

        Raises:
            RunFailed: if the command fails, or the server is the same afterwards.
        """
        before = await self._started()
        # Not a pipe: a server that the command starts would hold its end, and this wait for it.
        with output.open("wb") as out:
            done = await trio.run_process(  # noqa: S604 - the user's own command, as it was typed
                command,
                shell=True,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
                start_new_session=True,  # Ctrl-C is not for a server that it starts
            )
        if done.returncode:
            raise _no_restart(f"ended with code {done.returncode}", output)
        with trio.move_on_after(_PATIENCE):
            while True:
                with suppress(StoreError):
                    if await self._started() != before:
                        return Restart(None)
                await trio.sleep(_LOOK)
        raise _no_restart("has not restarted the server", output)

    async def _started(self) -> int:
        """Return when the server was started."""
        async with connected(self._address, "demo") as connection:
            [started] = column(await connection.call(_STARTED), 0, number)
            return started


def _no_restart(why: str, output: Path) -> RunFailed:
    return RunFailed(f"the command given by --restart {why}. It wrote:\n{output.read_text(errors='replace')}")


def _stays(folder: Path | None) -> bool:
    """Return whether there is a folder that is kept: one that could not be made leaves nothing to keep."""
    return folder is not None and folder.exists()


@asynccontextmanager
async def own_schema(url: str, *, keep: Path | None) -> AsyncGenerator[Database]:
    """Make a schema for a run, and remove it at the end, unless the run's folder stays.

    Args:
        url: the database's address.
        keep: the folder, which may come to be while this is open; None if it is not kept.

    Raises:
        UsageError: if the address is none of a PostgreSQL database, or the schema that it names is there already.
        StoreError: if the schema cannot be made, or not be removed.
    """
    database = Database(url)
    await database.make()
    try:
        yield database
    finally:
        if not _stays(keep):
            await database.drop()

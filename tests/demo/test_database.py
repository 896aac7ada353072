"""A run's schema: made and removed, nobody else's touched, its connections ended, its server restarted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from nurselog import StoreError, StoreUnavailable, UsageError, open_engine, workflow
from tests.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg", reason="no psycopg here: pip install 'nurselog[postgres]'")

from nurselog.demo import database as module  # noqa: E402 - it needs psycopg
from nurselog.demo.database import Database, own_schema  # noqa: E402 - it needs psycopg
from nurselog.demo.supervisor import Restart, RunFailed  # noqa: E402 - see above


@workflow
async def answer() -> int:
    return 42


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^[^p]'")}


@pytest.mark.parametrize(
    ("address", "schema"),
    [
        ("postgresql://host/database", "nurselog_demo"),
        ("postgresql://host/database?sslmode=disable", "nurselog_demo"),
        ("postgresql://host/database?schema=mine&shards=2", "mine"),
    ],
)
def test_the_schema_is_the_one_that_is_asked_for_or_one_of_the_demo_s(address: str, schema: str) -> None:
    database = Database(address)
    assert database.schema == schema
    assert database._address.schema == schema


async def test_a_schema_is_made_and_removed_with_all_that_is_in_it(postgres_url: str) -> None:
    before = schemas(postgres_url)
    async with own_schema(postgres_url, keep=None) as database:
        async with open_engine(database.url, [answer]) as engine:
            assert await engine.run(answer) == 42
        assert schemas(postgres_url) == before | {"nurselog_demo"}
    assert schemas(postgres_url) == before


async def test_a_schema_may_be_kept(postgres_url: str, tmp_path: Path) -> None:
    async with own_schema(f"{postgres_url}&schema=mine", keep=tmp_path):
        pass
    assert "mine" in schemas(postgres_url)


async def test_a_schema_whose_name_is_a_word_of_sql_is_made_and_removed(postgres_url: str) -> None:
    async with own_schema(f"{postgres_url}&schema=order", keep=None):
        assert "order" in schemas(postgres_url)
    assert "order" not in schemas(postgres_url)


@pytest.mark.parametrize("address", ["sqlite:///quotes.db", "postgresql:///db?schema=Mine"])
def test_an_address_that_is_none_is_quoted_as_it_was_typed(address: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(repr(address))} is no address"):
        Database(address)


async def test_a_schema_is_removed_if_the_run_is_cancelled(postgres_url: str) -> None:
    with trio.CancelScope() as scope:
        async with own_schema(postgres_url, keep=None):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert "nurselog_demo" not in schemas(postgres_url)


async def test_somebody_else_s_schema_is_refused_and_stays(postgres_url: str) -> None:
    async with open_engine(f"{postgres_url}&schema=theirs", [answer]) as engine:
        await engine.run(answer, id="one")
    with pytest.raises(UsageError, match=r"'theirs' is there already.*schema="):
        async with own_schema(f"{postgres_url}&schema=theirs", keep=None):
            raise AssertionError
    async with open_engine(f"{postgres_url}&schema=theirs", workflows=()) as engine:
        assert await (await engine.get("one")).result() == 42


async def test_a_role_that_may_not_make_a_schema_is_told(postgres_url: str) -> None:
    url = postgres_url.replace("//postgres@", "//nurselog_demo_nobody@")
    if url == postgres_url:
        pytest.skip("a server that was given may want a password")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE nurselog_demo_nobody LOGIN")
        try:
            with pytest.raises(StoreError, match="this role may not do that"):
                async with own_schema(url, keep=None):
                    raise AssertionError
        finally:
            connection.execute("DROP ROLE nurselog_demo_nobody")


async def test_a_server_that_is_not_there_is_an_error_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
        async with own_schema(f"postgresql://user:secret@/database?host={tmp_path}", keep=None):
            raise AssertionError
    assert "secret" not in str(raised.value)


async def test_only_the_run_s_own_connections_are_ended(postgres_url: str) -> None:
    async with (
        own_schema(f"{postgres_url}&application_name=another", keep=None) as database,
        open_engine(database.url, [answer]) as engine,
        open_engine(f"{postgres_url}&schema=theirs", [answer]) as other,
    ):
        assert await engine.run(answer) == await other.run(answer) == 42
        mine = pids(postgres_url, database._name)
        theirs = pids(postgres_url, None) - mine
        assert len(mine) > 1
        assert await database.end_connections() == Restart(len(mine))
        while mine & pids(postgres_url, None):  # the server ends them when it gets to it
            await trio.lowlevel.checkpoint()
        assert theirs <= pids(postgres_url, None)
        assert await engine.run(answer) == await other.run(answer) == 42


def pids(url: str, name: str | None) -> set[int]:
    """The connections to the database, of one name or of all."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name = coalesce(%s, application_name)"
    )
    with psycopg.connect(url) as connection:
        return {pid for (pid,) in connection.execute(query, [name])}


async def test_a_command_that_fails_says_what_it_wrote(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"ended with code 3\. It wrote:\nno luck"):
        await Database(postgres_url).restart("echo no luck >&2; exit 3", tmp_path / "said")


async def test_a_command_that_restarts_nothing_is_no_restart(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with pytest.raises(RunFailed, match=r"has not restarted the server\. It wrote:\ndone"):
        await Database(postgres_url).restart("echo done", tmp_path / "said")


async def test_a_schema_that_cannot_be_removed_is_named(server: PostgresServer) -> None:
    with pytest.raises(StoreError, match=r"'nurselog_demo' could not be removed, and stays: .*cannot be reached"):
        async with own_schema(server.url, keep=None):
            server.stop()

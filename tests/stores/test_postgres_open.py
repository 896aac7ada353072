"""Addresses, and what happens to the schema."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from nurselog._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreTooNew, UsageError
from nurselog._stores import open_store
from nurselog._stores._postgres import migrations, schema
from nurselog._stores._postgres.address import Address, hide, parse
from nurselog._stores._postgres.driver import TrioConnection
from nurselog._stores._postgres.migrate import migrate
from nurselog.abc import Append, Deleted, HasDatabase, Isolation, Lease, Store, Transaction, WorkflowKey
from nurselog.testing.stores.records import (
    LEASE,
    LONG,
    StandingClock,
    append,
    claim_due,
    create,
    creation,
    early,
    note,
    over,
    row,
    rows,
    sleeping,
)
from tests.stores.kit import behind, opened, store_at

ME = Lease(worker="a", duration=LONG)

# -- addresses


@pytest.mark.parametrize(
    ("url", "conninfo", "name", "shards"),
    [
        ("postgresql://", "postgresql://", "nurselog", None),
        ("postgres://me@host/db", "postgresql://me@host/db", "nurselog", None),
        ("postgresql://h1,h2:5/db?shards=8&sslmode=require", "postgresql://h1,h2:5/db?sslmode=require", "nurselog", 8),
        ("postgresql://h?schema=mine", "postgresql://h", "mine", None),
    ],
)
def test_addresses(url: str, conninfo: str, name: str, shards: int | None) -> None:
    assert parse(url) == Address(url, conninfo, name, shards)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:",
        "postgresql:///db?shards=0",
        "postgresql:///db?shards=1025",
        "postgresql:///db?shards=many",
        "postgresql:///db?schema=Mine",
        "postgresql:///db?schema=",
        "postgresql:///db?schema=pg_forest",
        "postgresql:///db?synchronous=off",
        "postgresql:///db\0",
        "postgresql://me:\udcff@h/db",
        "postgresql:///db?user=\udcff",
        "postgresql:///db?no_such_option=1",
    ],
)
def test_an_address_that_points_nowhere(url: str, clock: StandingClock) -> None:
    with pytest.raises(UsageError, match="is no address"):
        open_store(url, clock=clock)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me@h/db?password=secret&a=b", "postgresql://me@h/db?password=***&a=b"),
        ("postgresql://me@h/db?a=b&sslpassword=secret", "postgresql://me@h/db?a=b&sslpassword=***"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql://me:sec/re@t@h/db", "postgresql://me:***@h/db"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert hide(url) == parse(url).shown == shown


@pytest.mark.parametrize("url", ["postgresql://me:p%zz@h/db", "postgresql://me@h/db?nonsense=1"])
def test_an_address_that_libpq_does_not_understand(url: str, clock: StandingClock) -> None:
    with pytest.raises(UsageError, match="is no address that PostgreSQL's client understands") as caught:
        open_store(url, clock=clock)
    assert "%zz" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_psycopg(clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nurselog._stores.postgres", None)
    with pytest.raises(UsageError, match=r"pip install 'nurselog\[postgres\]'"):
        open_store("postgresql://", clock=clock)


# -- the schema


async def test_a_schema_by_another_name(postgres_url: str) -> None:
    async with opened(f"{postgres_url}&schema=forest") as store, opened(postgres_url) as other:
        await create(store, creation("one"))
        assert await other.find(["one"]) == []
    async with opened(f"{postgres_url}&schema=forest") as store:
        assert len(await store.find(["one"])) == 1


@pytest.mark.parametrize("name", ["order", "user", "table"])
@pytest.mark.parametrize("shards", [1, 3])
async def test_a_schema_whose_name_is_a_word_of_sql(postgres_url: str, name: str, shards: int) -> None:
    for _ in range(2):
        async with opened(f"{postgres_url}&schema={name}&shards={shards}") as store:
            assert await store.find(["one"]) == []


@pytest.mark.parametrize("table", ["recipe (title text)", "about (version int, licence text)"])
async def test_another_application_s_schema_stays_as_it_is(postgres_url: str, clock: StandingClock, table: str) -> None:
    with behind(postgres_url) as connection:
        connection.execute(f"CREATE SCHEMA nurselog CREATE TABLE {table}")
    with pytest.raises(StoreCorrupt, match="another application"):
        await store_at(postgres_url, clock).open(ME)
    with behind(postgres_url) as connection:
        assert connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'nurselog'::regnamespace"
        ).fetchall() == [(table.partition(" ")[0],)]


async def test_a_schema_that_was_copied_without_its_rows(postgres_url: str, clock: StandingClock) -> None:
    await migrate(postgres_url)
    with behind(postgres_url) as connection:
        connection.execute("DELETE FROM nurselog.about")
    for use in (migrate(postgres_url), store_at(postgres_url, clock).open(ME)):
        with pytest.raises(StoreCorrupt, match="its table about is empty"):
            await use


async def test_a_schema_that_only_newer_releases_can_use_is_left_alone(postgres_url: str, clock: StandingClock) -> None:
    async with opened(postgres_url, clock) as store:
        with behind(postgres_url) as connection:
            connection.execute("UPDATE about SET version = 99, oldest = 99")
        with pytest.raises(StoreTooNew, match="version 99"):
            await store.renew()
        with pytest.raises(StoreTooNew, match="version 99"):
            await store_at(postgres_url, clock).open(Lease(worker="b", duration=LONG))


async def test_a_newer_schema_that_older_releases_can_use_too(postgres_url: str, clock: StandingClock) -> None:
    """Processes are updated one after another; the first new one has migrated."""
    async with opened(postgres_url, clock) as store:
        with behind(postgres_url) as connection:
            connection.execute("UPDATE about SET version = 99")
        assert await store.renew()
        async with opened(postgres_url, clock, "b") as other:
            await create(other, creation("one"))
        assert len(await store.find(["one"])) == 1


async def test_the_number_of_shards_is_for_good(postgres_url: str, clock: StandingClock) -> None:
    async with opened(f"{postgres_url}&shards=3"):
        pass
    for other in (1, 8):
        with pytest.raises(UsageError, match="shards=3, which is for good"):
            await store_at(f"{postgres_url}&shards={other}", clock).open(ME)


async def test_an_address_need_not_repeat_the_number_of_shards(postgres_url: str, clock: StandingClock) -> None:
    ids = [f"w{number}" for number in range(20)]
    async with opened(f"{postgres_url}&shards=3", clock) as maker, opened(postgres_url, clock, "b") as other:
        await create(maker, *map(creation, ids))
        assert {found.id for found in await other.find(ids)} == {*ids}
        assert {found.shard for found in await other.find(ids)} == {0, 1, 2}


async def test_families_share_a_shard(postgres_url: str) -> None:
    async with opened(f"{postgres_url}&shards=8") as store:
        await create(store, *(creation(f"w{root}{child}") for root in range(20) for child in ("", "/2", "/2/1")))
        found = await store.find([f"w{root}{child}" for root in range(20) for child in ("", "/2", "/2/1")])
        by_root = {root: {w.shard for w in found if w.id.split("/")[0] == f"w{root}"} for root in range(20)}
        assert all(len(shards) == 1 for shards in by_root.values())
        assert len(set().union(*by_root.values())) > 3
        assert all(w.key % 1024 == w.shard for w in found)


async def test_an_old_server_is_refused(
    postgres_url: str, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "OLDEST", 990000)
    with pytest.raises(StoreError, match="PostgreSQL 14 or newer"):
        await store_at(postgres_url, clock).open(ME)


async def test_an_encoding_without_all_characters_is_refused(postgres_url: str, clock: StandingClock) -> None:
    with behind(postgres_url) as connection:
        connection.execute("CREATE DATABASE nurselog_latin ENCODING 'LATIN1' TEMPLATE template0")
        try:
            place, _, options = postgres_url.partition("?")
            latin = f"{place.rpartition('/')[0]}/nurselog_latin?{options}"
            with pytest.raises(StoreError, match="is LATIN1"):
                await store_at(latin, clock).open(ME)
        finally:
            connection.execute("DROP DATABASE nurselog_latin WITH (FORCE)")


@pytest.mark.parametrize(
    ("option", "expected"), [("", "on"), ("&synchronous=full", "on"), ("&synchronous=normal", "off")]
)
async def test_settings_of_connections(postgres_url: str, clock: StandingClock, option: str, expected: str) -> None:
    store = open_store(postgres_url + option, clock=clock)
    await store.open(ME)
    readers = store._session.readers  # type: ignore[attr-defined]  # it is PostgreSQL's
    connection = await readers.take()
    settings = [
        (await (await connection.execute(f"SHOW {name}")).fetchone())[0]
        for name in ("synchronous_commit", "plan_cache_mode", "search_path", "default_transaction_isolation")
    ]
    readers.give_back(connection)
    await store.close()
    assert settings == [expected, "force_generic_plan", "nurselog", "read committed"]


async def test_leases_by_the_database_s_clock(postgres_url: str) -> None:
    """The test's own clock stands in 1970; for what is due it counts."""
    store = open_store(postgres_url, clock=StandingClock())
    await store.open(Lease(worker="a", duration=LEASE))
    with behind(postgres_url) as connection:
        query = "SELECT abs(expires_at / 1e6 - extract(epoch FROM now()) - 1) < 60 FROM worker"
        assert connection.execute(query).fetchone() == (True,)
        await create(store, creation("one"))
        assert len(await claim_due(store, "a")) == 1
        connection.execute("UPDATE worker SET expires_at = 0")
        assert await store.renew() is True
        connection.execute("UPDATE worker SET expires_at = 0")
        assert await claim_due(store, "a") == []
        assert await store.renew() is True
    await store.close()


# -- roles


PAGE = (Path(__file__).parents[2] / "docs" / "postgresql.md").read_text("utf-8")
GRANTS = re.findall(r"^GRANT (.*) ON (.*) TO nurselog_worker;$", PAGE, re.MULTILINE)
REMOVAL = re.findall(r"^GRANT DELETE ON (.*) TO nurselog_remover;$", PAGE, re.MULTILINE)
RIGHTS = [(right, place) for rights, place in GRANTS for right in rights.split(", ")]


@pytest.fixture(params=[1, 4])
def owned_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """The address of a schema for a role that may do what the documentation says, and nothing else."""
    trio.run(partial(migrate, postgres_url, request.param))
    with behind(postgres_url) as admin:
        admin.execute("CREATE ROLE nurselog_worker LOGIN")
        try:
            for rights, place in GRANTS:
                admin.execute(f"GRANT {rights} ON {place} TO nurselog_worker")
            yield postgres_url.replace("postgres@", "nurselog_worker@")
        finally:
            admin.execute("DROP OWNED BY nurselog_worker")
            admin.execute("DROP ROLE nurselog_worker")


async def do_everything(url: str, clock: StandingClock) -> None:
    async with opened(url, clock) as store:
        await store.post_early([early("one", once="y"), early("two")])
        [key] = await create(store, creation("one"))
        await store.post([note(key, once="x")])
        [claim] = await claim_due(store, "a")
        numbers = [message.number for message in await store.messages()]
        await write_nothing(store, key, claim.writer)
        last = row(len(claim.rows) + 1, claim.writer)
        taking = Append(key=key, rows=[last], standing=sleeping(), taken=numbers)
        assert not await append(store, taking)
        end = row(last.seq + 1, claim.writer)
        assert not await append(store, Append(key=key, rows=[end], standing=over()))
        assert await store.renew()


async def write_nothing(store: Store, key: WorkflowKey, writer: int) -> None:
    """Run a transaction of the application's."""

    async def body(_: object) -> None:
        pass

    assert isinstance(store, HasDatabase)
    nothing = Transaction(
        name="nothing",
        workflow=key,
        id="one",
        writer=writer,
        key="key",
        isolation=Isolation.READ_COMMITTED,
        body=body,
        encode=lambda _: b"null",
        in_thread=trio.to_thread.run_sync,
    )
    try:
        assert await store.database.transact(nothing) == b"null"
    finally:
        await store.database.close()


async def test_a_role_with_the_least_rights(owned_url: str, clock: StandingClock) -> None:
    """One role makes the schema; another one works, and may not change it."""
    await do_everything(owned_url, clock)
    for statement in ("DELETE FROM nurselog.log", "UPDATE nurselog.log SET seq = 0", "DROP TABLE nurselog.log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(owned_url) as connection:
            connection.execute(statement)


@pytest.mark.parametrize(("right", "place"), RIGHTS)
async def test_each_right_is_needed(
    owned_url: str, postgres_url: str, clock: StandingClock, right: str, place: str
) -> None:
    with behind(postgres_url) as admin:
        admin.execute(f"REVOKE {right} ON {place} FROM nurselog_worker")
    with pytest.raises(StoreError):
        await do_everything(owned_url, clock)


@pytest.mark.parametrize("missing", [None, *REMOVAL])
async def test_who_deletes_needs_rights_of_its_own(
    owned_url: str, postgres_url: str, clock: StandingClock, missing: str | None
) -> None:
    with behind(postgres_url) as admin:
        admin.execute("CREATE ROLE nurselog_remover LOGIN IN ROLE nurselog_worker")
        try:
            for place in {*REMOVAL} - {missing}:
                admin.execute(f"GRANT DELETE ON {place} TO nurselog_remover")
            with nullcontext() if missing is None else pytest.raises(StoreReadOnly, match="may not do that"):
                await make_and_delete(owned_url.replace("nurselog_worker@", "nurselog_remover@"), clock)
        finally:
            admin.execute("DROP OWNED BY nurselog_remover")
            admin.execute("DROP ROLE nurselog_remover")


async def make_and_delete(url: str, clock: StandingClock) -> None:
    async with opened(url, clock) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over()))
        assert [*await store.expired(clock.now + 1, 9)] == [key]
        assert await store.delete([key]) == [Deleted(removed=1)]


async def test_a_role_that_may_not_make_the_schema(postgres_url: str, clock: StandingClock) -> None:
    with behind(postgres_url) as admin:
        admin.execute("CREATE ROLE nurselog_guest LOGIN")
        try:
            with pytest.raises(StoreReadOnly, match="may not do that"):
                await store_at(postgres_url.replace("postgres@", "nurselog_guest@"), clock).open(ME)
        finally:
            admin.execute("DROP ROLE nurselog_guest")


@pytest.mark.parametrize("schema", ["made", "empty"])
async def test_a_role_that_may_not_use_the_schema(postgres_url: str, clock: StandingClock, schema: str) -> None:
    """PostgreSQL does not say so: it says that there are no tables, or no place for them."""
    if schema == "made":
        await migrate(postgres_url)
    with behind(postgres_url) as admin:
        admin.execute("CREATE SCHEMA IF NOT EXISTS nurselog")
        admin.execute("CREATE ROLE nurselog_guest LOGIN")
        try:
            with pytest.raises(StoreError, match=r"hidden from this role; .* USAGE on the schema"):
                await store_at(postgres_url.replace("postgres@", "nurselog_guest@"), clock).open(ME)
        finally:
            admin.execute("DROP ROLE nurselog_guest")


async def test_a_schema_that_is_dropped_under_a_store(postgres_url: str, clock: StandingClock) -> None:
    store = store_at(postgres_url, clock)
    await store.open(ME)
    with behind(postgres_url) as admin:
        admin.execute("DROP SCHEMA nurselog CASCADE")
    for use in (store.find(["one"]), store.renew(), store.close()):
        with pytest.raises(StoreError, match="not there any more"):
            await use


# -- migrations


def test_the_scripts_are_numbered_without_gaps() -> None:
    folder = Path(schema.__file__).parents[1] / "sql"
    names = sorted(script.name for script in folder.glob("postgres_*.sql"))
    assert names == [f"postgres_{number:04}.sql" for number in range(1, len(names) + 1)]
    assert len(migrations.load_migrations()) == len(names)


FIRST = "CREATE TABLE about (version int, oldest int, shards int, distributed bool); CREATE TABLE one (a text);"
SECOND = "ALTER TABLE one ADD COLUMN c text; INSERT INTO one VALUES ('x;y', '2');"


async def test_migrations_are_applied_once_each_and_whole(postgres_url: str) -> None:
    where = parse(postgres_url)
    connection = await TrioConnection.connect(where.conninfo, autocommit=True, options="-c search_path=nurselog")
    assert await schema.prepare(connection, where, [FIRST]) == (1, 1, (1, False))
    with pytest.raises(psycopg.errors.DuplicateTable):
        await schema.prepare(connection, where, [FIRST, f"{SECOND} CREATE TABLE one (again int);"])
    assert await schema.look(connection, where, 2) == (1, 1, (1, False))
    for _ in range(2):
        await schema.prepare(connection, where, [FIRST, SECOND])
    assert await schema.look(connection, where, 2) == (2, 1, (1, False))
    assert await (await connection.execute("SELECT * FROM one")).fetchall() == [("x;y", "2")]
    connection.discard()


async def test_another_process_may_be_faster(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = parse(postgres_url)
    connection = await TrioConnection.connect(where.conninfo, autocommit=True, options="-c search_path=nurselog")
    lock = migrations.lock("nurselog")

    async def run_script(self: TrioConnection, script: str) -> None:
        if script == lock:
            with behind(postgres_url) as other:
                if other.execute("SELECT to_regclass('about')").fetchone() == (None,):
                    other.execute(f"CREATE SCHEMA nurselog; {FIRST} INSERT INTO about VALUES (1, 1, 1, FALSE)")
        await original(self, script)

    original = TrioConnection.run_script
    monkeypatch.setattr(TrioConnection, "run_script", run_script)
    assert await schema.prepare(connection, where, [FIRST]) == (1, 1, (1, False))
    connection.discard()

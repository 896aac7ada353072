"""`nurselog migrate`: what it does, what it says, and that what it prints is what it does."""

from __future__ import annotations

import sys
from collections.abc import Callable

import psycopg
import pytest
import trio

from nurselog._stores._postgres import migrate
from nurselog._stores._postgres.migrations import Layout, load_migrations, transaction
from nurselog.cli import main
from nurselog.testing.stores.records import StandingClock, create, creation
from tests.stores.citus import fake_citus, told
from tests.stores.kit import behind, opened

Run = Callable[..., tuple[int, str, str]]

CATALOGUE = """
    SELECT relname, relkind::text, relispartition,
        ARRAY(SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attnum > 0 ORDER BY attnum)
    FROM pg_class WHERE relnamespace = 'nurselog'::regnamespace ORDER BY relname"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["migrate", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def catalogue(url: str) -> list[tuple[object, ...]]:
    with behind(url) as admin:
        return admin.execute(CATALOGUE).fetchall()


def partitions(url: str) -> dict[str, int]:
    with behind(url) as admin:
        return dict(
            admin.execute(
                "SELECT inhparent::regclass::text, count(*) FROM pg_inherits JOIN pg_class ON oid = inhrelid "
                "WHERE relkind = 'r' GROUP BY 1"
            ).fetchall()
        )


def use(url: str, shards: int) -> None:
    """Open a store as an engine does, and see that it works in all its shards."""
    ids = [f"w{number}" for number in range(20 * shards)]

    async def work() -> set[int]:
        async with opened(url) as store:
            await create(store, *map(creation, ids))
            return {found.shard for found in await store.find(ids)}

    assert trio.run(work) == {*range(shards)}


def test_a_schema_is_made_once(postgres_url: str, run: Run) -> None:
    known = len(load_migrations())
    assert run(postgres_url) == (0, f"schema nurselog, 1 shard: made, version {known}\n", "")
    assert run(postgres_url) == (0, f"schema nurselog, 1 shard: has version {known}; there was nothing to do\n", "")
    assert partitions(postgres_url) == {}
    use(postgres_url, 1)


@pytest.mark.parametrize("asked", [("", "--shards", "5"), ("&shards=5",), ("&shards=5", "--shards", "5")])
def test_shards_are_partitions(postgres_url: str, run: Run, asked: tuple[str, ...]) -> None:
    option, *arguments = asked
    code, said, _ = run(f"{postgres_url}{option}&schema=forest", *arguments)
    assert (code, said) == (0, f"schema forest, 5 shards in partitions: made, version {len(load_migrations())}\n")
    made = partitions(postgres_url)
    tables = ("workflow", "log", "worker", "message", "message_key", "transaction_key", "early_message")
    assert made == {f"forest.{table}": 5 for table in tables}
    assert run(f"{postgres_url}&schema=forest")[1].startswith("schema forest, 5 shards in partitions: has version")
    use(f"{postgres_url}&schema=forest", 5)


def test_an_old_schema_is_brought_up_to_date(postgres_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(postgres_url, "--shards", "3")
    more = (
        "CREATE TABLE note (shard integer NOT NULL, body text) /* PARTITION BY LIST (shard) */;\n"
        "ALTER TABLE worker ADD COLUMN colour text;"
    )
    newer = (*load_migrations(), more)
    monkeypatch.setattr(migrate, "load_migrations", lambda: newer)
    before = catalogue(postgres_url)
    printed = run(postgres_url, "--print")[1]
    assert catalogue(postgres_url) == before
    assert "CREATE TABLE about" not in printed
    said = f"schema nurselog, 3 shards in partitions: from version {len(newer) - 1} to version {len(newer)}\n"
    assert run(postgres_url)[1] == said
    assert partitions(postgres_url)["note"] == 3
    use(postgres_url, 3)  # which does not know the newer version, and need not
    with behind(postgres_url) as admin:
        admin.execute("DROP SCHEMA nurselog CASCADE")
        admin.execute(transaction("nurselog", Layout(3), 1, newer[0]) + printed)
        assert admin.execute("SELECT * FROM about").fetchone() == (len(newer), 1, 3, False)
    assert partitions(postgres_url)["note"] == 3


@pytest.mark.parametrize("shards", ["1", "4"])
def test_what_is_printed_is_what_is_run(postgres_url: str, run: Run, shards: str) -> None:
    code, script, _ = run(postgres_url, "--shards", shards, "--print")
    assert code == 0
    with behind(postgres_url) as admin:
        assert admin.execute("SELECT to_regnamespace('nurselog')").fetchone() == (None,), "nothing is changed"
        admin.execute(f"SET search_path = public; {script}")
    by_hand = catalogue(postgres_url)
    with behind(postgres_url) as admin:
        with pytest.raises(psycopg.errors.DuplicateTable):
            admin.execute(script)
        admin.execute("ROLLBACK")
    known = len(load_migrations())
    nothing = f"-- schema nurselog has version {known}: there is nothing to do\n"
    assert run(postgres_url, "--print") == (0, nothing, "")
    with behind(postgres_url) as admin:
        admin.execute("DROP SCHEMA nurselog CASCADE")
    run(postgres_url, "--shards", shards)
    assert catalogue(postgres_url) == by_hand


def test_what_is_printed_holds_the_lock(postgres_url: str, run: Run) -> None:
    """Whoever opens a store meanwhile waits until it is there."""
    script = run(postgres_url, "--print")[1]
    with behind(postgres_url) as admin, behind(postgres_url) as looker:
        admin.execute(script.replace("COMMIT;", ""))
        [(held,)] = looker.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s", [admin.info.backend_pid]
        ).fetchall()
        assert held == 1
        free = "SELECT pg_try_advisory_xact_lock(hashtextextended('nurselog nurselog', 0))"
        assert looker.execute(free).fetchone() == (False,)
        admin.execute("COMMIT")
        assert looker.execute(free).fetchone() == (True,)
    use(postgres_url, 1)


@pytest.mark.parametrize(
    ("option", "arguments", "said"),
    [
        ("&shards=3", ["--shards", "4"], "says shards=3, and not 4"),
        ("", ["--shards", "1025"], "1024 shards at most"),
        ("", ["--distribute"], "one shard cannot be distributed"),
        ("", ["--shards", "4", "--distribute"], "this database has no Citus"),
    ],
)
def test_what_cannot_be(postgres_url: str, run: Run, option: str, arguments: list[str], said: str) -> None:
    for print_ in ([], ["--print"]):
        code, _, error = run(f"{postgres_url}{option}", *arguments, *print_)
        assert (code, said in error) == (2, True), error
    with behind(postgres_url) as admin:
        assert admin.execute("SELECT to_regnamespace('nurselog')").fetchone() == (None,)


@pytest.mark.parametrize("arguments", [["--shards", "4"], ["--shards", "3", "--distribute"]])
def test_what_is_for_good(postgres_url: str, run: Run, arguments: list[str]) -> None:
    run(postgres_url, "--shards", "3")
    with fake_citus(postgres_url):
        code, _, error = run(postgres_url, *arguments)
    assert (code, "which is for good" in error) == (2, True), error


@pytest.mark.parametrize("url", ["quotes.db", "postgresql:///db?shards=0", "sqlite:///quotes.db", "sqlite://"])
def test_addresses_without_a_schema(url: str, run: Run) -> None:
    code, _, error = run(url)
    assert (code, "PostgreSQL" in error) == (2, True), error


def test_where_there_is_no_server(tmp_path: object, run: Run) -> None:
    code, _, error = run(f"postgresql://me@/db?host={tmp_path}")
    assert (code, "cannot be reached" in error) == (1, True), error


def test_without_psycopg(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nurselog._stores._postgres.migrate", None)
    assert "pip install 'nurselog[postgres]'" in run("postgresql://")[2]


# -- Citus

TABLES = [
    ["reference", "about"],
    ["table", "workflow", "shard", "hash", "none"],
    *(
        ["table", name, "shard", "hash", "workflow"]
        for name in ("log", "worker", "message", "message_key", "transaction_key", "early_message")
    ),
]
FUNCTIONS = {
    *("append_rows", "commit_batch", "remove_workers", "remove_dead", "enter_worker", "renew_worker"),
    *("claim_workflows", "undo_claim", "leave_messages", "leave_early", "move_early"),
    *("members_of", "delete_families"),
}


def test_what_citus_is_told(postgres_url: str, run: Run) -> None:
    with fake_citus(postgres_url):
        code, said, error = run(postgres_url, "--shards", "32", "--distribute")
        known = len(load_migrations())
        assert (code, error) == (0, "")
        assert said == f"schema nurselog, 32 shards distributed by Citus: made, version {known}\n"
        calls = told(postgres_url)
        assert calls[: len(TABLES)] == TABLES
        functions = calls[len(TABLES) :]
        assert {name for _, name, *_ in functions} == FUNCTIONS
        assert len(functions) == len(FUNCTIONS)
        for _, _, argument, colocated, settings in functions:
            assert (argument, colocated, settings) == ("1", "workflow", "{search_path=nurselog}")
        assert run(postgres_url, "--distribute")[1].endswith("there was nothing to do\n")
    assert partitions(postgres_url) == {}
    use(postgres_url, 32)


def test_every_function_of_a_shard_is_delegated_and_no_other(postgres_url: str, run: Run) -> None:
    """What the server says of them, and not the script's text."""
    run(postgres_url)
    with behind(postgres_url) as admin:
        found = admin.execute(
            "SELECT proname FROM pg_proc "
            "WHERE pronamespace = 'nurselog'::regnamespace AND 'in_shard' = ANY (proargnames)"
        ).fetchall()
    assert {name for (name,) in found} == FUNCTIONS


def test_all_in_one_transaction(postgres_url: str, run: Run) -> None:
    """Where Citus fails, there is no schema; and it makes nothing on several connections."""
    with fake_citus(postgres_url):
        script = run(postgres_url, "--shards", "4", "--distribute", "--print")[1]
        assert told(postgres_url) == []
        with behind(postgres_url) as admin:
            admin.execute("ALTER FUNCTION pg_catalog.create_distributed_function RENAME TO gone")
            code, _, error = run(postgres_url, "--shards", "4", "--distribute")
            admin.execute("ALTER FUNCTION pg_catalog.gone RENAME TO create_distributed_function")
            assert (code, "create_distributed_function" in error) == (1, True), error
            assert admin.execute("SELECT to_regnamespace('nurselog')").fetchone() == (None,)
            admin.execute(script.replace("COMMIT;", "SELECT current_setting('citus.multi_shard_modify_mode')"))
            admin.execute("COMMIT")
        assert told(postgres_url)[: len(TABLES)] == TABLES
        assert "SET LOCAL citus.multi_shard_modify_mode = 'sequential';" in script.splitlines()


def test_what_a_later_migration_tells_citus() -> None:
    more = "CREATE TABLE note (shard integer NOT NULL) /* PARTITION BY LIST (shard) */;\n"
    more += "CREATE OR REPLACE FUNCTION look(\n    in_shard integer) RETURNS void LANGUAGE sql AS '';"
    lines = transaction("forest", Layout(4, distributed=True), 2, more).splitlines()
    assert [line for line in lines if "create_" in line] == [
        "SELECT create_distributed_table('note', 'shard', colocate_with => 'workflow');",
        "SELECT create_distributed_function('look'::regproc::regprocedure, 'in_shard', colocate_with => 'workflow');",
    ]
    assert "UPDATE about SET version = 2;" in lines


async def test_connections_let_citus_see_the_shard(postgres_url: str, clock: StandingClock) -> None:
    """A plan for all parameters would keep it from sending a call to where the shard is."""
    modes = []
    with fake_citus(postgres_url):
        await migrate.migrate(postgres_url, 4, distribute=True)
    for schema in ("nurselog", "other&shards=4"):
        async with opened(f"{postgres_url}&schema={schema}", clock) as store:
            for pool in (store._session.readers, store._session.writers):  # type: ignore[union-attr]  # it is open
                connection = await pool.take()  # type: ignore[attr-defined]  # it is PostgreSQL's
                modes.append(await (await connection.execute("SHOW plan_cache_mode")).fetchone())
                pool.give_back(connection)  # type: ignore[attr-defined]  # see above
    assert modes == [("auto",)] * 2 + [("force_generic_plan",)] * 2

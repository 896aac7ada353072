"""One shard at a time: what each statement touches where shards are partitions, and what Citus would refuse."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from nurselog._stores._postgres import claims, commits, deletion, mail, queries, workers
from nurselog._stores._postgres.binary import column, number, string
from nurselog._stores._postgres.driver import TrioConnection
from nurselog._stores._postgres.migrations import Layout, load_migrations
from nurselog._stores._postgres.session import Session, conninfo_for
from nurselog.abc import Append, Batch, Deleted, Filter, Posted, Wanted, WorkflowKey
from nurselog.testing.stores.records import StandingClock, create, creation, note, over, rows, sleeping
from tests.stores.kit import opened

SHARDS = 8

_COUNTERS = b"""
    SELECT relname::text, (coalesce(idx_scan, 0) + seq_scan + n_tup_ins + n_tup_upd + n_tup_del)::bigint, seq_scan
    FROM pg_stat_xact_user_tables WHERE schemaname = 'nurselog'"""


_FETCHED = b"""
    SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE schemaname = 'nurselog' AND relname = 'workflow'"""


_CALLS = b"SELECT funcname::text, calls FROM pg_stat_xact_user_functions WHERE schemaname = 'nurselog'"


class Watched(TrioConnection):
    """Notes what each statement touches; to be used in one transaction, for the server counts by transactions."""

    touched: list[tuple[str, set[str]]]
    """Each statement with the partitions in which it has looked for rows, or written any."""
    walked: set[str]
    """What was read from end to end."""

    async def call(self, statement: bytes, parameters: Sequence[tuple[int, bytes | None]] = ()) -> object:  # type: ignore[override]  # what it returns is psycopg's
        before = await self._count()
        result = await super().call(statement, parameters)
        after = await self._count()
        found = {table for table, count in after.items() if count > before.get(table, 0)}
        self.touched.append((" ".join(statement.decode().split()), found))
        return result

    async def _count(self) -> dict[str, int]:
        found = await super().call(_COUNTERS)
        tables, walks = column(found, 0, string), column(found, 2, number)
        self.walked = {table for table, count in zip(tables, walks, strict=True) if count}
        return dict(zip(tables, column(found, 1, number), strict=True))

    def shards(self) -> set[int]:
        """Return the shards that statements have touched, each only one of them, and begin anew."""
        found = set[int]()
        for statement, tables in self.touched:
            shards = {int(place) for _, _, place in (table.rpartition("_") for table in tables) if place.isdigit()}
            assert len(shards) == 1 or tables == {"about"}, (statement, tables)
            found |= shards
        self.touched = []
        return found


class Stage(NamedTuple):
    """A store with workflows in all shards, and a connection that is watched."""

    connection: Watched
    session: Session
    mates: list[WorkflowKey]
    """Some workflows of one shard, which the worker owns; as many in each shard have no owner."""
    shard: int


@asynccontextmanager
async def staged(url: str, clock: StandingClock) -> AsyncIterator[Stage]:
    async with opened(f"{url}&shards={SHARDS}", clock) as store:
        keys = await create(store, *(creation(f"w{number}", 7, owner="a") for number in range(60)))
        await create(store, *(creation(f"v{number}", 7) for number in range(60)))
        session: Session = store._session  # type: ignore[assignment]  # it is open, and PostgreSQL's
        shard = keys[0] % 1024
        conninfo = conninfo_for(session.address, "watched", "reader", Layout(session.shards))
        connection = await Watched.connect(conninfo, autocommit=True, prepare_threshold=None)
        assert isinstance(connection, Watched)
        connection.touched, connection.walked = [], set()
        try:
            async with connection.transaction():
                yield Stage(connection, session, [key for key in keys if key % 1024 == shard], shard)
        finally:
            connection.discard()


async def test_batches_and_questions_touch_one_shard(postgres_url: str, clock: StandingClock) -> None:
    async with staged(postgres_url, clock) as (connection, session, mates, shard):
        one, two, three, *_ = mates

        async def commit(batch: Batch) -> None:
            receipt = await commits.commit(connection, session, shard, batch, 9)
            assert not receipt.refused
            assert connection.shards() == {shard}

        await commit(Batch(appends=[Append(key=one, rows=rows(2, 2, 7))]))
        await commit(Batch(appends=[Append(key=key, rows=rows(2, 5, 7)) for key in (two, three)]))
        posts = [note(key, once=word, most=9) for key in (one, two) for word in ("x", None, "x")]
        answers = await mail.post(connection, session, shard, posts)
        assert [*map(Posted.of, answers)] == [Posted.LEFT, Posted.LEFT, Posted.KNOWN] * 2
        assert connection.shards() == {shard}
        letter, *_ = await queries.messages(connection, session, {})
        assert connection.shards() == {*range(SHARDS)}
        ended = Append(key=one, rows=rows(3, 3, 7), standing=sleeping(), taken=[letter.number])
        fresh = creation(next(f"n{n}" for n in range(99) if session.shard_of(f"n{n}") == shard), 8, owner="a")
        await commit(Batch(creations=[fresh], appends=[ended]))
        letters = [note(key, once="y", most=9) for key in (one, two, three)]
        child = creation(f"{fresh.id}/1", 8, parent=three)
        await commit(Batch(creations=[child], appends=[Append(key=three, rows=rows(6, 6, 7), posts=letters)]))
        await commit(Batch(creations=[creation(f"{fresh.id}/2", 8, parent=three)], appends=[Append(key=three)]))
        await commit(Batch(appends=[Append(key=two, rows=rows(6, 6, 7), standing=over())]))
        assert len(await queries.find(connection, session, [fresh.id, child.id, f"{fresh.id}/2"])) == 3
        assert len(await queries.read(connection, one, -1, None)) == 1
        assert connection.shards() == {shard}
        assert connection.walked == set()


async def test_who_has_no_messages_and_no_children_pays_nothing_for_them(
    postgres_url: str, clock: StandingClock
) -> None:
    async with staged(postgres_url, clock) as (connection, session, [one, two, *_], shard):
        await connection.run_script("SET track_functions = 'pl'")
        fresh = creation(next(f"n{n}" for n in range(99) if session.shard_of(f"n{n}") == shard), 8, owner="a")
        short, long = Append(key=one, rows=rows(2, 2, 7)), Append(key=one, rows=rows(3, 4, 7))
        standing = Append(key=two, rows=rows(2, 2, 7), standing=sleeping())
        for batch in (Batch(appends=[short]), Batch(appends=[long]), Batch(creations=[fresh], appends=[standing])):
            await commits.commit(connection, session, shard, batch, 9)
        assert f"message_key_{shard}" not in {table for _, tables in connection.touched for table in tables}
        assert await _calls(connection) == {"append_rows": 2, "commit_batch": 1}
        connection.touched = []
        child = creation(f"{fresh.id}/1", 8, parent=one)
        speaking = Append(key=one, rows=rows(5, 5, 7), posts=[note(two, once="x")])
        await commits.commit(connection, session, shard, Batch(creations=[child], appends=[speaking]), 9)
        assert len(connection.touched) == 1, "one round trip"
        assert await _calls(connection) == {"append_rows": 4, "commit_batch": 2, "leave_messages": 1}


async def _calls(connection: TrioConnection) -> dict[str, int]:
    found = await connection.call(_CALLS)
    return dict(zip(column(found, 0, string), column(found, 1, number), strict=True))


async def test_each_workflow_is_looked_at_by_itself(postgres_url: str, clock: StandingClock) -> None:
    """However young the database is: once, all were looked through for each."""
    many, at_once = 300, 5
    async with opened(postgres_url, clock) as store:
        session: Session = store._session  # type: ignore[assignment]  # it is open, and PostgreSQL's
        conninfo = conninfo_for(session.address, "watched", "reader", Layout(session.shards))
        connection = await TrioConnection.connect(conninfo, autocommit=True, prepare_threshold=None)
        try:
            async with connection.transaction():
                keys: list[WorkflowKey] = []
                for first in range(0, many, at_once):
                    fresh = [creation(f"w{number}", 7, owner="a") for number in range(first, first + at_once)]
                    receipt = await commits.commit(connection, session, 0, Batch(creations=fresh), 9)
                    keys += [created.workflow.key for created in receipt.created]
                made = await _fetched(connection)
                batch = Batch(appends=[Append(key=key, standing=sleeping()) for key in keys])
                assert not (await commits.commit(connection, session, 0, batch, 9)).refused
                let_go = await _fetched(connection) - made
        finally:
            connection.discard()
    assert many <= made <= 5 * many
    assert many <= let_go <= 5 * many


async def _fetched(connection: TrioConnection) -> int:
    [fetched] = column(await connection.call(_FETCHED), 0, number)
    return fetched


async def test_claims_and_heartbeats_touch_one_shard_at_a_time(postgres_url: str, clock: StandingClock) -> None:
    wanted = Wanted(worker="a", names=frozenset({"work"}), versions=frozenset({("work", "2")}), limit=100)
    async with staged(postgres_url, clock) as (connection, session, [one, *_], shard):
        assert await queries.next_due(connection, session, wanted) is not None
        assert connection.shards() == {*range(SHARDS)}
        assert len(await claims.claim(connection, session, wanted, 9)) == 60
        assert connection.shards() == {*range(SHARDS)}
        session.unanswered.add((shard, session.claims))
        await commits.commit(connection, session, shard, Batch(appends=[Append(key=one, standing=sleeping())]), 9)
        again = Wanted(worker="a", names=frozenset(), limit=1, keys=frozenset({one}))
        assert len(await claims.claim(connection, session, again, 9)) == 1
        assert connection.shards() == {shard}
        assert await workers.renew(connection, session)
        assert connection.shards() == {*range(SHARDS)}
        await workers.reenter(connection, session)
        assert connection.shards() == {*range(SHARDS)}
        await workers.leave(connection, session)
        assert connection.shards() == {*range(SHARDS)}
        assert connection.walked <= {"about"}


async def test_deletion_touches_one_shard_at_a_time(postgres_url: str, clock: StandingClock) -> None:
    async with staged(postgres_url, clock) as (connection, session, [one, two, *_], shard):
        child = creation("child", 8, parent=one)
        ends = [Append(key=key, rows=rows(2, 2, 7), standing=over()) for key in (one, two)]
        receipt = await commits.commit(connection, session, shard, Batch(creations=[child], appends=ends), 9)
        assert connection.shards() == {shard}
        assert len(receipt.created) == 1
        assert {*await deletion.expired(connection, session, 99, 100)} == {one, two}
        assert connection.shards() == {*range(SHARDS)}
        assert await deletion.delete(connection, [one, two]) == [Deleted(removed=1)] * 2
        assert connection.shards() == {shard}
        assert connection.walked == set()


async def test_a_statement_that_touches_all_shards_is_seen(postgres_url: str, clock: StandingClock) -> None:
    async with staged(postgres_url, clock) as (connection, *_):
        assert len(await queries.list_workflows(connection, Filter(limit=500))) == 120
        with pytest.raises(AssertionError, match="ORDER BY key DESC"):
            connection.shards()


# -- what Citus refuses

_TABLE = r"(?:workflow|log|worker|message|message_key|early_message)\b"
_COMMENT = re.compile(r"--[^\n]*")
_FUNCTION = re.compile(r"CREATE FUNCTION (\w+)\((.*?)\$\$(.*?)\$\$;", re.DOTALL)

REFUSED = {
    "a foreign key": r"\bREFERENCES\b|\bFOREIGN KEY\b",
    "a trigger": r"\bCREATE TRIGGER\b|\bCREATE RULE\b",
    "a unique constraint without the shard": r"(?:\bUNIQUE|PRIMARY KEY) \((?![^)]*\bshard\b)",
    "a unique index without the shard": r"CREATE UNIQUE INDEX \w+ ON \w+ \((?![^)]*\bshard\b)",
    "a column that counts by itself": r"\bSERIAL\b|\bBIGSERIAL\b|\bGENERATED\b",
    "INSERT in a WITH": r"\bAS (?:MATERIALIZED )?\(\s*INSERT\b",
    "a temporary table": r"\bCREATE TEMP",
    "CASE with a value to compare": r"\bCASE\s+(?!WHEN\b|\s)",
}


def script() -> str:
    return _COMMENT.sub("", "\n".join(load_migrations()))


def refused(text: str) -> list[str]:
    return [what for what, pattern in REFUSED.items() if re.search(pattern, text)]


def volatile_functions() -> str:
    ours = re.findall(r"CREATE FUNCTION (\w+)\([^$]*?(?:VOLATILE|LANGUAGE plpgsql) AS", script())
    return rf"\b(?:{'|'.join([*ours, 'nextval', 'random', 'clock_timestamp', 'pg_notify'])})\("


def statements(body: str) -> list[str]:
    return [" ".join(part.split()) for part in body.split(";") if part.strip()]


def at_large(body: str) -> list[str]:
    """Return the statements of a function in which a table is not compared with the function's shard."""
    found = []
    for statement in statements(body):
        tables = re.findall(rf"\b(?:FROM|JOIN|UPDATE|USING) {_TABLE}", statement)
        compared = re.findall(r"\bshard = in_shard\b", statement)
        written = re.findall(rf"INSERT INTO {_TABLE} \(\s*shard,[^)]*\)\s*(?:SELECT|VALUES \() ?in_shard,", statement)
        inserts = re.findall(rf"INSERT INTO {_TABLE}", statement)
        if len(tables) > len(compared) or len(written) < len(inserts):
            found.append(statement)
    return found


def restless(body: str) -> list[str]:
    """Return the UPDATEs and DELETEs of a function in which the same arguments may give something else each time."""
    return [
        statement
        for statement in statements(body)
        if re.search(r"\b(?:UPDATE|DELETE FROM) " + _TABLE, statement) and re.search(volatile_functions(), statement)
    ]


def functions_of_a_shard() -> dict[str, str]:
    return {name: body for name, head, body in _FUNCTION.findall(script()) if head.strip().startswith("in_shard")}


def test_nothing_is_used_that_citus_refuses() -> None:
    assert refused(script()) == []
    hot = [commits._APPEND_ONE, commits._APPEND, commits._COMMIT, mail._LEAVE, claims._CLAIM, workers._UNDO]
    hot += [deletion._DELETE, deletion._EXPIRED, mail._LEAVE_EARLY]
    assert refused("\n".join(statement.decode() for statement in hot)) == []


def test_functions_of_a_shard_stay_in_it() -> None:
    functions = functions_of_a_shard()
    assert len(functions) > 5
    assert {name: found for name, body in functions.items() if (found := at_large(body))} == {}
    assert {name: found for name, body in functions.items() if (found := restless(body))} == {}
    assert "lease_clock" in volatile_functions()


def test_calls_are_such_that_citus_delegates_them() -> None:
    """It looks for one call and nothing else: no WHERE, no other table, and arguments that are nothing but values."""
    calls = [
        *(commits._APPEND, commits._COMMIT, mail._LEAVE, claims._CLAIM, workers._UNDO, deletion._DELETE),
        mail._LEAVE_EARLY,
        *(workers._REMOVE_DEAD, workers._ENTER, workers._REMOVE, workers._RENEW),
    ]
    form = re.compile(r"SELECT (?:\* FROM )?(\w+)\(\$1(?:, \$\d+)*\)(?: ORDER BY key)?")
    called = [form.fullmatch(call.decode()) for call in calls]
    inner = {"members_of", "move_early"}
    assert {found and found[1] for found in called} == set(functions_of_a_shard()) - inner


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a bigint REFERENCES workflow (key)", "a foreign key"),
        ("CREATE TRIGGER t BEFORE INSERT ON log", "a trigger"),
        ("PRIMARY KEY (workflow, seq)", "a unique constraint without the shard"),
        ("CREATE UNIQUE INDEX i ON log (seq)", "a unique index without the shard"),
        ("a SERIAL", "a column that counts by itself"),
        ("WITH written AS (\n INSERT INTO log VALUES (1))", "INSERT in a WITH"),
        ("CREATE TEMP TABLE t", "a temporary table"),
        ("CASE status WHEN 'a' THEN 1 END", "CASE with a value to compare"),
    ],
)
def test_what_citus_refuses_is_found(text: str, what: str) -> None:
    assert refused(text) == [what]


@pytest.mark.parametrize(
    "body",
    [
        "PERFORM FROM log WHERE log.workflow = 1",
        "SELECT 1 FROM log JOIN workflow ON TRUE WHERE log.shard = in_shard",
        "UPDATE worker SET beacon = 1",
        "INSERT INTO log (shard, seq) SELECT shard, 1 FROM log WHERE shard = in_shard",
        "INSERT INTO log (seq, shard) VALUES (1, in_shard)",
    ],
)
def test_a_statement_that_leaves_its_shard_is_found(body: str) -> None:
    assert at_large(f"PERFORM FROM log WHERE shard = in_shard; {body};") == [body]


@pytest.mark.parametrize("call", ["lease_clock(1)", "nextval('a')", "is_out(1, 2)"])
def test_an_update_that_citus_refuses_is_found(call: str) -> None:
    body = f"UPDATE worker SET expires_at = {call} WHERE shard = in_shard"
    assert restless(f"PERFORM {call}; {body};") == [body]

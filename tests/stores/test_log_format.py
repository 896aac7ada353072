"""The page on the log's format says what the code does: every column, every event, every field, every default."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from nurselog._engine.messages import Kind
from nurselog._log import cursor, events
from nurselog._log.failures import ErrorRecord
from nurselog._log.lifecycle import Status
from nurselog._stores._sqlite import schema
from nurselog.abc import Message, Workflow

PAGE = (Path(__file__).parents[2] / "docs" / "log-format.md").read_text("utf-8")
EVENTS: tuple[type[msgspec.Struct], ...] = get_args(events.Event)


def section(title: str) -> str:
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[[*titles()].index(title) + 1]


def titles() -> Iterator[str]:
    return (found[1] for found in re.finditer(r"^## (.*)$", PAGE, re.MULTILINE))


def table(title: str, heading: str) -> dict[str, list[str]]:
    """Read the table whose first column has this heading: the other cells, by the first one without its quotes."""
    [body] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", section(title), re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
    return {first.strip("`"): rest for first, *rest in cells}


def tag(event: type[msgspec.Struct]) -> str:
    kind = event.__struct_config__.tag
    assert isinstance(kind, str)
    return kind


def defaults(event: type[msgspec.Struct]) -> dict[str, str | None]:
    """Give the JSON of each field's default, and None for a field that has none."""
    return {
        field.name: None if field.required else json.dumps(default(field), default=lambda value: value.value)
        for field in msgspec.structs.fields(event)
        if field.name != "path"
    }


def default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    opened = schema.connect(schema.Location("", path))
    yield opened
    opened.close()


def test_all_tables_and_columns(connection: sqlite3.Connection) -> None:
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    assert tables == [title for title in titles() if title in tables]
    for name in tables:
        described = {column: cells[0].partition(" or ")[::2] for column, cells in table(name, "column").items()}
        real = {
            column: (kind.lower(), "" if required or primary else "NULL")
            for _, column, kind, required, _, primary in connection.execute(f"PRAGMA table_info({name})")
        }
        assert described == real, name


def test_records_are_the_tables() -> None:
    assert [*table("workflow", "column")] == [*Workflow.__struct_fields__]
    assert {*table("log", "column")} == {"workflow", *events.Row.__struct_fields__}
    assert {*table("message", "column")} == {"workflow", *Message.__struct_fields__} - {"key"}


def test_all_statuses() -> None:
    assert [*table("workflow", "status")] == [status.value for status in Status]


def test_all_events_and_their_fields() -> None:
    described = {
        kind: {name: default or None for name, default in re.findall(r"`(\w+)`(?: = ([^,]+))?", fields)}
        for kind, (_, fields, *_) in table("Events", "kind").items()
    }
    assert described == {tag(event): defaults(event) for event in EVENTS}


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_what_an_event_is(event: type[msgspec.Struct]) -> None:
    sample = event(**{name: None for name, default in defaults(event).items() if default is None})
    said = table("Events", "kind")[tag(event)][0]
    delivered, noted = cursor.is_delivered(sample), cursor.is_note(sample)  # type: ignore[arg-type]  # it is one
    assert said.partition(";")[0] == ("delivered" if delivered else "noted" if noted else "bookkeeping")


def test_a_cancellation_from_outside_is_delivered() -> None:
    external = events.ScopeCancelled(by=events.Cause.EXTERNAL)
    assert cursor.is_delivered(external)
    assert table("Events", "kind")["cancelled"][0] == "noted; delivered where `by` is `external`"


def test_results_and_causes() -> None:
    [results] = re.findall(r"`result` is (.*?)\.", PAGE)
    [causes] = re.findall(r"`by` is (`explicit`.*?)\.", PAGE)
    assert re.findall(r"`(\w+)`", results) == [result.value for result in events.Result]
    assert re.findall(r"`(\w+)`", causes) == [cause.value for cause in events.Cause]


def test_the_parts_of_an_error() -> None:
    for field in ErrorRecord.__struct_fields__:
        assert f"`{field}`" in section("Values")


def test_the_kinds_of_messages() -> None:
    assert {kind.value for kind in Kind} <= {*table("message", "kind")}


def test_the_versions() -> None:
    versions = table("Versions", "where")
    assert versions["PRAGMA application_id"][0].startswith(f"0x{schema.APPLICATION_ID:X}")
    assert schema.APPLICATION_ID.to_bytes(4, "big") == b"NLOG"
    assert f"the version of this row format, {events.ROW_FORMAT} " in section("log")
    assert f"`semantics` = {events.SEMANTICS}" in section("Events")


def test_the_examples_are_sql(connection: sqlite3.Connection) -> None:
    examples = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        for statement in filter(str.strip, example.split(";")):
            connection.execute(statement).fetchall()

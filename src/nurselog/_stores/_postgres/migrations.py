"""Migrations, as the SQL that is run. Pure.

The scripts in `sql/` make plain tables. With more than one shard there are two other kinds: tables in partitions, one
for each shard, and tables that Citus distributes. What does not work is a script for each kind: there would be three
texts to keep alike. The choice: a table that belongs to shards says so in a comment, which is what PostgreSQL wants to
read there, and here it stops being one. Partitions, and what Citus must be told, follow from the same comment, and from
the names of functions' first arguments.

`nurselog migrate --print` shows the very text that opening a store runs.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterator
from typing import NamedTuple

MARK = "/* PARTITION BY LIST (shard) */"
"""Stands behind a table that belongs to shards."""

_TABLE = re.compile(rf"^CREATE TABLE (\w+) \((?:(?!;).)*?{re.escape(MARK)};", re.MULTILINE | re.DOTALL)
_FUNCTION = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)\(\s*in_shard integer\b", re.MULTILINE)


class Layout(NamedTuple):
    """How a schema is made, for good."""

    shards: int = 1
    distributed: bool = False
    """Whether Citus distributes it; else it is in partitions, unless there is one shard only."""


@functools.cache
def load_migrations() -> tuple[str, ...]:
    """Return the migrations' scripts; each brings a schema to the version that is its place, from 1."""
    scripts = importlib.resources.files("nurselog._stores").joinpath("sql").iterdir()
    ours = sorted((s for s in scripts if s.name.startswith("postgres_")), key=lambda script: script.name)
    return tuple(script.read_text("utf-8") for script in ours)


def lock(schema: str) -> str:
    """Return the statement that keeps all others from migrating a schema until the transaction ends."""
    return f"SELECT pg_advisory_xact_lock(hashtextextended('nurselog {schema}', 0));"


def step(schema: str, layout: Layout, version: int, script: str) -> str:
    """Return what brings a schema to a version, to be run under the lock.

    The schema's name is quoted wherever it stands in SQL: a word of SQL's, such as "order", is a name, too.
    """
    about = f"UPDATE about SET version = {version};"  # noqa: S608 - a number
    if version == 1:
        about = f"INSERT INTO about VALUES (1, 1, {layout.shards}, {layout.distributed});"  # noqa: S608 - numbers
    # Not IF NOT EXISTS: that asks for the right to make schemas even where there is nothing to make.
    there = f"to_regnamespace('{schema}') IS NULL"
    return "\n".join([
        f'DO $$ BEGIN IF {there} THEN CREATE SCHEMA "{schema}"; END IF; END $$;',
        f'SET LOCAL search_path = "{schema}";',
        *_laid_out(schema, layout, script),
        about,
    ])


def transaction(schema: str, layout: Layout, version: int, script: str) -> str:
    """Return the same as a whole, for somebody else to run."""
    return "\n".join(["BEGIN;", lock(schema), step(schema, layout, version, script), "COMMIT;", ""])


def _laid_out(schema: str, layout: Layout, script: str) -> Iterator[str]:
    tables = _TABLE.findall(script)
    if layout.distributed:
        # Else Citus would make things on several connections, of which none sees what another has not committed.
        yield "SET LOCAL citus.multi_shard_modify_mode = 'sequential';"
        yield script
        yield from _distribution(schema, tables, _FUNCTION.findall(script))
    elif layout.shards > 1:
        yield script.replace(MARK, MARK.strip("/* "))
        for table in tables:
            for shard in range(layout.shards):
                yield f"CREATE TABLE {table}_{shard} PARTITION OF {table} FOR VALUES IN ({shard});"
    else:
        yield script


def _distribution(schema: str, tables: list[str], functions: list[str]) -> Iterator[str]:
    """Tell Citus what belongs to a shard, and that `about` belongs to all of them."""
    if "workflow" in tables:
        yield "SELECT create_reference_table('about');"
    for table in tables:
        colocated = "none" if table == "workflow" else "workflow"
        yield f"SELECT create_distributed_table('{table}', 'shard', colocate_with => '{colocated}');"
    for function in functions:
        # Where it is called by Citus, nobody has put the schema into the search path.
        yield f'ALTER FUNCTION {function} SET search_path = "{schema}";'
        named = f"'{function}'::regproc::regprocedure"
        yield f"SELECT create_distributed_function({named}, 'in_shard', colocate_with => 'workflow');"

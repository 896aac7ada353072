"""Citus' functions as a server without it can have them: each looks whether what it is told of exists, and is noted.

They stand in `pg_catalog`, as Citus' own do, so whoever puts them there must remove them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.stores.kit import behind

FAKES = """
CREATE TABLE public.told (number serial, told text[]);

CREATE FUNCTION pg_catalog.create_reference_table(table_name regclass) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.told (told) VALUES (ARRAY['reference', table_name::text])
$$;

CREATE FUNCTION pg_catalog.create_distributed_table(
    table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM colocate_with::regclass WHERE colocate_with <> 'none';
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = table_name AND attname = distribution_column AND attnotnull
    ) THEN
        RAISE 'there is no column %', distribution_column;
    END IF;
    INSERT INTO public.told (told)
    VALUES (ARRAY['table', table_name::text, distribution_column, distribution_type, colocate_with]);
END
$$;

CREATE FUNCTION pg_catalog.create_distributed_function(
    function_name regprocedure, distribution_arg_name text DEFAULT NULL, colocate_with text DEFAULT 'default',
    force_delegation bool DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    called pg_proc;
BEGIN
    PERFORM colocate_with::regclass;
    SELECT * INTO STRICT called FROM pg_proc WHERE oid = function_name;
    INSERT INTO public.told (told) VALUES (ARRAY[
        'function', called.proname, array_position(called.proargnames, distribution_arg_name)::text, colocate_with,
        called.proconfig::text
    ]);
END
$$;
"""

REMOVAL = """
DROP FUNCTION pg_catalog.create_reference_table, pg_catalog.create_distributed_table,
    pg_catalog.create_distributed_function
"""


@contextlib.contextmanager
def fake_citus(url: str) -> Iterator[None]:
    """Let a database have them as long as the block runs."""
    with behind(url) as admin:
        admin.execute(FAKES)
        try:
            yield
        finally:
            admin.execute(REMOVAL)


def told(url: str) -> list[list[str]]:
    """Return what Citus was told, in order."""
    with behind(url) as admin:
        return [words for (words,) in admin.execute("SELECT told FROM public.told ORDER BY number")]

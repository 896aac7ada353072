"""One measurement in a process of its own: `python -m tests.benchmarks.child PEER NAME SIZE FOLDER`.

A process of its own, because memory that was once used stays with a process, and because two of the cases begin with
one that is killed. Prints the sample as JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import sys
from pathlib import Path

from tests.benchmarks.plan import STREAMS, Peer, Sample

MODULES = {
    Peer.SQLITE: "on_sqlite",
    Peer.DBOS: "on_dbos",
    Peer.DBOS_WAL: "on_dbos",
    Peer.NURSELOG: "on_nurselog",
    Peer.PSYCOPG: "on_postgres",
    Peer.DBOS_POSTGRES: "on_dbos",
    Peer.NURSELOG_POSTGRES: "on_nurselog_postgres",
}


def main() -> None:
    """Measure what the command line says."""
    peer, name, size, folder = sys.argv[1:]
    # Only the peer that is measured is imported.
    module = "streaming" if name in STREAMS else MODULES[Peer[peer]]
    measure = getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)
    if Peer[peer] is Peer.DBOS_WAL:
        measure = functools.partial(measure, wal=True)
    sample: Sample = measure(int(size), Path(folder))
    print(json.dumps(dataclasses.asdict(sample)))


if __name__ == "__main__":
    main()

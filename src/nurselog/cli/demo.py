"""`nurselog demo`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from .command import Command, natural, positive


def _declare_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="URL", help="a PostgreSQL database (default: a SQLite file of its own)")
    parser.add_argument("--files", type=positive, metavar="N", help="mirror N files only, drawn by the seed")
    parser.add_argument("--kills", type=natural, metavar="N", default=5, help="kill a worker N times (default: 5)")
    parser.add_argument("--seed", type=int, metavar="S", default=1, help="of the mirrors' faults and the kills")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes side by side (default: 1, in PostgreSQL 2)"
    )
    parser.add_argument(
        "--restart",
        metavar="COMMAND",
        help="a shell command that restarts the database server, run once in the middle; without it all connections "
        "are ended once instead",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="do it in DIR, a new folder, and leave all there")


def _demo(chosen: argparse.Namespace) -> int:
    missing = [name for name in ("httpx", "h11", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"The demo needs {', '.join(missing)}. Run: pip install 'nurselog[demo]'", file=sys.stderr)
        return 2
    if chosen.restart is not None and chosen.store is None:
        print("--restart is for a database server: give --store, too.", file=sys.stderr)
        return 2
    from ..demo.run import Settings, run  # noqa: PLC0415 - what it needs is not there without the extra

    return run(
        Settings(
            files=chosen.files,
            kills=chosen.kills,
            seed=chosen.seed,
            keep=chosen.keep,
            workers=chosen.workers or (1 if chosen.store is None else 2),
            store=chosen.store,
            restart=chosen.restart,
        )
    )


DEMO = Command("demo", "Mirror the standard library through faulty mirrors and killed processes.", _declare_demo, _demo)

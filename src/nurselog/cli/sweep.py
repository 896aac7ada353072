"""`nurselog sweep`: files of large values that a store does not speak of any more are removed."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import trio

from ..codecs import sweep
from .command import Command, natural


def _declare_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="URL", help="the store, for instance sqlite:///quotes.db")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files of its FileCodec are")
    parser.add_argument(
        "--older", type=natural, metavar="DAYS", default=7, help="only what was not used for so many days (default: 7)"
    )


def _sweep(chosen: argparse.Namespace) -> int:
    swept = trio.run(partial(sweep, chosen.store, chosen.folder, older=chosen.older * 86_400.0))
    print(f"removed {swept.removed:,} files with {swept.size:,} bytes, kept {swept.kept:,}")
    return 0


SWEEP = Command(
    "sweep", "Remove files of large values that a store does not speak of any more.", _declare_sweep, _sweep
)

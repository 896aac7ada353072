"""`open_engine`: from a store's address to a running engine, and back."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._flow.arguments import WHOLE, check_interface
from .._flow.workflow import Workflow
from .._log.codec import JsonCodec
from .._stores import open_store
from ..abc import Clock, Codec, Instrument, Store
from .checked import CheckedCodec
from .clock import SystemClock
from .databases import Databases
from .engine import Engine
from .instruments import Instruments
from .service import Options, Service
from .table import Table
from .unwrap import unwrapped


@asynccontextmanager
async def open_engine(
    store: str | Store,
    workflows: Iterable[Workflow[..., Any]] | None = None,
    *,
    databases: Mapping[str, str] | None = None,
    max_running: int = 1000,
    max_threads: int = 40,
    max_processes: int | None = None,
    max_payload: int = 1 << 20,
    max_inbox: int = 1000,
    evict_after: float = 60.0,
    lease: float = 15.0,
    grace: float = 5.0,
    retention: float | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
) -> AsyncGenerator[Engine]:
    """Open an engine on a store; it takes up at once what others have left, and runs workflows until the block ends.

    Args:
        store: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, `sqlite://` (in memory, for tests),
            `postgresql://user@host/database`, or a store of your own.
        workflows: the workflow functions that it runs; None: all that have been decorated.
        databases: other databases for transactions, by the names that `@transaction(database=...)` has: addresses that
            begin with `postgresql://` or `sqlite://`, without options of a store's.
        max_running: how many workflows it has in memory at most; others wait in the store. Only one that is cancelled,
            killed or resumed comes in at once.
        max_threads: how many sync steps run in threads at once.
        max_processes: how many run in worker processes at once; None: as many as the machine has processors.
        max_payload: bytes that one input, result or message may have, encoded.
        max_inbox: how many messages may wait for one workflow in the store; as many may be in its log that it has not
            read.
        evict_after: seconds after which a workflow that only waits, for a time or for messages, leaves memory until it
            is due.
        lease: seconds after which others may take over when this process is stuck; a process that has died is
            recognised at once where the system allows it.
        grace: seconds that code gets to let go when the engine closes.
        retention: seconds after which workflows that have ended are deleted, with their descendants, once these have
            ended, too; it may take a minute more. None: they are kept until somebody deletes them.
        codec: turns values into bytes; by default JSON.
        clock: tells the time of day; by default the system's.
        instruments: who is told what happens.

    Leaving the block suspends all workflows: nothing of that is recorded, and they go on when an engine is opened on
    the same store. Cancelling the block from outside does the same. Entering and leaving are checkpoints.

    Raises:
        RegistrationError: if two workflows have one name, or data of one could not be read back as it is annotated.
        UsageError: if the address is none, or an option makes no sense.
        StoreError: if the store cannot be opened, or breaks later.
    """
    options = Options(
        max_running=max_running,
        max_threads=max_threads,
        max_processes=(os.cpu_count() or 1) if max_processes is None else max_processes,
        max_payload=max_payload,
        max_inbox=max_inbox,
        evict_after=evict_after,
        lease=lease,
        grace=grace,
        retention=retention,
    )
    clock, codec = clock or SystemClock(), codec or JsonCodec()
    service = _service(store, workflows, databases or {}, clock, codec, instruments=instruments, options=options)
    error: BaseException | None = None
    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            try:
                await service.opened.wait()
                yield Engine(service)
            except BaseException as exc:  # noqa: BLE001 - raised below: the engine's nursery would make a copy of it
                error = exc
            finally:
                service.closing.set()
    if error is not None:
        raise error


def _service(
    store: str | Store,
    workflows: Iterable[Workflow[..., Any]] | None,
    databases: Mapping[str, str],
    clock: Clock,
    codec: Codec,
    *,
    instruments: Sequence[Instrument],
    options: Options,
) -> Service:
    """Look at what was given, and put it together."""
    check_interface("clock", clock, Clock)
    check_interface("codec", codec, Codec)
    WHOLE.check("what a clock's utc() gives, in microseconds,", clock.utc())  # rows with others could not be read
    checked = CheckedCodec(codec)
    table = Table(workflows, checked)
    opened = open_store(store, clock=clock) if isinstance(store, str) else store
    check_interface("store, unless it is an address such as 'sqlite:///quotes.db',", opened, Store)
    return Service(
        opened,
        Databases(opened, databases),
        table,
        clock=clock,
        codec=checked,
        instruments=Instruments.of(instruments, clock),
        options=options,
    )

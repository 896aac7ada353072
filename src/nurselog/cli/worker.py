"""`nurselog worker`: an engine as a process, which runs until a signal asks it to stop.

The problem is the end. Whoever stops a worker wants it to let go in order, and wants to be obeyed at once the second
time, whatever the process is in the middle of. Trio's `open_signal_receiver` does not do: it hears of a signal in the
event loop's next round, and where a step holds the loop up there is no next round. So the signals have a handler of
their own, which Python calls between two instructions of whatever runs. It asks the engine to close, and gives the
signals back to the system: the second one ends the process as if there were no handler. A kill is always safe.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

import trio

from .. import NurselogError, UsageError, Workflow, open_engine
from .._stores._postgres.address import hide
from .._stores.sqlite import parse_url
from ..abc import Codec
from .command import BROKEN, INTERRUPTED, Command, exit_code, positive
from .logs import FORMATS, LEVELS, logging_to_stderr

_logger = logging.getLogger("nurselog")

_STOPPED = {signal.SIGTERM: 0, signal.SIGINT: INTERRUPTED}
"""The signals that ask a worker to stop, and the exit code of one that has stopped."""

_EPILOG = """\
MODULE is imported from the current folder, or from where Python looks. All workflows that it has at its top level are
run, those that it imports from elsewhere too; with ATTR only that one: a workflow, or a list of them.

At SIGTERM or SIGINT the workflows leave memory. Nothing of that is recorded; they go on where they were in any worker
that has them. A second signal ends the process at once.

exit codes:
  0    it stopped, as SIGTERM had asked
  1    the store cannot be opened, or broke, or could not be told of the end; or the worker failed: see its log
  2    it was told what cannot be: an argument, MODULE or what is in it, an address; starting it again will not help
  130  it stopped, as SIGINT had asked
"""


class _Target(NamedTuple):
    """Where workflows are."""

    module: str
    attribute: str | None

    @classmethod
    def read(cls, text: str) -> _Target:
        """Take an argument apart."""
        module, colon, attribute = text.partition(":")
        if not all(module.split(".")) or (colon and not attribute):
            raise argparse.ArgumentTypeError("write MODULE or MODULE:ATTR, with MODULE as in an import")
        return cls(module, attribute or None)


def _read_database(text: str) -> tuple[str, str]:
    """Take an argument apart: a name and an address."""
    name, equals, url = text.partition("=")
    if not (name and equals and url):
        raise argparse.ArgumentTypeError("write NAME=URL, as in open_engine(databases={NAME: URL})")
    return name, url


class _ModuleRaised(UsageError):
    """A module could not be imported; what it raised is the cause, and its authors want the traceback."""


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    add = parser.add_argument
    add("target", type=_Target.read, metavar="MODULE[:ATTR]", help="where the workflows are")
    add("--store", required=True, metavar="URL", help="the store, for instance sqlite:///quotes.db")
    add(
        "--database",
        type=_read_database,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="one that transactions name, for instance shop=postgresql://app@host/shop; as often as there are some",
    )
    add(
        "--codec",
        type=_Target.read,
        metavar="MODULE:ATTR",
        help="what turns values into bytes, for instance shop.data:codec (default: JSON)",
    )
    add(
        "--instrument",
        type=_Target.read,
        action="append",
        default=[],
        metavar="MODULE:ATTR",
        help="one that is told what happens, for instance shop.telemetry:traces; as often as there are some",
    )
    add("--max-running", type=positive, metavar="N", default=1000, help="workflows in memory (default: %(default)s)")
    add("--max-threads", type=positive, metavar="N", default=40, help="steps in threads (default: %(default)s)")
    add("--max-processes", type=positive, metavar="N", help="steps in processes (default: one for each processor)")
    add(
        "--max-payload",
        type=positive,
        metavar="BYTES",
        default=1 << 20,
        help="of one input or result, encoded (default: %(default)s)",
    )
    add(
        "--max-inbox",
        type=positive,
        metavar="N",
        default=1000,
        help="messages that may wait for one workflow (default: %(default)s)",
    )
    _declare_times(parser)
    add("--log-format", choices=FORMATS, default="text", help="of what it says on standard error (default: text)")
    add("--log-level", choices=LEVELS, default="info", help="what is below is not said (default: info)")


def _declare_times(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--lease",
        type=float,
        metavar="SECONDS",
        default=15.0,
        help="after which others may take over when this process hangs (default: %(default)g)",
    )
    add(
        "--grace",
        type=float,
        metavar="SECONDS",
        default=5.0,
        help="that code gets to let go when it is to stop (default: %(default)g)",
    )
    add(
        "--retention",
        type=float,
        metavar="SECONDS",
        help="after which workflows that have ended are deleted (default: they are kept)",
    )


def _work(chosen: argparse.Namespace) -> int:
    with logging_to_stderr(chosen.log_format, chosen.log_level):
        try:
            _refuse_memory(chosen.store)
            instruments = tuple(_named("instrument", one) for one in chosen.instrument)
            parts = _find_workflows(chosen.target), _find_codec(chosen.codec), instruments
            return _STOPPED[trio.run(_serve, chosen, *parts)]
        except NurselogError as exc:
            trace = exc.__cause__ if isinstance(exc, _ModuleRaised) else None
            _logger.error("%s", exc, exc_info=trace)  # noqa: TRY400 - the sentence says it; a trace is the module's
            return exit_code(exc)
        except (Exception, SystemExit):  # an exit code of the worker's own, whatever code in it wants to exit with
            _logger.exception("the worker has failed")
            return BROKEN


async def _serve(
    chosen: argparse.Namespace,
    workflows: Sequence[Workflow[..., Any]],
    codec: Codec | None,
    instruments: Sequence[Any],
) -> signal.Signals:
    """Run workflows until a signal comes, and return it."""
    with _receiving_signals() as signals:
        async with open_engine(
            chosen.store,
            workflows,
            databases=dict(chosen.database) or None,
            max_running=chosen.max_running,
            max_threads=chosen.max_threads,
            max_processes=chosen.max_processes,
            max_payload=chosen.max_payload,
            max_inbox=chosen.max_inbox,
            lease=chosen.lease,
            grace=chosen.grace,
            retention=chosen.retention,
            codec=codec,
            instruments=instruments,
        ) as engine:
            names = ", ".join(sorted({workflow.name for workflow in workflows}))
            _logger.info("up, runs %s on %s", names, hide(chosen.store))
            number = await signals.receive()
            now = engine.statistics()
            _logger.info("stops, asked by %s; workflows in memory: %d", number.name, now.running + now.waiting)
    _logger.info("has stopped")
    return number


@contextmanager
def _receiving_signals() -> Generator[trio.MemoryReceiveChannel[signal.Signals]]:
    """Give the channel that the first signal comes through; the next one has the system's effect."""
    token = trio.lowlevel.current_trio_token()
    send, receive = trio.open_memory_channel[signal.Signals](1)

    def handle(number: int, _frame: object) -> None:
        for one in _STOPPED:
            signal.signal(one, signal.SIG_DFL)
        token.run_sync_soon(send.send_nowait, signal.Signals(number))

    before = {one: signal.signal(one, handle) for one in _STOPPED}
    try:
        yield receive
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _refuse_memory(store: str) -> None:
    if store.startswith("sqlite:") and parse_url(store).path is None:
        raise UsageError(f"{store!r} is a database in the worker's own memory, where nobody can submit anything")


def _find_workflows(target: _Target) -> Sequence[Workflow[..., Any]]:
    """Return the workflows that are meant; the engine looks whether a list has nothing else.

    Those that a module imports are meant, too: a program of several modules has one that brings its workflows
    together, and whoever reads it sees what its worker runs. Not meant is what is merely loaded: `open_engine` without
    a list would run that, and an import of a library could change what a process takes out of the store.

    Raises:
        UsageError: if there are none.
    """
    module = _import(target.module)
    if target.attribute is None:
        place = f"at the top level of module {target.module!r}"
        found: list[object] = [value for value in vars(module).values() if isinstance(value, Workflow)]
    else:
        place = f"in {target.attribute!r} of module {target.module!r}"
        found = _listed(module, target.attribute)
    if not found:
        raise UsageError(f"there is no workflow {place}")
    return cast("list[Workflow[..., Any]]", found)


def _find_codec(target: _Target | None) -> Codec | None:
    """Return the codec that is meant; the engine looks whether it is one.

    Raises:
        UsageError: if there is none.
    """
    return None if target is None else cast("Codec", _named("codec", target))


def _named(what: str, target: _Target) -> object:
    """Return a thing that has a name in a module.

    Raises:
        UsageError: if it has none.
    """
    if target.attribute is None:
        raise UsageError(f"the {what} in module {target.module!r} has a name: write --{what} {target.module}:NAME")
    return _attribute(_import(target.module), target.attribute)


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return cast("object", getattr(module, name))
    except AttributeError:
        raise UsageError(f"there is no {name!r} in module {module.__name__!r}") from None


def _listed(module: ModuleType, name: str) -> list[object]:
    value = _attribute(module, name)
    if isinstance(value, Workflow):
        return [value]
    return list(cast("Iterable[object]", value)) if isinstance(value, Iterable) else []


def _import(name: str) -> ModuleType:
    """Import a module as `python -m` would.

    Raises:
        UsageError: if there is none of this name, or it raises an error.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as exc:
        # What is missing may also be something that the module itself imports, which is its own trouble.
        if isinstance(exc, ModuleNotFoundError) and f"{name}.".startswith(f"{exc.name}."):
            hint = " (write it without .py)" if name.endswith(".py") else ""
            raise UsageError(f"there is no module {name!r}{hint}, in {here} or where Python looks") from None
        raise _ModuleRaised(f"module {name!r} cannot be imported: {exc!r}") from exc
    finally:
        # `logging.config` in a module disables, by default, all loggers that are there; a worker must say why it ends.
        _logger.disabled = False


WORKER = Command("worker", "Run a module's workflows until a signal comes.", _declare, _work)

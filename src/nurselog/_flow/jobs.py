"""What goes to a worker process, and what comes back.

Both are bytes, and who makes them sees at once what cannot be made of bytes: a function or an argument before anything
has run, a result in the process that has it. The library between would hand on the errors of pickle as if the function
had raised them, or end the process.

A function goes by its name. But the name of one that `@step` has decorated is the step's now, and pickle refuses it,
so what goes is a reference, by which the other side finds the step, and in it the function.

An error comes back as the record that the log will have. Pickle calls the constructor of an exception with its `args`,
which many do not take, and loses the traceback.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from .._errors import ProcessDied, UsageError
from .._log.failures import decode_error, encode_error, rebuild_error, record_error
from .venue import Venue, library

if TYPE_CHECKING:
    from .step import Step


class Answer(NamedTuple):
    """What a function has come to in a worker process: one of both."""

    value: bytes = b""
    """Pickled."""
    error: bytes = b""
    """As the log will have it."""

    def unwrap(self) -> Any:
        """Return the value.

        Raises:
            Exception: the error, if it is one.
            UsageError: if the value cannot be unpickled.
        """
        if self.error:
            raise rebuild_error(decode_error(self.error))
        try:
            return pickle.loads(self.value)  # noqa: S301 - both ends are this program's
        except Exception as exc:  # whatever the value's class does
            raise UsageError(f"what a worker process has returned cannot be unpickled: {exc!r}") from exc

    @classmethod
    def of(cls, error: Exception) -> Answer:
        """Return the answer that is an error."""
        return cls(error=encode_error(record_error(error)))


# -- in the engine's process ---------------------------------------------------------------------


async def answer(
    run_sync: Callable[..., Awaitable[Answer]], step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Answer:
    """Have a step's function run in a worker process. A checkpoint; when it is cancelled, the process is killed.

    Args:
        run_sync: trio-parallel's.
        step: the step.
        args: its arguments.
        kwargs: those that have names.

    Raises:
        UsageError: if the function or an argument cannot go there.
        ProcessDied: if the process has not lived to the end.
    """
    job = _packed(step.name, "its function", _sendable(step.fn)), _packed(step.name, "its arguments", (args, kwargs))
    broken: type[Exception] = library(Venue.PROCESS).BrokenWorkerError
    try:
        return await run_sync(work, *job, kill_on_cancel=True)
    except broken as exc:
        raise ProcessDied(step.name, exc.args[-1].exitcode) from None


def _packed(step: str, what: str, value: object) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as exc:
        raise UsageError(
            f"step {step!r} cannot run in a worker process, for {what} cannot be pickled: {exc}. A function must be at "
            "the top of its module, under its own name; give it plain data, and let it open what it needs by itself"
        ) from exc


def _sendable(fn: Any) -> Any:
    """Return what can be pickled instead of a function that is a step's, or part of something that is."""
    match fn:
        case partial(func=inner):
            return partial(_sendable(inner), *fn.args, **fn.keywords)
        case MethodType(__func__=inner):
            return partial(_sendable(inner), fn.__self__)
        case FunctionType() if _find(fn.__module__, fn.__qualname__) is not fn:
            reference = _Reference(fn.__module__, fn.__qualname__)
            return reference if reference.function() is fn else fn
        case _:
            return fn


class _Reference(NamedTuple):
    """Stands for the function of the step that is found under this name."""

    module: str
    qualname: str

    def function(self) -> Any:
        """Return the function; None if there is no step."""
        return getattr(_find(self.module, self.qualname), "function", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.function()(*args, **kwargs)


def _find(module: str, qualname: str) -> Any:
    """Return what has this name; None if nothing has."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


# -- in the worker process -----------------------------------------------------------------------


def work(function: bytes, arguments: bytes) -> Answer:
    """Run a function."""
    try:
        fn = pickle.loads(function)  # noqa: S301 - both ends are this program's
        args, kwargs = pickle.loads(arguments)  # noqa: S301 - both ends are this program's
    except Exception as exc:  # noqa: BLE001 - whatever the import of their modules raises
        return Answer.of(UsageError(f"a worker process cannot unpickle its function and arguments: {exc!r}"))
    try:
        value = fn(*args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - the function's own error
        return Answer.of(exc)
    try:
        return Answer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except Exception as exc:  # noqa: BLE001 - whatever the value's class does
        return Answer.of(UsageError(f"what it returned cannot be pickled, to come from its worker process: {exc}"))


def settle_in() -> None:
    """Make this process end when its engine's does, even in the middle of a job; and by nobody else's wish.

    Who stops a service may tell all its processes at once (systemd does). That is for the engine to hear, which
    suspends its workflows: a worker process that died of it first would be an error of its step.
    """
    from multiprocessing import parent_process  # noqa: PLC0415 - a worker process has it

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as trio-parallel has done with SIGINT
    threading.Thread(target=_follow, args=(parent_process(),), daemon=True, name="nurselog parent").start()


def _follow(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)

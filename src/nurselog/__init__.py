"""Durable workflows for Trio: plain structured concurrency that survives the death of its process."""

from __future__ import annotations

import typing as _typing
from importlib import import_module as _import_module

from ._errors import ChildCancelled as ChildCancelled
from ._errors import DataError as DataError
from ._errors import DeadlockError as DeadlockError
from ._errors import DecodingError as DecodingError
from ._errors import EncodingError as EncodingError
from ._errors import EngineClosed as EngineClosed
from ._errors import InboxFull as InboxFull
from ._errors import MisplacedCallError as MisplacedCallError
from ._errors import NonDeterminismError as NonDeterminismError
from ._errors import NothingExposed as NothingExposed
from ._errors import NurselogError as NurselogError
from ._errors import OutsideWorkflowError as OutsideWorkflowError
from ._errors import PayloadTooLargeError as PayloadTooLargeError
from ._errors import ProcessDied as ProcessDied
from ._errors import PromiseSettled as PromiseSettled
from ._errors import RegistrationError as RegistrationError
from ._errors import StepFailed as StepFailed
from ._errors import StepInterrupted as StepInterrupted
from ._errors import StoreCorrupt as StoreCorrupt
from ._errors import StoreError as StoreError
from ._errors import StoreReadOnly as StoreReadOnly
from ._errors import StoreTooNew as StoreTooNew
from ._errors import StoreUnavailable as StoreUnavailable
from ._errors import StuckError as StuckError
from ._errors import Suspended as Suspended
from ._errors import TransactionEnded as TransactionEnded
from ._errors import UsageError as UsageError
from ._errors import ValueUnavailable as ValueUnavailable
from ._errors import WorkflowCancelled as WorkflowCancelled
from ._errors import WorkflowConflict as WorkflowConflict
from ._errors import WorkflowEnded as WorkflowEnded
from ._errors import WorkflowKilled as WorkflowKilled
from ._errors import WorkflowNotEnded as WorkflowNotEnded
from ._errors import WorkflowNotFound as WorkflowNotFound
from ._errors import WorkflowStuck as WorkflowStuck
from ._flow.ambient import attempt as attempt
from ._flow.ambient import now as now
from ._flow.ambient import patched as patched
from ._flow.ambient import rng as rng
from ._flow.ambient import step_key as step_key
from ._flow.ambient import uuid4 as uuid4
from ._flow.ambient import workflow_id as workflow_id
from ._flow.body import StepTimedOut as StepTimedOut
from ._flow.cases import Case as Case
from ._flow.channel import MemoryReceiveChannel as MemoryReceiveChannel
from ._flow.channel import MemorySendChannel as MemorySendChannel
from ._flow.channel import open_memory_channel as open_memory_channel
from ._flow.exposing import expose as expose
from ._flow.handle import Handle as Handle
from ._flow.helpers import as_completed as as_completed
from ._flow.helpers import gather as gather
from ._flow.helpers import map_concurrently as map_concurrently
from ._flow.helpers import race as race
from ._flow.logs import LogFilter as LogFilter
from ._flow.mailbox import Mailbox as Mailbox
from ._flow.mailbox import mailbox as mailbox
from ._flow.nursery import Nursery as Nursery
from ._flow.nursery import open_nursery as open_nursery
from ._flow.outcomes import Failed as Failed
from ._flow.outcomes import Outcome as Outcome
from ._flow.outcomes import Succeeded as Succeeded
from ._flow.outcomes import WasCancelled as WasCancelled
from ._flow.promise import Promise as Promise
from ._flow.promise import promise as promise
from ._flow.publishing import Stream as Stream
from ._flow.publishing import open_stream as open_stream
from ._flow.publishing import publish as publish
from ._flow.retry import Retry as Retry
from ._flow.scope import CancelScope as CancelScope
from ._flow.scope import fail_after as fail_after
from ._flow.scope import fail_at as fail_at
from ._flow.scope import move_on_after as move_on_after
from ._flow.scope import move_on_at as move_on_at
from ._flow.select import Selected as Selected
from ._flow.select import select as select
from ._flow.sending import reject as reject
from ._flow.sending import resolve as resolve
from ._flow.sending import send as send
from ._flow.sending import submit as submit
from ._flow.sleeping import after as after
from ._flow.sleeping import at as at
from ._flow.sleeping import sleep as sleep
from ._flow.sleeping import sleep_until as sleep_until
from ._flow.step import Step as Step
from ._flow.step import step as step
from ._flow.transaction import transaction as transaction
from ._flow.updates import Update as Update
from ._flow.updates import Updates as Updates
from ._flow.updates import updates as updates
from ._flow.workflow import Workflow as Workflow
from ._flow.workflow import workflow as workflow
from ._log.lifecycle import Status as Status
from .abc import Isolation as Isolation

_LATER = {
    "ClientHandle": "._client.blocking",
    "AsyncClient": "._client.calls",
    "AsyncClientHandle": "._client.calls",
    "Client": "._client.opening",
    "EngineThread": "._client.opening",
    "open_client": "._client.opening",
    "open_engine_thread": "._client.opening",
    "Engine": "._engine.engine",
    "WorkflowHandle": "._engine.handle",
    "WorkflowInfo": "._engine.info",
    "Letter": "._engine.messages",
    "open_engine": "._engine.opening",
    "Outbox": "._engine.outbox",
    "outbox": "._engine.outbox",
    "Item": "._engine.reading",
    "EngineStatistics": "._engine.statistics",
}
"""What belongs to engines and clients, and where it is; type checkers read the same below. With the stores it is half
of what there is to import, and a module that only has workflows needs none of it."""


def _import_later() -> None:
    """Import all of it, for one brings nearly all the others; what somebody has put in a name's place stays there."""
    for name, where in _LATER.items():
        globals().setdefault(name, getattr(_import_module(where, __name__), name))
    _show_public_places()


def _show_public_places() -> None:
    """Have tracebacks and logs name what is public by where it is public; a private file may move."""
    for value in list(globals().values()):
        if str(getattr(value, "__module__", "")).startswith("nurselog._"):
            value.__module__ = __name__


if _typing.TYPE_CHECKING:
    from ._client.blocking import ClientHandle as ClientHandle
    from ._client.calls import AsyncClient as AsyncClient
    from ._client.calls import AsyncClientHandle as AsyncClientHandle
    from ._client.opening import Client as Client
    from ._client.opening import EngineThread as EngineThread
    from ._client.opening import open_client as open_client
    from ._client.opening import open_engine_thread as open_engine_thread
    from ._engine.engine import Engine as Engine
    from ._engine.handle import WorkflowHandle as WorkflowHandle
    from ._engine.info import WorkflowInfo as WorkflowInfo
    from ._engine.messages import Letter as Letter
    from ._engine.opening import open_engine as open_engine
    from ._engine.outbox import Outbox as Outbox
    from ._engine.outbox import outbox as outbox
    from ._engine.reading import Item as Item
    from ._engine.statistics import EngineStatistics as EngineStatistics
else:  # with a function for all names, a type checker would take every misspelt one for what comes later

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _import_later()
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})

    __all__ = [name for name in __dir__() if not name.startswith("_") and name != "annotations"]

_show_public_places()

"""Makes workflows that have no parent, each once: an id stands for one function and one input."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

import trio

from .._errors import DataError, PayloadTooLargeError, WorkflowConflict
from .._flow.workflow import Workflow
from .._log.codec import digest
from .._log.events import Row, Started, encode_event
from ..abc import Clock, Codec, Store
from ..abc import Workflow as WorkflowRow
from .journal import Journal
from .ownership import Ownership, new_writer
from .table import Table

logger = logging.getLogger("nurselog")


class Starter:
    """Starts workflows, here or wherever there is room."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: Store,
        ownership: Ownership,
        table: Table,
        codec: Codec,
        clock: Clock,
        max_payload: int,
    ) -> None:
        self._journal, self._store, self._ownership, self._table = journal, store, ownership, table
        self._codec, self._clock, self._max_payload = codec, clock, max_payload

    async def submit(
        self, target: Workflow[..., Any], args: Sequence[Any], kwargs: dict[str, Any], id: str
    ) -> WorkflowRow:
        """Make a workflow, unless there is the same already; return its row. A checkpoint.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input.
            RegistrationError: if another function has its name.
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if the input is larger than the limit.
            EngineClosed: if the engine closes first.
        """
        self._table.add(target)
        data = target.signature.encode_call(self._codec.encode, args, kwargs)
        if len(data) > self._max_payload:
            raise PayloadTooLargeError(f"the input of workflow {id!r}", len(data), self._max_payload)
        started = Started(name=target.name, version=target.version, seed=secrets.token_hex(8))
        row = Row(1, self._clock.utc(), 0, new_writer(), encode_event(started), data)
        return await self.create(id, target, digest(data), (row,))

    async def create(self, id: str, target: Workflow[..., Any], digest_: str, rows: Sequence[Row]) -> WorkflowRow:
        """Make a workflow whose log begins with some rows; return its row. A checkpoint.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input.
            EngineClosed: if the engine closes first.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on `made` is called, whatever becomes of this task
        created = await self._journal.create(*self._ownership.prepare(target, id, digest_, rows))
        if not created.new:
            await self._check_same(created.workflow, target, digest_)
        return created.workflow

    async def _check_same(self, found: WorkflowRow, target: Workflow[..., Any], digest_: str) -> None:
        """See that a workflow of the id that was asked for is the one that was asked for, and will go on."""
        same = found.name == target.name
        if not same or (found.digest != digest_ and await self._digest_now(found, target) != digest_):
            raise WorkflowConflict(
                found.id, f"workflow {found.name!r}{' with another input' if same else ''}", f"workflow {target.name!r}"
            )
        if not (found.status.final or found.problem or found.owner or self._table.can_run(found.name, found.version)):
            logger.warning(
                "workflow %r began %s, and this engine has %r %s: it waits until an engine opens that has it as it "
                "began. Open one, or give the run up with kill.",
                found.id,
                _in_version(found.version),
                found.name,
                _in_version(target.version),
            )

    async def _digest_now(self, row: WorkflowRow, target: Workflow[..., Any]) -> str | None:
        """Return the digest that a recorded input has by the signature of today; None if it does not fit that.

        Parameters that were added with a default, or that have changed places, change the bytes of the same call.
        """
        rows = await self._store.read(row.key)
        data = (rows[0].value if rows else None) or b""
        if digest(data) != row.digest:
            return (
                None  # a fork, whose digest says where it was cut: with whatever input, it is not that run; or deleted
            )
        try:
            args, kwargs = target.signature.decode_call(self._codec.decode, data)
            return digest(target.signature.encode_call(self._codec.encode, args, kwargs))
        except DataError:
            return None


def _in_version(version: str | None) -> str:
    return "without a version" if version is None else f"in version {version!r}"

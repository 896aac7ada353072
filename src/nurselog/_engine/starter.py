"""Makes workflows that have no parent, each once: an id stands for one function and one input."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import trio

from .._log.events import Row
from .._stores.outlet import Holder
from ..abc import Clock, Codec, Store
from ..abc import Workflow as WorkflowRow
from .instruments import Instruments
from .journal import Journal
from .named import Named
from .owning import Owning, Target
from .pen import Pen
from .table import Table

logger = logging.getLogger("nurselog")


class Starter:
    """Starts workflows, here or wherever there is room."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: Store,
        ownership: Owning,
        table: Table,
        codec: Codec,
        clock: Clock,
        max_payload: int,
        instruments: Instruments | None,
    ) -> None:
        self._instruments = instruments
        self._journal, self._store, self._ownership, self._table = journal, store, ownership, table
        self._clock, self._pen = clock, Pen(codec, max_payload)

    async def submit(self, target: Target, args: Sequence[Any], kwargs: dict[str, Any], id: str) -> WorkflowRow:
        """Make a workflow, unless there is the same already; return its row. A checkpoint.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input.
            RegistrationError: if another function has its name.
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if the input is larger than the limit.
            EngineClosed: if the engine closes first.
        """
        if not isinstance(target, Named):
            self._table.add(target)
        headers = {} if self._instruments is None else self._instruments.headers()
        beginning = self._pen.beginning(target, args, kwargs, id=id, at=self._clock.utc(), headers=headers)
        return await self.create(id, target, beginning.digest, (beginning.row,))

    async def create(self, id: str, target: Target, digest_: str, rows: Sequence[Row]) -> WorkflowRow:
        """Make a workflow whose log begins with some rows; return its row. A checkpoint.

        Raises:
            WorkflowConflict: if the id belongs to another workflow or another input.
            EngineClosed: if the engine closes first.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on `made` is called, whatever becomes of this task
        created = await self._journal.create(*self._ownership.prepare(target, id, digest_, rows))
        if not created.new:
            await self._check_same(created.workflow, target, Holder(target.name, digest_, rows[0].value or b""))
        return created.workflow

    async def _check_same(self, found: WorkflowRow, target: Target, asked: Holder) -> None:
        """See that a workflow of the id that was asked for is the one that was asked for, and will go on."""
        if found.name != target.name or found.digest != asked.digest:  # else there is no need to read its input
            rows = await self._store.read(found.key)  # none, if it was deleted since
            data = (rows[0].value if rows else None) or b""
            self._pen.check_same(found.id, Holder(found.name, found.digest, data), target, asked)
        if not (found.status.final or found.problem or found.owner or self._table.can_run(found.name, found.version)):
            logger.warning(
                "workflow %r began %s, and this engine has %r %s: it waits until an engine opens that has it as it "
                "began. Open one, or give the run up with kill.",
                found.id,
                _in_version(found.version),
                found.name,
                _in_version(target.version),
            )


def _in_version(version: str | None) -> str:
    return "without a version" if version is None else f"in version {version!r}"

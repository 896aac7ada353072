"""What those who leave messages and make workflows need of whoever may take workflows up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from .._flow.workflow import Workflow
from .._log.events import Row
from ..abc import Created, Creation, Message, WorkflowKey
from .named import Named

Target: TypeAlias = Workflow[..., Any] | Named
"""Which function a workflow is a run of."""


class Owning(Protocol):
    """An engine's `Ownership`, or, where nothing runs, a client's `Guest`."""

    @property
    def keys(self) -> Mapping[str, WorkflowKey]:
        """The keys of the workflows in memory, by their ids."""
        ...

    def prepare(
        self, function: Target, id: str, digest: str, rows: Sequence[Row], parent: WorkflowKey | None = None
    ) -> tuple[Creation, Callable[[Created | None], None]]:
        """Return how to make a workflow, and what to call when that is durable."""
        ...

    async def enter_messages(self) -> None:
        """Enter what has come for workflows in memory."""
        ...

    def arrival(self, keys: frozenset[WorkflowKey]) -> Callable[[Sequence[Message]], None]:
        """Messages are about to be left for workflows: return what to call with what `Store.post` returned."""
        ...

    def mail_for(self, *keys: WorkflowKey) -> None:
        """Messages were left for workflows: have them entered, soon, wherever those are."""
        ...

    def look_for_all(self) -> None:
        """Have a look, soon, for whatever may have been left, for whomever."""
        ...

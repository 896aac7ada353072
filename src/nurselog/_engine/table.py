"""Which workflow functions an engine has, by the names in the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from .._errors import RegistrationError
from .._flow.names import check_readable
from .._flow.workflow import Workflow, registry
from ..abc import Codec, Wanted, WorkflowKey
from .named import Named


class Table:
    """The workflow functions of one engine."""

    def __init__(self, workflows: Iterable[Workflow[..., Any]] | None, codec: Codec) -> None:
        self._codec = codec
        self._found: dict[str, Workflow[..., Any]] = {}
        if not isinstance(workflows, Iterable | None):
            raise RegistrationError(f"workflows must be a list of them or None, not {workflows!r}")
        for workflow in registry.values() if workflows is None else workflows:
            self.add(workflow)

    def wanted(self, worker: str, limit: int, key: WorkflowKey | None = None) -> Wanted:
        """Return what an engine with these functions would take up: what is due, or one workflow."""
        found = self._found.values()
        return Wanted(
            worker=worker,
            names=frozenset(one.name for one in found if one.version is None),
            versions=frozenset((one.name, one.version) for one in found if one.version is not None),
            limit=limit,
            keys=None if key is None else frozenset({key}),
        )

    def can_run(self, name: str, version: str | None) -> bool:
        """Whether this engine has the function for a workflow."""
        found = self._found.get(name)
        return found is not None and found.version in {None, version}

    def find(self, name: str) -> Workflow[..., Any] | None:
        """Return the workflow of a name, if there is one."""
        return self._found.get(name)

    def named(self, name: str, version: str | None) -> Workflow[..., Any] | Named | None:  # noqa: ARG002 - a client's has need of it
        """Return what workflows of a name are runs of, for somebody who makes one; None if that cannot be."""
        return self._found.get(name)

    def add(self, workflow: Workflow[..., Any]) -> None:
        """Enter a workflow.

        Raises:
            RegistrationError: if it is no workflow, another one has its name, its annotations cannot be read, or what
                they are of could not be read back.
        """
        if not isinstance(workflow, Workflow):
            raise RegistrationError(f"{workflow!r} is no workflow: decorate the function with @workflow")
        known = self._found.get(workflow.name)
        if known is None:  # now, not in the middle of a run
            signature = workflow.signature
            check_readable(f"workflow {workflow.name!r}, its parameters", signature.call, self._codec)
            check_readable(f"workflow {workflow.name!r}, its result", signature.returns, self._codec)
            self._found[workflow.name] = workflow
        elif known.fn is not workflow.fn:
            raise RegistrationError(
                f"two functions are recorded as workflow {workflow.name!r}: {known.fn!r} and {workflow.fn!r}. Give one "
                "another name: @workflow(name=...)"
            )

    def unknown(self, name: str) -> Workflow[..., Any]:
        """Return a stand-in for a workflow that this engine does not have: it can be killed, not run."""

        async def missing(*_args: object, **_kwargs: object) -> NoReturn:
            raise RegistrationError(f"this engine has no workflow {name!r}")  # pragma: no cover - never run

        return Workflow(missing, name, None)

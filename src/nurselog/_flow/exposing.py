"""`expose`: what a workflow lets queries see of it."""

from __future__ import annotations

from .current import current_strand
from .sequencer import Exposed


def expose(state: object) -> None:
    """Let queries see something: from now on it is what functions registered with `@workflow.query` are called with.

    Args:
        state: whatever the workflow keeps its state in. Queries see it as it is when they ask; it need not be
            encodable.

    The last call counts. Nothing of it is in the log. Not a checkpoint.

    Raises:
        OutsideWorkflowError: outside of a workflow.
    """
    current_strand("expose").sequencer.exposed = Exposed(state)

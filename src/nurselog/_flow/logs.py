"""Log records of workflow code and steps: whose they are, and none twice.

Workflow code runs again in each life, and what it logs on its way to where it was has been logged before. What it logs
when it leaves memory, in a `finally` that `Suspended` passes, has not happened, and comes when it does. Only the
workflow knows which line that is; so it is asked where `logging` lets one say no, in a filter. It must be a filter of
handlers: those of loggers are not asked about the records of loggers below them.
"""

from __future__ import annotations

import logging
from typing import final

from .strand import Strand, place


@final
class LogFilter(logging.Filter):
    """Says in each log record whose it is, and drops what workflow code logs while it replays or leaves memory.

    A filter for handlers. Each record gets the texts `workflow_id`, `workflow_path` (the branch's, or the step's) and
    `workflow_step` (the step's name); they are empty for what does not apply, and everywhere outside of workflows.
    What steps log is never dropped, and neither is what nurselog itself has to say.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Enter into a record where it comes from; return whether it is new."""
        here = place.get()
        id = path = step = ""
        new = True
        if isinstance(here, Strand):
            sequencer = here.sequencer
            id, path = sequencer.id, here.text
            new = record.name == "nurselog" or not (sequencer.replaying or sequencer.suspending)
        elif here is not None:
            call = here.call
            id, path, step = call.sequencer.id, call.path, call.step.name
        record.workflow_id, record.workflow_path, record.workflow_step = id, path, step
        return new

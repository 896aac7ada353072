"""`nurselog delete`: a workflow that has ended is removed from a store, with its family."""

from __future__ import annotations

import argparse

from .command import Command
from .look import ask, declare_workflow


def _delete(chosen: argparse.Namespace) -> int:
    ask(chosen.store, lambda engine: engine.delete(chosen.id))
    return 0


DELETE = Command(
    "delete", "Delete a workflow that has ended, with its descendants and their logs.", declare_workflow, _delete
)

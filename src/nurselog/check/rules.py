"""The rules of workflow code that can be seen without running it: what is wrong, and what to do about it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum

from .._flow.trouble import DEADLINE, FOREIGN, UNAWAITED


class Rule(Enum):
    """A rule. Its remedy is what the error at run time says, where there is one."""

    PLAIN_SLEEP = "plain-sleep", "waits for a clock that is in no log", FOREIGN
    PLAIN_DEADLINE = "plain-deadline", "sets a deadline that is in no log", DEADLINE
    WALL_CLOCK = (
        "wall-clock",
        "is not the same in each run",
        "Use nurselog.now(), or look at the clock in a step.",
    )
    RANDOM = (
        "random",
        "is not the same in each run",
        "Use nurselog.rng() or nurselog.uuid4(), or draw in a step.",
    )
    ENVIRONMENT = (
        "environment",
        "is not the same in each process",
        "Look at it in a step, or give it to the workflow as an argument.",
    )
    SET_ORDER = (
        "set-order",
        "has the order of a set, which is not the same in each process",
        "Use sorted(), or a list or a dict.",
    )
    UNAWAITED = "unawaited", "is called and not awaited, so it does not run", UNAWAITED
    EFFECT = (
        "effect",
        "has to do with the outside world, and does so again at each replay",
        "Put it into a step.",
    )
    MODULE_STATE = (
        "module-state",
        "changes what this process knows and no log has",
        "Keep it in a variable of the workflow, or change it in a step.",
    )
    SWALLOWED_CANCELLATION = (
        "swallowed-cancellation",
        "stops a cancellation or a suspension on its way",
        "Raise it again at the end of the block.",
    )
    UNSHIELDED_CLEANUP = (
        "unshielded-cleanup",
        "is cleanup that is cancelled with the rest",
        "Put it into `with CancelScope(shield=True):`.",
    )
    EXEMPTION = (
        "exemption",
        "exempts nothing",
        "Write `# nurselog: RULE is fine because REASON` on the line that breaks a rule, or take it away.",
    )

    def __init__(self, label: str, wrong: str, remedy: str) -> None:
        self.label = label
        """Its name, for people."""
        self.wrong = wrong
        """What is wrong with what breaks it."""
        self.remedy = remedy
        """What to do."""


@dataclass(frozen=True)
class Found:
    """A node that breaks a rule."""

    rule: Rule
    node: ast.expr | ast.stmt | ast.excepthandler
    what: str
    """What breaks it, as the code has it."""


@dataclass(frozen=True)
class Mistake:
    """A place that breaks a rule."""

    path: str
    line: int
    column: int
    """From 1."""
    rule: Rule
    message: str
    """What is wrong, and what to do."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.rule.label}: {self.message}"

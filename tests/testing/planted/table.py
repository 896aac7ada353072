"""The mistakes that the kit must find: for each a wrong workflow, the same one mended, and who finds it.

The line that is to blame, or where the code stood when the misfortune struck, is marked by a comment `# here`. What is
found must name it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nurselog import Workflow
from nurselog.testing import Law, Life, Report, cancel_everywhere, crash_everywhere
from tests.testing.planted.world import Outside

Check = Callable[..., Report]

crash: Check = crash_everywhere
crash_in_other_orders: Check = partial(crash_everywhere, seeds=range(6))
cancel: Check = cancel_everywhere
cancel_and_crash: Check = partial(cancel_everywhere, crashes=True)
cancel_scopes: Check = partial(cancel_everywhere, crashes=True, scopes=True)


@dataclass(frozen=True)
class Planted:
    """A mistake."""

    wrong: Workflow[..., Any]
    mended: Workflow[..., Any]
    law: Law
    found_by: Check = crash
    judge: Callable[[Outside, Life], None] | None = None
    """Of what is left in the world outside; None: that is not the point."""

    def check(self, workflow: Workflow[..., Any]) -> Report:
        """Try everything on one of the two."""
        outside = Outside()
        invariant = None if self.judge is None else partial(self.judge, outside)
        return self.found_by(workflow, fakes=outside.fakes, invariant=invariant)


# -- changed code --------------------------------------------------------------------------------

Code = Callable[..., Any]


@dataclass(frozen=True)
class Changed:
    """A change of code that runs under way cannot follow."""

    former: Code
    wrong: Code
    mended: Code
    """The same change, made such that they can."""
    args: Sequence[Any] = ()
    cancelled: bool = False
    """Whether the run was cancelled."""


# -- lines ---------------------------------------------------------------------------------------


def marked(fn: Code) -> list[str]:
    """Return the lines of a function that are marked, each as file and number."""
    lines, first = inspect.getsourcelines(fn)
    return [f"{inspect.getsourcefile(fn)}:{first + place}" for place, line in enumerate(lines) if "# here" in line]

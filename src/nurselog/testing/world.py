"""What there is outside of a workflow in a test: fakes, what they remember, and who judges it.

Effects outlive a crash, so what the fakes of the steps remember must, too. Running the workflow up to each crash anew
would do, and be twice the work. So a life keeps, before each commit, a copy of the fakes' objects. It goes with the
prefix that was durable then: what had been done and was not recorded yet is in it, which is the worst moment to die at.
Each life after that crash gets a copy of that copy.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from .. import UsageError
from .fakes import Fakes
from .life import Life

Invariant = Callable[[Life], object]
"""Looks at what a life has left behind; raises an AssertionError if it is not right."""


@dataclass(frozen=True)
class World:
    """The fakes and what they remember, and who judges it."""

    fakes: Fakes
    invariant: Invariant | None

    def copy(self) -> World:
        """Return one of its own for another life: objects that fakes and invariant share are still shared.

        Raises:
            UsageError: if something in it cannot be copied, or the invariant is async.
        """
        if inspect.iscoroutinefunction(self.invariant):
            raise UsageError(f"invariant {self.invariant!r} is async, and nobody would await it: make it a plain one")
        try:
            values, invariant = copy.deepcopy((list(self.fakes.values()), self.invariant))
        except Exception as exc:
            raise UsageError(
                f"what the fakes remember cannot be copied, and each life needs a copy of its own: {exc!r}. Keep "
                "plain data in the objects whose methods are fakes."
            ) from exc
        return World(dict(zip(self.fakes, values, strict=True)), invariant)

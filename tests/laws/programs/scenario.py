"""A generated program, and how it is to be run: everything that a failure needs to be repeated, as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nurselog import CancelScope, move_on_after, workflow
from tests.laws.programs.trees import Node
from tests.laws.programs.world import World

FAILURES = Path(__file__).parent.parent / "failures"
"""Scenarios that have broken a law once, shrunk; they are run for ever."""


_decoder = msgspec.json.Decoder[Node](Node)


@workflow(name="program")
async def program(source: str, patience: float | None) -> str:
    """Run a program, as long as patience lasts: many wait for what never comes.

    Args:
        source: the tree as JSON: each engine has a codec of its own, and would have to learn all the nodes anew.
        patience: seconds.
    """
    with CancelScope() if patience is None else move_on_after(patience):
        return repr(await World().run(_decoder.decode(source)))
    return "out of patience"


class Scenario(msgspec.Struct, frozen=True):
    """A program and its circumstances."""

    tree: Node
    patience: float | None = 0.05
    """Seconds, virtual ones."""
    cancel_after: int | None = None
    """Cancelled from outside after so many moves of the first life."""
    stop_after: int = 3
    """Moves after which the life that is stopped early ends: by closing the engine, or by breaking the store."""
    seed: int = 0
    """Of everything that is left to chance."""
    story: str = ""
    """What it found, for people."""

    @property
    def arguments(self) -> tuple[str, float | None]:
        """What the workflow is called with."""
        return msgspec.json.encode(self.tree).decode(), self.patience

    @property
    def is_brief(self) -> bool:
        """Whether it ends within a moment."""
        return self.patience is not None and self.patience < 1

    def dump(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def load(path: Path) -> Scenario:
    return msgspec.json.decode(path.read_bytes(), type=Scenario)

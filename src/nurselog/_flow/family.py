"""The child workflows that one workflow waits for, and what is on its way to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .children import Child
    from .host import Host


class Family:
    """The children of one workflow whose end has not been delivered."""

    __slots__ = ("_arranging", "_host", "children", "told")

    def __init__(self, host: Host) -> None:
        self._host = host
        self.children: dict[str, Child] = {}
        """By path."""
        self.told: list[Child] = []
        """Those that are to be cancelled."""
        self._arranging: list[Child] = []
        """Those about which something is on its way to the store: nothing else reminds of it before it is there."""

    @property
    def is_arranging(self) -> bool:
        """Whether something about some of them is on its way to the store."""
        return bool(self._arranging)

    def tell(self, child: Child) -> None:
        """Have a child cancelled, once the workflow is quiet and its log has been followed."""
        self.told.append(child)

    def cancel_told(self) -> None:
        """Have those cancelled that are to be, and have not ended since."""
        told, self.told = self.told, []
        for child in told:
            if self.children.get(child.path) is child:
                self._arrange(child, self._host.cancel_child)

    def adopt(self, orphans: Iterable[str]) -> None:
        """Have those made, of these paths, that the log has as another workflow's."""
        for path in self.children.keys() & orphans:
            self._arrange(self.children[path], self._host.make_orphan)

    def _arrange(self, child: Child, order: Callable[[Child], None]) -> None:
        self._arranging.append(child)
        order(child)

    def arranged(self, child: Child) -> None:
        """What was ordered for a child is durable."""
        self._arranging.remove(child)

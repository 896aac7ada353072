"""A case is a workflow of the corpus, entered by a decorator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ... import Workflow


@dataclass(frozen=True)
class Case:
    """A workflow of the corpus."""

    name: str
    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    cuts: int = 40
    """At how many places its log is cut at most, where that is up to whoever cuts."""
    threads: bool = False
    """Whether it has sync steps."""

    @property
    def slow(self) -> bool:
        """Whether it is too slow for every test, and for company."""
        return self.cuts <= _FEW

    def __str__(self) -> str:
        return self.name


_FEW = 3


def case(
    args: tuple[Any, ...] = (), cuts: int = 40, *, threads: bool = False
) -> Callable[[Callable[..., Awaitable[Any]]], Case]:
    """Make a case of an async function: a workflow that no engine knows unless it is told of it."""

    def make(fn: Callable[..., Awaitable[Any]]) -> Case:
        return Case(fn.__name__, Workflow(fn, f"corpus.{fn.__name__}", None), args, cuts, threads)

    return make


def cases_of(*modules: ModuleType) -> tuple[Case, ...]:
    """Return the cases in these modules, in the order in which they stand there."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Case))

"""A check is one clause of the contract of stores, as a program that a right store gets through."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TypeAlias
from unittest import SkipTest

import trio

from ... import UsageError
from ...abc import Clock, Store
from .records import LONG, StandingClock, using

MakeStore: TypeAlias = Callable[[Clock], Store]
"""Makes a store that is not open yet; all that it makes for one check have the same data, which are empty at first."""


class BrokenContract(AssertionError):
    """A store does not do what a store must.

    Attributes:
        check: what found it.
    """

    def __init__(self, check: Check, store: Store, problem: Exception) -> None:
        super().__init__(check, store, problem)
        self.check: Check = check
        self._store, self._problem = type(store).__qualname__, problem

    def __str__(self) -> str:
        file = inspect.getfile(self.check.run)
        where = [frame for frame in extract_tb(self._problem.__traceback__) if frame.filename == file][-1]
        return (
            f"{self._store} breaks the contract of stores in {self.check.name!r}. What must hold: {self.check.clause} "
            f"What happened at {Path(file).name}:{where.lineno}, `{where.line}`: {self._problem!r}"
        )


@dataclass(frozen=True)
class Bench:
    """What a check works with: a clock that stands, and as many stores on one set of data as it likes."""

    make: MakeStore
    clock: StandingClock = field(default_factory=StandingClock)

    def opened(self, worker: str = "a", duration: int = LONG) -> AbstractAsyncContextManager[Store]:
        """Open a store as another process would."""
        return using(self.make(self.clock), worker, duration)


@dataclass(frozen=True)
class Check:
    """One clause of the contract. Called with a function that makes stores, it passes, or says what is broken.

    It runs Trio by itself, by Trio's own clock; what time of day it is, the check decides.
    """

    run: Callable[[Bench], Awaitable[None]]
    shared: bool
    """Whether only stores must keep it that several processes use at the same time."""
    ordered: bool
    """Whether only stores must keep it that have one order for all workflows."""

    @property
    def name(self) -> str:
        """What it is called in a list of tests."""
        return self.run.__name__

    @property
    def clause(self) -> str:
        """What must hold."""
        return " ".join((self.run.__doc__ or "").split())

    def __str__(self) -> str:
        return self.name

    def __call__(self, make: MakeStore, *, ordered: bool = True) -> None:
        """See that stores keep this clause.

        Args:
            make: makes a store of a clock, not open yet. All that it makes in this call are on the same data, as
                stores of several processes are; these are empty at first. `shared` is asked before a store is open.
            ordered: whether workflows have one order, by key and by the time at which they are due. A store of
                several shards has one for each, and need not keep the clauses about it.

        Raises:
            BrokenContract: if they do not.
            unittest.SkipTest: if they need not; pytest knows it.
            UsageError: under `python -O`.
        """
        if not __debug__:  # pragma: no cover - the tests could not fail either
            raise UsageError("python -O takes the checks out of the checks: run them without it")
        bench = Bench(make)
        store = make(bench.clock)
        if self.shared and not store.shared:
            raise SkipTest("only stores that several processes use at the same time must keep this clause")
        if self.ordered and not ordered:
            raise SkipTest("only stores that have one order for all workflows must keep this clause")
        try:
            trio.run(self.run, bench)
        except Exception as exc:
            raise BrokenContract(self, store, exc) from exc


def clause(*, shared: bool = False, ordered: bool = False) -> Callable[[Callable[[Bench], Awaitable[None]]], Check]:
    """Make a check of a function whose docstring says what must hold."""

    def make(run: Callable[[Bench], Awaitable[None]]) -> Check:
        return Check(run, shared, ordered)

    return make


def checks_of(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks in these modules, in the order in which they stand there."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Check))

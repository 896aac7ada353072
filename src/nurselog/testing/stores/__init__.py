"""What a store must do, as checks: for those who write a store of their own.

A store is a class with the methods of `nurselog.abc.Store`. Whether it does what they say, three lines in a test file
find out:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_my_store(check, tmp_path):
        check(lambda clock: MyStore(tmp_path / "store.db", clock))

Each check is one clause of the contract, and its failure says which. nurselog's own stores go through the same ones.

Why a table of checks, and no class of tests to inherit from? What a store needs (a folder, a server, an empty schema)
is in the fixtures of whoever tests it, and a test function takes them as it always does; a class would need a method
for it, and a fixture that hands them on. And nothing here needs pytest: a check is called with a function, raises
`BrokenContract` or unittest's `SkipTest`, and may be run by anything.

Time of day is the check's own, also for leases, so that they expire when the check says so. Trio's clock is the real
one: a store may have threads and sockets, which a clock that jumps would overtake.
"""

from __future__ import annotations

from . import (
    asking,
    awaiting,
    children,
    claiming,
    deleting,
    fencing,
    living,
    manners,
    playing,
    posting,
    sending,
    writing,
)
from .checks import Bench as Bench
from .checks import BrokenContract as BrokenContract
from .checks import Check as Check
from .checks import MakeStore as MakeStore
from .checks import checks_of
from .records import StandingClock as StandingClock

CHECKS: tuple[Check, ...] = checks_of(
    writing, fencing, claiming, posting, awaiting, sending, children, deleting, asking, living, manners, playing
)
"""All that a store must do."""

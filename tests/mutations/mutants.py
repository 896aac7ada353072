"""Bugs that somebody might really commit, each with the law that it breaks and the tests that must find it.

A suite can run every line and every branch and still ask too little. So bugs are planted, one at a time, and each must
be found. They are chosen by what they break, not by what is easy to change: each is another mistake, small, plausible,
and harmless until a process dies or two things happen at once. None stops an import, and none can be seen by a type
checker.

`tests` is as narrow as is honest: tests of a law, of a layer's face or of the whole engine, and none that repeats the
code. Where a mutant was found by none, the test that was missing has been written.

`python -m tests.mutations` tries them. A `before` that occurs no more, or twice, is found by the suite: whoever changes
such a line plants the same mistake into the new one.
"""

from __future__ import annotations

from tests.mutations.of_clients import OF_CLIENTS
from tests.mutations.of_data import OF_DATA
from tests.mutations.of_elsewhere import OF_ELSEWHERE
from tests.mutations.of_engines import OF_ENGINES
from tests.mutations.of_steps import OF_STEPS
from tests.mutations.of_stores import OF_STORES
from tests.mutations.of_transactions import OF_TRANSACTIONS
from tests.mutations.of_workflows import OF_WORKFLOWS

MUTANTS = (
    *OF_WORKFLOWS,
    *OF_STEPS,
    *OF_ELSEWHERE,
    *OF_ENGINES,
    *OF_STORES,
    *OF_TRANSACTIONS,
    *OF_DATA,
    *OF_CLIENTS,
)

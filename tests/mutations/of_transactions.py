"""Bugs in transactions: what is written twice, or not at all, or by two."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

TRANSACTIONS = "tests/transactions/test_transaction"

OF_TRANSACTIONS = (
    Mutant(
        name="transaction-key-without-seed",
        breaks="an id that is used again does not find the outcomes of another workflow",
        file="_log/identity.py",
        before='f"{seed}/{workflow_id}", path',
        after="workflow_id, path",
        tests=("tests/log/test_identity.py::test_transaction_keys_tell_lives_of_one_id_apart",),
    ),
    Mutant(
        name="transaction-record-behind-commit",
        breaks="the outcome is committed together with what the body writes",
        file="_stores/_sqlite/transactions.py",
        before=(
            '            self._connection.execute(self._table.record, self._names | {"outcome": outcome})\n'
            '            self._connection.execute("COMMIT")\n'
        ),
        after=(
            '            self._connection.execute("COMMIT")\n'
            '            self._connection.execute(self._table.record, self._names | {"outcome": outcome})\n'
        ),
        tests=(f"{TRANSACTIONS}_races.py::test_a_file_that_fails_at_each_statement",),
    ),
    Mutant(
        name="transaction-number-not-compared",
        breaks="a body that commits and begins anew is found out",
        file="_stores/_postgres/transactions.py",
        before="if not (await self._execute(self._table.record)).rowcount:",
        after="if (await self._execute(self._table.record)).rowcount < 0:",
        tests=(f"{TRANSACTIONS}_bodies.py::test_what_the_body_has_committed_is_not_done_again",),
    ),
    Mutant(
        name="transaction-unanswered-taken-for-undone",
        breaks="a cancellation waits until it is known whether a transaction was committed",
        file="_flow/transacting.py",
        before="            found = await body.hold(partial(_ask, database, transaction))\n",
        after="            found = None\n",
        tests=(f"{TRANSACTIONS}_engines.py::test_a_cancellation_waits_for_what_is_not_known",),
    ),
    Mutant(
        name="transaction-left-open",
        breaks="what a thread has written that nobody waits for is undone",
        file="_stores/_sqlite/transactions.py",
        before="            if self._left:\n                self._close()\n",
        after="",
        tests=(f"{TRANSACTIONS}_lives.py::test_suspended_in_the_body_and_done_in_the_next_life",),
    ),
)

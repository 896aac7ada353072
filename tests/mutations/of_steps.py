"""Bugs in one part of the engine: what a step does, and what the log keeps of it."""

from __future__ import annotations

from tests.mutations.mutant import CHANGES, ENGINE, Mutant

OF_STEPS = (
    Mutant(
        name="closed-twice",
        breaks="who leaves a nursery that is closed already does not wait for ever",
        file="_flow/leftovers.py",
        before="        vars(nursery)[close.__name__] = _too_late\n",
        after="",
        tests=(f"{ENGINE}isolation.py::test_a_generator_that_a_step_leaves_half_way_holds_nothing_up",),
    ),
    Mutant(
        name="leaves-a-nursery",
        breaks="a step is told what it has left open, and its task is not used again",
        file="_flow/leftovers.py",
        before="return is_innermost(scope) and not current_task().child_nurseries",
        after="return is_innermost(scope)",
        tests=(f"{ENGINE}isolation.py::test_a_step_that_leaves_something_open_is_told[leaves_the_inner_block]",),
    ),
    Mutant(
        name="plain-deadlines-outside",
        breaks="a plain deadline is seen also where a durable scope is inside of it",
        file="_flow/guards.py",
        before="if is_innermost(strand.sequencer.root._trio):",
        after="if strand.scope is not None:",
        tests=("tests/flow/test_flow_scopes.py::test_plain_deadlines_are_refused_wherever_they_are",),
    ),
    Mutant(
        name="unclean-transactions",
        breaks="the task of a transaction that has left something open is not used again",
        file="_flow/body.py",
        before="            self.clean = leaves_nothing(scope)\n            if isinstance(value, Encoded):\n",
        after="            self.clean = isinstance(value, Encoded) or leaves_nothing(scope)\n"
        "            if isinstance(value, Encoded):\n",
        tests=(
            "tests/transactions/test_transaction_bodies.py::test_what_a_failed_attempt_has_left_open_ends_with_its_task",
        ),
    ),
    Mutant(
        name="error-beside-cancel",
        breaks="an error in a group is the step's outcome, also beside what is none",
        file="_flow/body.py",
        before=("error = split_error(exc)[0]\n            if error is None and scope"),
        after=("error = exc if isinstance(exc, Exception) else None\n            if error is None and scope"),
        tests=(f"{ENGINE}isolation.py::test_what_is_no_error_does_not_hide_one",),
    ),
    Mutant(
        name="retry-when-cancelled",
        breaks="a step whose scope is cancelled is not tried again",
        file="_flow/body.py",
        before="if scope.cancel_called or self.attempt >= step.retry.attempts",
        after="if self.attempt >= step.retry.attempts",
        tests=("tests/flow/test_flow_corners.py::test_what_fails_when_it_is_cancelled_is_not_tried_again",),
    ),
    Mutant(
        name="retry-at-once",
        breaks="the next attempt waits for its due time, also after a crash",
        file="_flow/body.py",
        before=("        if self._history.due:\n            await clock.sleep_until(self._history.due)\n"),
        after="",
        tests=(f"{ENGINE}crash.py::test_attempts_and_due_times_survive_crashes",),
    ),
    Mutant(
        name="timeout-anew",
        breaks="a step's timeout counts from its first beginning, in whatever life that was",
        file="_flow/body.py",
        before="with trio.move_on_after(max(0.0, step.timeout - spent)):",
        after="with trio.move_on_after(step.timeout):",
        tests=(f"{ENGINE}crash.py::test_a_timeout_goes_on_over_a_crash",),
    ),
    Mutant(
        name="begun-before-durable",
        breaks="an at_most_once body begins only when the log says so",
        file="_flow/body.py",
        before="            await sequencer.log.written(row)\n",
        after="            await trio.lowlevel.checkpoint()\n",
        tests=(f"{ENGINE}crash.py::test_at_most_once_waits_until_its_beginning_is_durable",),
    ),
    Mutant(
        name="key-of-attempt",
        breaks="a step's idempotency key is the same over retries",
        file="_flow/body.py",
        before="return step_key(self.call.sequencer.id, self.call.operation.path)",
        after='return step_key(f"{self.call.sequencer.id} {self.attempt}", self.call.operation.path)',
        tests=(f"{ENGINE}crash.py::test_attempts_and_due_times_survive_crashes",),
    ),
    Mutant(
        name="key-of-seed",
        breaks="a step's idempotency key is another one in a fork",
        file="_flow/body.py",
        before="return step_key(self.call.sequencer.id,",
        after="return step_key(self.call.sequencer.seed,",
        tests=(f"{ENGINE}forks.py::test_a_fork_has_the_prefix_and_its_own_future",),
    ),
    Mutant(
        name="other-arguments",
        breaks="a recorded outcome belongs to a call with the same arguments",
        file="_flow/call.py",
        before="event.digest is not None and digests[0] is not None and event.digest not in digests:",
        after="event.digest is None:",
        tests=(f"{CHANGES}changed_code_is_found[other_arguments]",),
    ),
    Mutant(
        name="digest-of-positions",
        breaks="keywords are arguments, too",
        file="_log/codec.py",
        before='data = _to_json(args, 1) + (_to_json(kwargs) if kwargs else b"")',
        after="data = _to_json(args, 1)",
        tests=("tests/log/test_digests.py",),
    ),
    Mutant(
        name="nan-is-null",
        breaks="a value of which JSON would lose something is refused",
        file="_log/codec.py",
        before='whole = value is None or b"null" not in data or _is_finite(value)',
        after="whole = True",
        tests=("tests/log/test_codec.py::test_a_refusal_names_the_place",),
    ),
    Mutant(
        name="unlike-twin",
        breaks="an error is rebuilt only if that gives the same error",
        file="_log/failures.py",
        before="same = type(twin) is type(exc) and _parts(twin, nesting) == parts and _prints_alike(twin, exc)",
        after="same = type(twin) is type(exc) and _prints_alike(twin, exc)",
        tests=("tests/log/test_failures.py::test_what_cannot_be_rebuilt_is_a_failed_step",),
    ),
    Mutant(
        name="another-type",
        breaks="an error whose class has gone makes its workflow stuck, and is never silently another one",
        file="_log/failures.py",
        before='            raise StuckError(\n                f"the log has an error of type',
        after=(
            "            return StepFailed(record.type_name, record.message, record.traceback)\n"
            "            raise StuckError(\n"
            '                f"the log has an error of type'
        ),
        tests=("tests/log/test_error_records.py::test_a_type_that_is_gone_is_never_another_type",),
    ),
)

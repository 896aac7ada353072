"""Bugs in one part of the engine: steps that run in asyncio or in worker processes."""

from __future__ import annotations

from tests.mutations.mutant import ENGINE, Mutant

OF_ELSEWHERE = (
    Mutant(
        name="own-cancel-is-ours",
        breaks="a function that cancels itself has failed, and was not cancelled by the workflow",
        file="_engine/crossing.py",
        before="        if self._cancelled is not None:\n            self._cancelled()\n",
        after="        self._cancelled and self._cancelled()\n        raise exc\n",
        tests=(f"{ENGINE}asyncio_cancelled.py::test_a_cancellation_of_its_own_is_an_error",),
    ),
    Mutant(
        name="left-unseen",
        breaks="a step that leaves asyncio tasks behind is told off",
        file="_engine/crossing.py",
        before="        self._body.left += left\n",
        after="",
        tests=(f"{ENGINE}asyncio.py::test_tasks_that_are_left_behind_are_told_by_name",),
    ),
    Mutant(
        name="cancelled-is-left",
        breaks="tasks that were cancelled are waited for, and nothing is said",
        file="_engine/crossing.py",
        before="                if not task.cancelling():\n",
        after="                if True:\n",
        tests=(f"{ENGINE}asyncio.py::test_tasks_that_were_cancelled_are_waited_for",),
    ),
    Mutant(
        name="attempts-leave-for-each-other",
        breaks="what a failed attempt has left behind is not the next one's",
        file="_flow/body.py",
        before="                self.left.clear()\n",
        after="",
        tests=(f"{ENGINE}asyncio_ends.py::test_what_a_failed_attempt_has_left_is_forgotten",),
    ),
    Mutant(
        name="told-once",
        breaks="a function that cleans up hears of a further cancellation",
        file="_flow/body.py",
        before="        for one in self.aside:\n            one.cancel()\n",
        after="",
        tests=(
            f"{ENGINE}asyncio_cancelled.py::test_a_second_cancellation_reaches_a_cleanup",
            f"{ENGINE}asyncio_ends.py::test_a_cleanup_is_hurried_up_when_the_engine_closes",
        ),
    ),
    Mutant(
        name="begun-without-a-loop",
        breaks="a step that had nowhere to run has not begun",
        file="_flow/body.py",
        before="            if step.venue.is_elsewhere and step._stand_in is None:\n",
        after=(
            "            if step.at_most_once:\n"
            "                await self._begin_once()\n"
            "            if step.venue.is_elsewhere and step._stand_in is None:\n"
        ),
        tests=(f"{ENGINE}asyncio_ends.py::test_without_the_library_nothing_has_begun",),
    ),
    Mutant(
        name="main-of-a-worker",
        breaks="an error of the main program's, from a worker process, is found by later lives",
        file="_log/packing.py",
        before=', "__mp_main__": "__main__"',
        after="",
        tests=(f"{ENGINE}processes.py::test_an_error_of_the_main_program_is_found_again",),
    ),
)

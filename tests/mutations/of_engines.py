"""Bugs in one part of the engine: the journal, leases, eviction, and what comes from outside."""

from __future__ import annotations

from tests.mutations.mutant import CORPUS, ENGINE, Mutant

OF_ENGINES = (
    Mutant(
        name="delivered-before-commit",
        breaks="the code sees an outcome only when it is durable",
        file="_engine/journal.py",
        before=(
            "        if self._flying:\n            self._flying.answer(await self._commit(self._flying.batch()))\n"
        ),
        after=(
            "        if self._flying:\n"
            "            batch = self._flying.batch()\n"
            "            for part in self._flying.parts.values():\n"
            "                rows, part.rows = part.rows, []\n"
            "                for row, event in rows:\n"
            "                    part.writer.committed(row, event)\n"
            "            self._flying.answer(await self._commit(batch))\n"
        ),
        tests=(f"{CORPUS}the_store_breaks[task_groups_in_nurseries]",),
    ),
    Mutant(
        name="refused-and-told",
        breaks="a row that the fence has refused was never written",
        file="_engine/journal.py",
        before=("            writer.refused()\n            return\n"),
        after="            writer.refused()\n",
        tests=(f"{ENGINE}many.py::test_an_end_that_was_refused_is_nobodys_answer",),
    ),
    Mutant(
        name="held-overtaken",
        breaks="what comes while messages wait for room waits behind them",
        file="_engine/runner.py",
        before="(run.held or run.sequencer.inbox.unread >= self.max_inbox)",
        after="run.sequencer.inbox.unread >= self.max_inbox",
        tests=(f"{ENGINE}inbox.py::test_what_there_is_no_room_for_keeps_its_place",),
    ),
    Mutant(
        name="two-runs-one-part",
        breaks="what a lost run had to say is not mixed with what the next one says",
        file="_engine/journal.py",
        before="if part is not None and part.writer is not writer:",
        after="if part is not None and part.writer.key != writer.key:",
        tests=(f"{ENGINE}lots.py::test_what_a_former_run_has_to_say_is_dropped_from_all_lots",),
    ),
    Mutant(
        name="first-word-counts",
        breaks="of two changes of a workflow's standing in one batch the last one counts",
        file="_engine/journal.py",
        before="self._part(writer).standing = standing",
        after=("part = self._part(writer)\n        part.standing = part.standing or standing"),
        tests=(f"{ENGINE}outside.py::test_a_cancellation_and_a_kill_that_are_seen_together",),
    ),
    Mutant(
        name="lease-from-the-answer",
        breaks="a lease counts from when it was asked for",
        file="_engine/ownership.py",
        before="self._expires = asked + self._lease.duration / 1e6 if",
        after="self._expires = trio.current_time() + self._lease.duration / 1e6 if",
        tests=(f"{ENGINE}many.py::test_a_lease_counts_from_when_it_was_asked_for",),
    ),
    Mutant(
        name="given-up-too-late",
        breaks="who cannot renew a lease suspends its workflows before it runs out",
        file="_engine/ownership.py",
        before="while self.lease_left > self._beat / 2:",
        after="while self.lease_left > -self._beat:",
        tests=(f"{ENGINE}many.py::test_a_lease_that_cannot_be_renewed_in_time_loses_no_workflow",),
    ),
    Mutant(
        name="no-room",
        breaks="no more workflows are taken up than there is room for",
        file="_engine/ownership.py",
        before="limit := min(self.room, _BATCH)",
        after="limit := max(self.room, _BATCH)",
        tests=(f"{ENGINE}evict.py::test_no_more_than_max_running_at_a_time",),
    ),
    Mutant(
        name="sleeps-for-ever",
        breaks="what is evicted wakes when its timer is due",
        file="_engine/run.py",
        before=("            self.wake_at = self.sequencer.idle_until\n            self.sequencer.suspend()\n"),
        after=("            self.sequencer.suspend()\n            self.wake_at = self.sequencer.idle_until\n"),
        tests=(f"{ENGINE}evict.py::test_what_only_sleeps_leaves_memory_and_wakes_when_due",),
    ),
    Mutant(
        name="evicted-in-flight",
        breaks="a workflow stays in memory while a step of it is under way",
        file="_flow/sequencer.py",
        before="busy = self.runnable or self.calls or self.log.coming",
        after="busy = self.runnable or self.log.coming",
        tests=(f"{ENGINE}evict.py::test_what_has_a_step_in_flight_stays",),
    ),
    Mutant(
        name="cancelling-no-more",
        breaks="a cancelled workflow that waits in its cleanup is still cancelling",
        file="_engine/run.py",
        before="status = Status.WAITING if self.status is Status.RUNNING else self.status",
        after="status = Status.WAITING",
        tests=(f"{ENGINE}evict.py::test_a_cancelled_workflow_that_waits_in_its_cleanup_is_still_cancelling",),
    ),
    Mutant(
        name="entered-twice",
        breaks="a message is entered once, however often it is seen",
        file="_engine/runner.py",
        before="        run.entered.add(message.number)\n",
        after="",
        tests=(f"{ENGINE}overlaps.py::test_a_message_is_entered_once_however_often_it_is_seen",),
    ),
    Mutant(
        name="missed-before-the-end",
        breaks="a reader that has found nothing looks once more when the workflow is found to have ended",
        file="_engine/follower.py",
        before="        if found := await self._behind():  # it came between the two looks\n            return found\n",
        after="",
        tests=(f"{ENGINE}follower.py::test_rows_that_come_between_the_two_looks_come_before_the_end",),
    ),
    Mutant(
        name="deaf-reader",
        breaks="who follows is told of public rows at once",
        file="_engine/run.py",
        before="            self._runner.readers.tell(self.key)\n        if isinstance(event, Ended):",
        after="            pass\n        if isinstance(event, Ended):",
        tests=(f"{ENGINE}streams.py::test_an_item_says_when_it_was_published",),
    ),
    Mutant(
        name="earlier-timer",
        breaks="a timer that is due before all others is watched at once",
        file="_engine/timing.py",
        before=("        if self._heap[0] is entry:\n            self._earlier.set()\n"),
        after=("        if len(self._heap) == 1:\n            self._earlier.set()\n"),
        tests=(f"{ENGINE}timers.py::test_a_timer_that_is_set_later_and_due_earlier",),
    ),
    Mutant(
        name="answered-before",
        breaks="who asks again by a key gets the answer that there is, wherever in the log",
        file="_engine/updating.py",
        before="known if posted is Posted.LEFT else 0",
        after="known",
        tests=(f"{ENGINE}updates.py::test_a_post_whose_answer_is_lost",),
    ),
    Mutant(
        name="asked-twice",
        breaks="a workflow is asked once for each key",
        file="_engine/office.py",
        before='once = f"update {key}"',
        after="once = None",
        tests=(f"{ENGINE}updates.py::test_the_same_key_is_the_same_update",),
    ),
    Mutant(
        name="goes-on-for-a-query",
        breaks="a log that is followed for a query ends where it ends: nothing begins, and who looks sees that state",
        file="_engine/replaying.py",
        before="        self._quiet.set()\n        return False\n",
        after="        self._quiet.set()\n        return True\n",
        tests=(f"{ENGINE}queries.py::test_the_same_answers_from_wherever",),
    ),
    Mutant(
        name="old-state",
        breaks="a workflow that has not followed its log has no state to be asked about",
        file="_flow/sequencer.py",
        before="return self._live and self.phase is Phase.RUNNING",
        after="return self.phase is Phase.RUNNING",
        tests=(f"{ENGINE}queries.py::test_one_that_is_on_its_first_way",),
    ),
    Mutant(
        name="misfit-keeps-waiting",
        breaks="an update that does not fit its reader is answered, with the error",
        file="_flow/updates.py",
        before="        self._sequencer.note(Answered(key=key, result=Result.ERROR), data)\n",
        after="",
        tests=("tests/flow/test_flow_updates.py::test_what_does_not_fit_is_rejected_and_nobody_sees_it",),
    ),
)

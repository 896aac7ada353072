"""Bugs in one part of the engine: the fence, claims and workers."""

from __future__ import annotations

from tests.mutations.mutant import CONTRACT, STORE, Mutant

OUTBOX, EARLY = "tests/stores/test_outbox_connections.py::", "tests/stores/test_store_early.py::"

OF_STORES = (
    Mutant(
        name="sqlite-fence",
        breaks="who was taken over writes nothing more",
        file="_stores/_sqlite/bulk.py",
        before="SELECT writer = column5 AND seq >= column9 - 1 FROM",
        after="SELECT seq >= column9 - 1 FROM",
        tests=(f"{CONTRACT}file-who_was_taken_over_is_refused_and_others_are_not]",),
    ),
    Mutant(
        name="sqlite-gap",
        breaks="seqs are dense: what does not follow the last row is refused",
        file="_stores/_sqlite/bulk.py",
        before="SELECT writer = column5 AND seq >= column9 - 1 FROM",
        after="SELECT writer = column5 FROM",
        tests=(f"{CONTRACT}file-a_gap_is_refused]",),
    ),
    Mutant(
        name="sqlite-half-a-family",
        breaks="a family is deleted whole or not at all",
        file="_stores/_sqlite/deletion.py",
        before="for members in families.values() if not _living(members) for member in members]",
        after="for members in families.values() for member in members if member.status.final]",
        tests=(f"{CONTRACT}file-a_family_of_which_one_has_not_ended_is_left_as_it_is]",),
    ),
    Mutant(
        name="sqlite-namesakes",
        breaks="who is deleted with a root descends from it",
        file="_stores/_sqlite/deletion.py",
        before="member.id > root.id || '/' AND",
        after="member.id > root.id AND",
        tests=(f"{CONTRACT}file-a_family_that_has_ended_is_removed_whole]",),
    ),
    Mutant(
        name="sqlite-theft",
        breaks="what has a living owner is not claimed",
        file="_stores/_sqlite/claims.py",
        before="WHERE owner IS NULL AND due_at <= :now AND",
        after="WHERE due_at <= :now AND",
        tests=(f"{CONTRACT}file-only_what_is_due_is_claimed_and_the_earliest_first]",),
    ),
    Mutant(
        name="sqlite-expired-lease",
        breaks="a lease that has run out is not extended: somebody may have taken over",
        file="_stores/_sqlite/workers.py",
        before="WHERE id = :worker AND expires_at > :now",
        after="WHERE id = :worker",
        tests=(f"{CONTRACT}file-who_is_too_late_owns_nothing_and_begins_anew]",),
    ),
    Mutant(
        name="sqlite-lost-wake-up",
        breaks="a message that comes when its workflow is being let go wakes it",
        file="_stores/_sqlite/commits.py",
        before="WHEN new.status <> :stuck AND EXISTS (",
        after="WHEN new.status = :stuck AND EXISTS (",
        tests=(f"{CONTRACT}file-a_message_wakes_who_has_just_let_go]",),
    ),
    Mutant(
        name="sqlite-orphan",
        breaks="only a worker that is there owns: nobody would see that another one is gone",
        file="_stores/_sqlite/creations.py",
        before="(SELECT id FROM worker WHERE id = json_extract(value, '$[7]'))",
        after="json_extract(value, '$[7]')",
        tests=(f"{CONTRACT}file-only_a_worker_that_is_there_may_own]",),
    ),
    Mutant(
        name="sqlite-owner-alone",
        breaks="what comes without rows is refused if the workflow was claimed since, by the same worker",
        file="_stores/_sqlite/commits.py",
        before="log.writer IS NOT coalesce(append.writer, log.writer)",
        after="(append.last IS NOT NULL AND log.writer IS NOT append.writer)",
        tests=(f"{CONTRACT}file-without_rows_the_last_claim_decides]",),
    ),
    Mutant(
        name="sqlite-creation-fresh",
        breaks="a creation that is tried again says whether there is more behind it",
        file="_stores/_sqlite/creations.py",
        before="    return None if found is None else bool(found[0])\n",
        after="    return None if found is None else False\n",
        tests=(f"{CONTRACT}file-a_creation_whose_answer_was_lost_may_have_gone_on]",),
    ),
    Mutant(
        name="sqlite-creation-lost",
        breaks="a creation whose answer was lost is one's own when it is tried again",
        file="_stores/_sqlite/creations.py",
        before="            again[creation.id] = creation, gone_on\n",
        after="            pass\n",
        tests=(f"{CONTRACT}file-a_creation_whose_answer_was_lost_is_ones_own]",),
    ),
    Mutant(
        name="sqlite-half-an-outbox",
        breaks="what an outbox could not write as a whole it does not leave in the application's transaction",
        file="_stores/_sqlite/outlet.py",
        before='            connection.execute("ROLLBACK TO nurselog")\n',
        after="",
        tests=(f"{OUTBOX}test_what_fails_half_way_leaves_nothing_in_the_transaction",),
    ),
    Mutant(
        name="postgres-fence",
        breaks="who was taken over writes nothing more",
        file="_stores/_postgres/commits.py",
        before=' AND before.writer = $6"""',
        after='"""',
        tests=(f"{STORE}postgres_fence.py::test_a_takeover_under_way_refuses_who_is_taken_over",),
    ),
    Mutant(
        name="postgres-no-collision",
        breaks="an append that meets a takeover is written whole or not at all",
        file="_stores/sql/postgres_0001.sql",
        before="    WHERE line.seq > line.last ORDER BY line.workflow, line.seq;",
        after=("    WHERE line.seq > line.last ORDER BY line.workflow, line.seq\n    ON CONFLICT DO NOTHING;"),
        tests=(f"{STORE}postgres_fence.py::test_a_takeover_under_way_refuses_who_is_taken_over",),
    ),
    Mutant(
        name="postgres-late-claim",
        breaks="a claim that was given up takes nothing when it arrives after all",
        file="_stores/sql/postgres_0001.sql",
        before=" AND expires_at > clock AND undone < in_claim",
        after=" AND expires_at > clock",
        tests=(f"{STORE}postgres_cuts.py::test_a_claim_that_arrives_when_it_was_given_up",),
    ),
    Mutant(
        name="postgres-undoes-what-is-claimed-again",
        breaks="a claim that is undone late, or twice, gives nothing away of what the worker has claimed since",
        file="_stores/sql/postgres_0001.sql",
        before=(
            "writer_of(in_claim, key) = (\n            SELECT log.writer FROM log "
            "WHERE log.shard = in_shard AND log.workflow = key ORDER BY log.seq DESC LIMIT 1"
        ),
        after=(
            "writer_of(in_claim, key) IN (\n            SELECT log.writer FROM log "
            "WHERE log.shard = in_shard AND log.workflow = key"
        ),
        tests=(f"{STORE}postgres_faults.py::test_a_claim_is_undone_late",),
    ),
    Mutant(
        name="postgres-waiting-claim",
        breaks="who claims passes over what somebody else is just claiming",
        file="_stores/sql/postgres_0001.sql",
        before="ORDER BY due_at, workflow.key LIMIT in_limit FOR UPDATE SKIP LOCKED",
        after="ORDER BY due_at, workflow.key LIMIT in_limit FOR UPDATE",
        tests=(f"{STORE}postgres_fence.py::test_due_workflows_that_somebody_holds_are_passed_over",),
    ),
    Mutant(
        name="postgres-orphans",
        breaks="a family is not deleted while a descendant has not ended",
        file="_stores/sql/postgres_0001.sql",
        before="AND workflow.key = ANY (family) AND NOT is_final(workflow.status)",
        after="AND workflow.key = root AND NOT is_final(workflow.status)",
        tests=(f"{CONTRACT}postgres-a_family_of_which_one_has_not_ended_is_left_as_it_is]",),
    ),
    Mutant(
        name="postgres-early-unseen",
        breaks="an outbox whose snapshot is older than an early message does not overlook it",
        file="_stores/sql/postgres_0001.sql",
        before="IF current_setting('transaction_isolation') <> 'read committed' THEN",
        after="IF FALSE THEN",
        tests=(f"{EARLY}test_an_outbox_that_cannot_see_what_was_kept_must_try_again",),
    ),
    Mutant(
        name="postgres-early-again",
        breaks="a message for a workflow that comes into being meanwhile is asked for again",
        file="_stores/_postgres/mail.py",
        before="    while places := [place for place in range(len(messages)) if place not in became]:\n",
        after="    for places in [list(range(len(messages)))]:\n",
        tests=(f"{EARLY}test_who_is_early_waits_for_a_workflow_that_is_being_made",),
    ),
    Mutant(
        name="postgres-restart",
        breaks="beacons of before a restart of the server say nothing",
        file="_stores/sql/postgres_0001.sql",
        before="SELECT CASE WHEN lit_since = server_start() THEN",
        after="SELECT CASE WHEN lit_since <= server_start() THEN",
        tests=(f"{STORE}postgres_faults.py::test_beacons_of_before_a_restart_say_nothing",),
    ),
)

"""What workflow code may know of itself: its id and place, the time, randomness, and whether a patch applies."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import datetime

from .._errors import OutsideWorkflowError
from .._log.events import Patched
from .._log.identity import seeded_random, seeded_uuid4
from .body import Body
from .current import current_strand
from .names import patch_name
from .strand import place
from .times import from_microseconds


def now() -> datetime:
    """Return the time of the last event that the workflow has been given, UTC.

    The same on every replay, and never earlier than before. It stands still while the workflow computes.
    """
    return from_microseconds(current_strand("now").sequencer.now)


def rng() -> _random.Random:
    """Return a random generator of its own, seeded by the workflow and the place of this call."""
    strand = current_strand("rng")
    return seeded_random(strand.sequencer.seed, strand.operation().path)


def uuid4() -> _uuid.UUID:
    """Return a random UUID that is the same on every replay."""
    strand = current_strand("uuid4")
    return seeded_uuid4(strand.sequencer.seed, strand.operation().path)


def workflow_id() -> str:
    """Return the id of the workflow that runs here; works in steps too.

    Raises:
        OutsideWorkflowError: if none does.
    """
    here = place.get()
    if isinstance(here, Body):
        return here.call.sequencer.id
    return current_strand("workflow_id").sequencer.id


def step_key() -> str:
    """Return the idempotency key of the step that runs here, to be given to other services.

    URL-safe, at most 64 characters; a digest of the workflow's id and the step's path, so the same for all attempts
    and after a crash, and another one in a fork.

    Raises:
        OutsideWorkflowError: if no recorded step runs here.
    """
    return _body("step_key").key


def attempt() -> int:
    """Return which attempt of the step runs here, from 1.

    Raises:
        OutsideWorkflowError: if no recorded step runs here.
    """
    return _body("attempt").attempt


def _body(what: str) -> Body:
    here = place.get()
    if not isinstance(here, Body):
        raise OutsideWorkflowError(f"{what}() works inside a step that a workflow has called")
    return here


def patched(name: str) -> bool:
    """Return whether this run uses the code's new way, so that workflows that are under way can keep the old one.

    Args:
        name: what the change is called. There is one answer for each run and name.

    Returns:
        True where the workflow gets to this place for the first time, and in all its later replays; False where its
        log shows that it has passed here with the old code.
    """
    strand = current_strand("patched")
    name = patch_name(name)
    sequencer = strand.sequencer
    answer = sequencer.answers.get(name)
    if answer is None:
        delivered = sequencer.cursor.delivered
        before = {path for path, call in sequencer.calls.items() if call.since < delivered}
        found = sequencer.cursor.patched(name, before)
        if found is None:
            sequencer.log.append_note(Patched(name=name))
        answer = sequencer.answers[name] = found is not False
    return answer

"""The judge's account of messages: a right database agrees with it, and wrong ones do not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext

import pytest

from nurselog.abc import Append, Batch, Lease, Post, Posted, WorkflowKey
from nurselog.testing.stores.records import creation, note, over, rows, sleeping
from tests.simulation import breakages
from tests.simulation.breakages import Breakage
from tests.simulation.database import Database
from tests.simulation.mail import Mail

ME, YOU = WorkflowKey(1), WorkflowKey(2)

FOUND: dict[Breakage, str] = {
    breakages.mail_kept: "must be None",
    breakages.mail_lost: "there is None",
    breakages.words_forgotten: "was said that it is left, not known",
    breakages.bounds_forgotten: "was said that it is left, not full",
    breakages.mail_of_the_refused: "must be None",
    breakages.mail_of_appends_lost: "there is None",
}
"""What is wrong on purpose, and what is said of it."""


def told(breakage: Breakage) -> Sequence[str]:
    """Let two workflows get messages from outside and from each other; return what the judge finds."""
    database = Database(lambda: 0, random.Random(0))
    database.enter(Lease(worker="a", duration=1))
    database.commit("a", Batch(creations=[creation("w/1", 1, owner="a"), creation("w/2", 2, owner="a")]), 0)
    mail = Mail(database)

    def post(*posts: Post) -> None:
        mail.posted(posts, [*map(Posted.of, database.post(posts))])

    def commit(*appends: Append) -> None:
        batch = Batch(appends=appends)
        mail.committed(batch, database.commit("a", batch, 0))

    with breakage():
        post(note(ME, once="x"), note(ME, once="x"), note(ME, most=1), note(WorkflowKey(3)))
        sender = Append(key=ME, rows=rows(2, 2, 1), posts=[note(YOU, b"1", once="1"), note(YOU, b"2", once="2")])
        commit(sender)
        commit(sender)
        commit(Append(key=YOU, rows=rows(2, 2, 3), posts=[note(ME, once="refused")]))
        commit(Append(key=YOU, standing=sleeping()))
        commit(Append(key=ME, taken=[number for number, one in database.messages.items() if one.key == ME]))
        post(note(ME, once="x"), note(YOU, once="1"))
        commit(Append(key=ME, standing=over()))
        post(note(ME, once="x"))
    return [problem for _, problem in mail.problems]


def test_an_account_that_agrees() -> None:
    assert told(nullcontext) == []


@pytest.mark.parametrize("breakage", FOUND)
def test_what_is_wrong_with_messages_is_found(breakage: Breakage) -> None:
    problems = told(breakage)
    assert any(FOUND[breakage] in problem for problem in problems), problems

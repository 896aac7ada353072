"""One run: a pure function of its seed."""

from __future__ import annotations

import gc
import hashlib
import logging
import random
import secrets
import traceback
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import msgspec

from nurselog._engine import journal
from nurselog.testing.clock import in_virtual_time
from tests.simulation.cluster import Cluster
from tests.simulation.judge import Complaints, Judge
from tests.simulation.laws import Breach, Law
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.tally import Tally, Thing
from tests.watchdog import watchdog


@dataclass(frozen=True)
class Verdict:
    """What became of a run."""

    plan: Plan
    breaches: tuple[Breach, ...]
    tally: Tally
    judge: Judge
    digest: str
    """Of all that has happened, and all that is left."""


def simulate(seed: int, plan: Plan | None = None) -> Verdict:
    """Run a seed."""
    plan = plan or draw_plan(seed)
    tally: Tally = Counter()
    cluster = Cluster(plan, tally)
    judge = cluster.judge
    with _blamed(judge), _no_collector(), _seeded(seed), _hearing(judge), _full_soon(seed):
        in_virtual_time(lambda _: cluster.run(), seed)
    if not judge.breaches:
        judge.conclude()
    if not judge.breaches:
        judge.replay()
    tally[Thing.SEEDS] += 1
    return Verdict(plan, tuple(judge.breaches), tally, judge, _digest(cluster))


def _digest(cluster: Cluster) -> str:
    found = hashlib.blake2b(digest_size=16)
    for line in cluster.judge.trace:
        found.update(line.encode())
    for key, log in cluster.database.logs.items():
        found.update(msgspec.msgpack.encode((cluster.database.workflows[key], log)))
    return found.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let what is drawn by the operating system's dice follow from the seed."""
    chance = random.Random(f"engines {seed}")
    with (
        patch.object(secrets, "token_hex", lambda size: chance.randbytes(size).hex()),
        patch.object(secrets, "randbits", chance.getrandbits),
        patch.object(uuid, "uuid4", lambda: uuid.UUID(bytes=chance.randbytes(16), version=4)),
    ):
        yield


def _full_soon(seed: int) -> AbstractContextManager[int]:
    """Let the journal's lots be full with few workflows: a run has not the thousands that it takes otherwise."""
    return patch.object(journal, "MOST", 1 + seed % 4)


@contextmanager
def _no_collector() -> Iterator[None]:
    """When circles are collected is no function of the seed, and what is waited for may hang on it."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def _hearing(judge: Judge) -> Iterator[None]:
    """Have the judge hear what engines complain of, and nobody else."""
    logger, complaints = logging.getLogger("nurselog"), Complaints(judge)
    before = logger.level, logger.propagate
    logger.addHandler(complaints)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(complaints)
        logger.setLevel(before[0])
        logger.propagate = before[1]


@contextmanager
def _blamed(judge: Judge) -> Iterator[None]:
    """Have the judge hear of what breaks the whole run, or keeps it from its end."""
    try:
        with watchdog():
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - it is the run's, whatever it is
        judge.broken(Law.HEALTHY, "".join(traceback.format_exception(exc)))

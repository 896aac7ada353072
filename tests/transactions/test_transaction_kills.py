"""Processes that are killed with -9 in the middle of transactions: each is there once and as a whole, or will be.

What is tried here is a sample: `nox -s transactions` kills at each statement, and for as long as it is told.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.house.tree import ROOT
from tests.transactions.bank import Bank

ACCOUNTS = 50
KILLS = 2
"""In each test here, for each unit of scale."""
STRIDE = 9
"""One of so many moments is tried."""


@contextmanager
def teller(bank: Bank, *mode: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.transactions.teller", bank.store, bank.shop or "-", *mode]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    return line.strip()


def test_killed_between_any_two_statements(bank: Bank, scale: int) -> None:
    bank.open_accounts(2)
    stride = STRIDE if scale == 1 else 1
    with teller(bank, "moments", str(random.randrange(stride)), str(stride)) as process:
        said, errors = process.communicate()
    assert said, errors
    lives, code = map(int, said.split())
    assert code == 0, errors
    print(f"{lives} lives were killed")
    assert lives >= 20 // stride, "it was killed too rarely for this to say anything"
    assert len(bank.judge(2)) == 2 * (lives + 1)


class Reader:
    """Looks at the sum of all accounts, again and again, as somebody else does."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._stopped = threading.Event()
        self.sums: set[int] = set()
        self.looks = 0
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        with self._bank.connection() as connection:
            while not self._stopped.is_set():
                [(total,)] = connection.execute("SELECT sum(amount) FROM account").fetchall()
                self.sums.add(total)
                self.looks += 1
                self._stopped.wait(0.001)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


def test_fifty_accounts_keep_their_sum_at_every_moment(own_bank: Bank, scale: int) -> None:
    bank = own_bank
    bank.open_accounts(ACCOUNTS)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with Reader(bank) as reader:
        for kill in range(KILLS * scale):
            with teller(bank, "busy", f"a{kill}") as one, teller(bank, "busy", f"b{kill}") as other:
                assert heard(one) == heard(other) == "up"
                time.sleep(dice.random() * 0.5)
        with teller(bank, "finish") as last:
            assert last.wait(120) == 0
    assert reader.sums == {ACCOUNTS * 100}
    assert reader.looks > 100
    done = bank.judge(ACCOUNTS)
    assert len(done) % 4 == 0
    assert len(done) >= 4 * KILLS


def test_an_old_owner_that_was_stopped_in_its_body_and_goes_on_when_another_waits(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It has the key, and the new owner waits for it; then it sees that it is no owner any more, or commits first."""
    bank = Bank(request.getfixturevalue("postgres_url"))
    bank.open_accounts(2)
    with teller(bank, "body", str(tmp_path)) as old:
        assert heard(old) == "in the body"
        old.send_signal(signal.SIGSTOP)
        with teller(bank, "body", str(tmp_path)) as new:
            _wait_for_blocked(bank)
            (tmp_path / "go").touch()
            old.send_signal(signal.SIGCONT)
            assert heard(new) in {"one", "in the body"}
            assert new.wait(60) == 0
        assert heard(old) == "one"
    assert bank.judge(2) == ["one"]
    assert bank.keys() == [b'"one"']


def _wait_for_blocked(bank: Bank) -> None:
    """Wait until somebody waits for somebody else's key."""
    deadline = time.monotonic() + 60
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'"
    while not bank.ask(query)[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.02)

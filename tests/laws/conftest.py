"""How often the laws are tried, and what was tried."""

from __future__ import annotations

import math

import pytest

from tests.laws.harness import tally


@pytest.fixture(scope="session")
def seeds(scale: int) -> range:
    """Seeds for Trio's scheduler and for what bodies draw: one for each round through the corpus."""
    return range(math.isqrt(scale))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally["lives"]:
        terminalreporter.write_line("laws: " + ", ".join(f"{count:,} {what}" for what, count in sorted(tally.items())))

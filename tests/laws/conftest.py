"""Says at the end how much the laws were tried on."""

from __future__ import annotations

import pytest

from tests.laws.harness import tally


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally:
        terminalreporter.write_line("laws: " + ", ".join(f"{count:,} {what}" for what, count in sorted(tally.items())))

"""Telemetry is an extra, and the reference knows each metric."""

from __future__ import annotations

import re

from tests.house.tree import PACKAGE, ROOT, printed

METRIC = re.compile(r"nurselog\.[a-z_]+(?:\.[a-z_]+)?")


def test_nurselog_imports_nothing_of_it() -> None:
    code = "import sys, nurselog as n; n.open_engine; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert printed(code) == "[]\n"


def test_the_reference_has_each_metric() -> None:
    source = (PACKAGE / "telemetry" / "metrics.py").read_text("utf-8")
    made = set(re.findall(r'"(nurselog\.[\w.]+)",? ?(?:\n\s*)?"[^n]', source))
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    table = page.partition("| metric | is |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    assert {name for row in rows for name in METRIC.findall(row)} == made | {"nurselog.leases.lost"}
    assert len(made) > 15

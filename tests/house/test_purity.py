"""The layer `_log` is pure: its answers depend on what it is given, and on nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.tree import sources

IMPURE_MODULES = frozenset(
    {"anyio", "asyncio", "ctypes", "io", "locale", "os", "pathlib", "random", "secrets", "select", "signal", "socket"}
    | {"sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "trio"}
)
IMPURE_CALLS = frozenset(
    {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "uuid.getnode", "uuid.uuid1", "uuid.uuid4"}
    | {"input", "open", "print", "uuid1", "uuid4"}
)
# What looks impure and is not: (module, what it uses) and why.
ALLOWED = {
    ("nurselog._log.identity", "random"): "random.Random with a seed that is given",
}


def impurities(source: str) -> Iterator[str]:
    """Name what a module's answers could depend on beside its arguments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if a.name.split(".")[0] in IMPURE_MODULES)
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] in IMPURE_MODULES:
                yield module
            case ast.Call(func=function) if (called := ".".join(ast.unparse(function).split(".")[-2:])) in IMPURE_CALLS:
                yield called


def test_the_log_is_pure() -> None:
    found = {
        (module, impurity)
        for module, source in sources().items()
        if module.startswith("nurselog._log")
        for impurity in impurities(source)
    }
    assert found - set(ALLOWED) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from trio.lowlevel import checkpoint",
        "def f():\n    import random",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import datetime\nx = datetime.now(UTC)",
        "import uuid\nx = uuid.uuid4()",
        "open('x')",
    ],
)
def test_what_is_impure_is_found(source: str) -> None:
    assert len(list(impurities(source))) == 1

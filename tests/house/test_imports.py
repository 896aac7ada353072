"""`import nurselog` imports what it depends on, and nothing else that is installed; nor does what comes later."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement

from tests.house.tree import printed

OURS = "nurselog"
LIST = """
import sys
before = set(sys.modules)
import nurselog
nurselog.open_engine
print(*(set(sys.modules) - before))
"""


def closure(name: str) -> set[str]:
    """Return a distribution, and all that it requires here, without extras."""
    found: set[str] = set()
    rest = [name]
    while rest:
        one = plain(rest.pop())
        if one not in found:
            found.add(one)
            needed = [Requirement(text) for text in requires(one) or ()]
            rest += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Return the packages that `import nurselog` and opening an engine import, without Python's own."""
    packages = {module.partition(".")[0] for module in printed(LIST).split()}
    return {package for package in packages - sys.stdlib_module_names if not package.startswith("_sysconfigdata")}


def test_it_imports_no_optional_dependency() -> None:
    allowed, owners = closure(OURS) | {"typing-extensions"}, packages_distributions()  # msgspec takes it if it is there
    strange = {name for name in imported() - {OURS} if allowed.isdisjoint(map(plain, owners.get(name, [])))}
    assert strange == set()


def test_what_is_required_is_found() -> None:
    assert {OURS, "trio", "outcome", "msgspec", "attrs"} <= closure(OURS)
    assert closure(OURS).isdisjoint({"anyio", "httpx", "psycopg"})
    assert {OURS, "trio", "msgspec"} <= imported()


def test_the_engine_is_looked_at_too() -> None:
    modules = set(printed(LIST).split())
    assert {"nurselog._engine.engine", "nurselog._client.calls", "nurselog._stores.sqlite"} <= modules

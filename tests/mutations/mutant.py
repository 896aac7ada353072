"""A bug that is planted, as a record; the modules beside this one have the bugs.

None of them knows the others, and `mutants` knows all.
"""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "nurselog"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug."""

    name: str
    breaks: str
    """What must hold, and does not with it."""
    file: str
    """Below the package."""
    before: str
    """What stands there, once in the file."""
    after: str
    """What stands there instead."""
    tests: tuple[str, ...]
    """Tests of which at least one must fail: ids or files, as pytest takes them."""

    def applied_to(self, text: str) -> str:
        """Return a file's text with the bug in it.

        Raises:
            LookupError: if `before` does not occur once.
        """
        found = text.count(self.before)
        if found != 1:
            raise LookupError(f"mutant {self.name!r}: its text occurs {found} times in {self.file}, and must once")
        return text.replace(self.before, self.after)


CORPUS = "tests/laws/test_corpus.py::test_"
CHANGES = "tests/laws/test_laws_changes.py::test_"
ENGINE = "tests/engine/test_engine_"
STORE = "tests/stores/test_"
CONTRACT = f"{STORE}store_contract.py::test_the_contract["

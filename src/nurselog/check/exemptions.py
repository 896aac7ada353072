"""Lines that are right as they are, and say so: `# nurselog: RULE is fine because REASON`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

_COMMENT = re.compile(r"#\s*nurselog:\s*(?P<rule>[\w-]+) is fine\b(?:\s+because\s+(?P<reason>\w[^#]*))?")


@dataclass(frozen=True)
class Exemption:
    """A comment that exempts its line from a rule."""

    line: int
    column: int
    rule: str
    """The label of a rule, or something else."""
    has_reason: bool


def exemptions(text: str) -> Iterator[Exemption]:
    """Yield a module's exemptions."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line, column = token.start
        for found in _COMMENT.finditer(token.string) if token.type == tokenize.COMMENT else ():
            yield Exemption(line, column + found.start() + 1, found["rule"], found["reason"] is not None)

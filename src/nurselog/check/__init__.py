"""Mistakes in workflow code, found without running it: what `nurselog check` does, for scripts.

Workflow code must do the same in each run. Tests find out whether it does, as far as they get, and an engine finds out
when a workflow is stuck. Some mistakes can be seen before: a plain `trio.sleep`, a clock, a set that is iterated into
steps, a step without `await`. This package reads source, and imports nothing of what it reads.

Whoever gets false alarms stops reading them. So a rule speaks where it is certain, and a mistake that hides behind a
parameter or another module's function is left to `nurselog.testing`. `scopes.py` and `names.py` know what a module's
names mean, `known.py` what the names of others do, `places.py` which of them are steps of the same program, `flow.py`
what is workflow code; each group of rules has a file, and `find.py` brings it all together.
"""

from __future__ import annotations

from .find import check_source as check_source
from .rules import Mistake as Mistake
from .rules import Rule as Rule

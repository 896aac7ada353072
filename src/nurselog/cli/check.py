"""`nurselog check`: mistakes in workflow code, found without running it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..check.find import Checked, check
from ..check.places import Library, find_files, read_text
from ..check.rules import Rule
from .command import MISUSED, Command

_RIGHT, _MISTAKEN = 0, 1

_EPILOG = f"""\
TARGET is a module's name, as in an import, or the path of a file or a folder; of a package or a folder all modules are
looked at. Nothing of it is run.

A line that is right as it is says so: # nurselog: RULE is fine because REASON

rules:
{"".join(f"  {rule.label:<24}{rule.wrong}{os.linesep}" for rule in Rule)}
exit codes:
  {_RIGHT}  nothing was found
  {_MISTAKEN}  mistakes were found
  {MISUSED}  a TARGET is not there, or is no Python
"""


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="what to look at")


def _check(chosen: argparse.Namespace) -> int:
    library = Library()
    files = sorted({path.resolve() for target in chosen.targets for path in find_files(target)})
    checked = [one for path in files if (one := _look(library, path))]
    mistakes = [mistake for one in checked for mistake in one.mistakes]
    for mistake in mistakes:
        print(mistake)
    workflows = sum(one.workflows for one in checked)
    print(f"modules: {len(checked)}, workflows: {workflows}, mistakes: {len(mistakes)}")
    if len(checked) < len(files):
        return MISUSED
    return _MISTAKEN if mistakes else _RIGHT


def _look(library: Library, path: Path) -> Checked | None:
    """Look at a module; None: it cannot be read, which has been said."""
    try:
        text = read_text(path)
        return check(text, _shown(path), library.module(path, text))
    except SyntaxError as exc:
        print(f"nurselog: {_shown(path)}:{exc.lineno or 1} is no Python: {exc.msg}", file=sys.stderr)
    except RecursionError:
        print(f"nurselog: {_shown(path)} cannot be read: it is nested too deeply", file=sys.stderr)
    except (OSError, ValueError) as exc:
        print(f"nurselog: {_shown(path)} cannot be read: {exc}", file=sys.stderr)
    return None


def _shown(path: Path) -> str:
    """Return a path as people read it: from the current folder on, if it is in there."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


CHECK = Command("check", "Find mistakes in workflow code, without running it.", _declare, _check)

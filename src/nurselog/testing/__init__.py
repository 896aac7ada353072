"""Tests for workflows: every crash and every cancellation, in virtual time, in one line.

Plain functions that run Trio by themselves: call them from `def test_…`, with pytest or without.
"""

from __future__ import annotations

from .clock import VirtualClock as VirtualClock
from .everywhere import cancel_everywhere as cancel_everywhere
from .everywhere import crash_everywhere as crash_everywhere
from .fakes import Call as Call
from .fakes import Hangs as Hangs
from .fakes import Ignores as Ignores
from .fakes import Script as Script
from .fakes import Takes as Takes
from .fakes import fakes as fakes
from .golden import load_log as load_log
from .golden import replay as replay
from .golden import save_log as save_log
from .hash_seeds import UntriedWarning as UntriedWarning
from .life import Cancelled as Cancelled
from .life import Life as Life
from .life import Raised as Raised
from .life import Returned as Returned
from .redaction import redact as redact
from .report import Broken as Broken
from .report import Finding as Finding
from .report import Law as Law
from .report import Report as Report
from .sanitizer import Touch as Touch
from .sanitizer import TouchWarning as TouchWarning
from .sanitizer import watching as watching
from .touchable import Kind as Kind

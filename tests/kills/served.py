"""What workers that the command starts run: `nurselog worker tests.kills.served`.

The environment says where effects are written down, and who this is.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.kills.effects import tell
from tests.kills.worker import story

__all__ = ["story"]

tell(Path(os.environ["NURSELOG_TEST_EFFECTS"]), os.environ["NURSELOG_TEST_LIFE"])

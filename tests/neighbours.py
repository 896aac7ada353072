"""Libraries that not everybody has, imported as engines do; test files that need one are skipped where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from nurselog import UsageError
from nurselog._flow.venue import Venue, library


def need(venue: Venue) -> Any:
    """Return the library of a venue."""
    try:
        return library(venue)
    except UsageError as exc:
        pytest.skip(str(exc), allow_module_level=True)

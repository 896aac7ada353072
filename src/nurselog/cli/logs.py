"""What a process says on its standard error: the log of Python's `logging`, for people or for programs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from .._tree import printable


class _ForPeople(logging.Formatter):
    """A line with time (UTC), level, logger and message; what has more lines has them indented.

    So no text that comes from elsewhere can pass for a line of the log, or steer a terminal.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return what is written."""
        return "\n    ".join(map(printable, super().format(record).split("\n")))


class _ForPrograms(logging.Formatter):
    """A line with one JSON object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return what is written."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


FORMATS: Mapping[str, type[_ForPeople | _ForPrograms]] = {"text": _ForPeople, "json": _ForPrograms}
LEVELS = ("debug", "info", "warning", "error")


@contextmanager
def logging_to_stderr(form: str, level: str) -> Generator[None]:
    """Write what all loggers say, and Python's warnings, to the standard error, until the block ends.

    Args:
        form: one of `FORMATS`.
        level: one of `LEVELS`: what is below is left out.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATS[form]())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.setLevel(before)
        root.removeHandler(handler)

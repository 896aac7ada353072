"""What an open store holds: the connection, and the worker that has entered by it."""

from __future__ import annotations

import dataclasses
import sqlite3

from ...abc import Lease
from .beacon import Beacon
from .schema import Location
from .strides import Strides


@dataclasses.dataclass
class Session:
    """An open database, and the worker that opened it."""

    location: Location
    connection: sqlite3.Connection
    lease: Lease
    beacon: Beacon | None = None
    strides: Strides | None = None
    """None in memory, where there is no write-ahead log."""
    seen: int = 0
    """The database's version when somebody last asked for changes."""

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.lease.worker

    def put_out_beacon(self) -> None:
        """Let go of the beacon, if it is lit."""
        if self.beacon:
            self.beacon.put_out()
            self.beacon = None

    def close(self) -> None:
        """Let go of everything that the process holds."""
        self.put_out_beacon()
        self.connection.close()

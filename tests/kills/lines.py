"""What another process says."""

from __future__ import annotations

import trio


class Lines:
    """What a process says, word by word."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout
        self._stream, self._data = process.stdout, b""

    async def next(self) -> list[str]:
        while b"\n" not in self._data:
            piece = await self._stream.receive_some()
            assert piece, f"it has ended, and said {self._data!r}"
            self._data += piece
        line, _, self._data = self._data.partition(b"\n")
        return line.decode().split()

"""Large values in files of a folder, and in the log only which file it is.

A log is read whole whenever its workflow is taken up, and every database copies its rows around: into a write-ahead
log, to replicas, into backups. Values of some megabytes make all of that slow for everybody.

A file and a row cannot be written in one transaction. So a file is written, and durable, before anybody can know of it,
and is never changed. A crash in between leaves a file that no row speaks of, and never a row whose file is not there.
The row cannot say which workflow's the file is, for the codec does not know, and need not: a file is named by a digest
of its content, equal values share one, and a value that comes again (a step that ran twice, a message passed on) costs
nothing. In turn nobody owns a file, and it cannot be removed with its workflow, whose value others may have, too. What
no row speaks of any more is found by `sweep`, which looks at the whole store.

Files that a sweep must not touch are those whose row is still to come. It knows them by their age, and a file that is
used once more is made young again. So that a sweep does not look at its age, then let it be used, and then remove it,
both hold the folder's lock: many who write together, or one who removes.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from .._errors import EncodingError, UsageError, ValueUnavailable
from .._flow.arguments import NATURAL, check_interface
from .._log.codec import JsonCodec
from ..abc import Codec

MARK: Final = b"\0nurselog-file:"
"""Before a file's name, where a value would be. No JSON begins so. It has 15 bytes, so that in base 64 it is as easy to
find: each 3 bytes are 4 characters there, whatever comes behind."""

REFERENCE: Final = re.compile(re.escape(MARK) + rb"(?P<name>[0-9a-f]{60})")
"""What the log has instead of a value."""

TEMPORARY: Final = ".new-"
"""How the names of files begin that are not whole yet."""

_LOCK: Final = ".lock"


class FileCodec:
    """Keeps what is large in files, and leaves what is small to the log.

    Whoever reads a log needs the folder: engines of other machines must see the same one. It belongs to one store.
    Files stay until `sweep` removes them. Use it as the outermost codec, since a sweep looks for the names of files in
    what it writes. Writing a file waits for the disk, and all workflows of the process wait with it.

    Args:
        folder: where the files are; it is made if it is not there, in a folder that is.
        inner: turns values into bytes; by default JSON.
        above: bytes above which a value goes into a file.

    Raises:
        UsageError: if `inner` is no codec, `above` no number, or the folder cannot be made.
    """

    def __init__(self, folder: Path | str, inner: Codec | None = None, *, above: int = 1 << 16) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._inner: Codec = inner or JsonCodec()
        self._above = above
        NATURAL.check("above", above)
        check_interface("inner", self._inner, Codec)
        try:
            self._folder.mkdir(exist_ok=True)
            _sync(self._folder.parent)
        except OSError as exc:
            raise UsageError(f"the folder {self._folder} for large values cannot be made: {exc}") from exc

    def check(self, annotation: Any) -> None:
        """See that values could be read back as `annotation` says; raises what the inner codec does."""
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        """Return the bytes for `value`, or which file they are in; that is durable then.

        Raises:
            EncodingError: if the file cannot be written, or what the inner codec raises.
        """
        data = self._inner.encode(value, annotation)
        if len(data) <= self._above and not data.startswith(MARK):
            return data
        name = _name_of(data)
        try:
            with locked(self._folder, fcntl.LOCK_SH):
                self._keep(name, data)
        except OSError as exc:
            raise EncodingError(
                f"a value of {len(data):,} bytes cannot be kept in the folder {self._folder}: {exc}"
            ) from exc
        return MARK + name.encode()

    def decode(self, data: bytes, annotation: Any) -> Any:
        """Return the value whose bytes, or the name of whose file, are `data`.

        Raises:
            ValueUnavailable: if its file is not there or damaged, or what the inner codec raises.
        """
        return self._inner.decode(self._read(data) if data.startswith(MARK) else data, annotation)

    def _keep(self, name: str, data: bytes) -> None:
        path = self._folder / name
        try:
            whole = _name_of(path.read_bytes()) == name  # else the value, which is at hand, would be lost
            os.utime(path)
        except FileNotFoundError:
            whole = False
        if not whole:
            self._write(path, data)
        _sync(self._folder)  # also if it was there: who has written it may not have come so far

    def _write(self, path: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=self._folder)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - it is open already
                file.write(data)
                file.flush()
                os.fsync(handle)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise

    def _read(self, reference: bytes) -> bytes:
        found = REFERENCE.fullmatch(reference)
        if not found:
            raise ValueUnavailable("recorded data is damaged: it names no file")
        path = self._folder / found["name"].decode()
        try:
            data = path.read_bytes()
        except FileNotFoundError as exc:
            raise ValueUnavailable(
                f"a value is in the file {path}, which is not there. Bring it back from a backup, or give the codec "
                "the folder in which it is"
            ) from exc
        except OSError as exc:
            raise ValueUnavailable(f"a value is in the file {path}, which cannot be read: {exc}") from exc
        if _name_of(data) != path.name:
            raise ValueUnavailable(f"a value is in the file {path}, which is damaged. Bring it back from a backup")
        return data


@contextmanager
def locked(folder: Path, how: int) -> Generator[None]:
    """Hold a folder's lock.

    Args:
        folder: where the files are.
        how: `fcntl.LOCK_SH` to write, `fcntl.LOCK_EX` to remove.
    """
    with (folder / _LOCK).open("ab") as file:
        fcntl.flock(file, how)
        yield


def _name_of(data: bytes) -> str:
    return blake2b(data, digest_size=30).hexdigest()


def _sync(folder: Path) -> None:
    """Make durable which files a folder has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

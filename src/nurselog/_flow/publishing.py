"""`publish` and `open_stream`: what a workflow tells those outside, as rows of its log.

Workflow code makes a note of each, which replay matches as it matches all notes: so each is in the log once, at one
place, for ever. A step's body is no part of the replay. What it tells is written as it comes, and written again when
the step runs again: at least once, each time at a position of its own.

A body can tell faster than a store can write, and what is not written yet is in memory. So one that sends waits when it
is a thousand rows ahead, and goes on when half of those are durable: there is always something to be written, and never
much. Workflow code does not wait for the store (nothing of that would be in the log), so a stream of many thousands
belongs into a step: replay has it for nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, in_trio_run

from .._errors import MisplacedCallError
from .._log.events import Emitted, Published
from .body import Body
from .current import arrive, current_strand, own_strand
from .names import label
from .sequencer import Phase, Sequencer
from .strand import place

BURST = 128
"""Items that are sent before others get a chance."""


def publish(name: str, value: object) -> None:
    """Tell those outside a value: from now on it is what `handle.latest(name)` returns, and `handle.follow` gives it.

    Args:
        name: what it is called, 1 to 200 printable characters.
        value: the codec must be able to write it.

    From workflow code it is published once, however often that is replayed. In a step, sync or async, it is published
    again whenever the step runs again. Not a checkpoint; it is durable with what the workflow does next, or soon.

    Raises:
        EncodingError: if the value cannot be written.
        PayloadTooLargeError: if it is larger than the limit.
        UsageError: if the name is none.
        OutsideWorkflowError: outside of a workflow.
        MisplacedCallError: in what a step has left behind, or in a task or thread that is neither's.
    """
    _say(_here("publish"), label("a name", name), value)


def open_stream(name: str) -> Stream:
    """Open a stream of items to those outside, in workflow code or in a step; `handle.follow(name)` reads it.

    Args:
        name: what it is called, 1 to 200 printable characters.

    Best used with `with` or `async with`: a block that is left as it should be ends the stream. Not a checkpoint, and
    nothing of it is in the log; the items and the end are.

    Raises:
        UsageError: if the name is none.
        OutsideWorkflowError: outside of a workflow.
        MisplacedCallError: in a task or thread that belongs to no workflow.
    """
    here = _here("open_stream")
    return Stream(here, label("a stream's name", name))


@final
class Stream(trio.abc.SendChannel[Any]):
    """The sending end of a stream. Not constructed directly: `open_stream` returns it."""

    __slots__ = ("_closed", "_home", "_name")

    def __init__(self, home: Sequencer | Body, name: str) -> None:
        self._home = home
        self._name = name
        self._closed = False

    async def send(self, value: object) -> None:
        """Send an item.

        From workflow code each item is sent once, however often that is replayed. A step that runs again sends its
        items again. It returns when the item is on its way; when many are, a step waits until some are durable. A
        checkpoint; if it is cancelled the item was not sent.

        Raises:
            trio.ClosedResourceError: if the stream is closed.
            EncodingError: if the item cannot be written.
            PayloadTooLargeError: if it is larger than the limit.
            MisplacedCallError: if the stream was opened in another place.
        """
        await self._arrive("Stream.send")
        _say(self._home, self._name, value)
        await cancel_shielded_checkpoint()

    async def _arrive(self, what: str) -> None:
        """Wait until there is room, and see that the stream is open and at home here. No checkpoint by itself."""
        if isinstance(self._home, Body):
            await self._home.call.sequencer.log.room()
        else:
            await arrive(what, self._home)
            await checkpoint_if_cancelled()
        self._check_home(what)
        if self._closed:
            raise trio.ClosedResourceError

    async def send_all(self, values: Iterable[object]) -> None:
        """Send many items, in their order: much faster than one by one.

        What `send` says holds of each. A checkpoint; if it is cancelled, or `values` raises, some have been sent.

        Raises:
            What `send` raises; the items before the one that it is about have been sent.
        """
        rest = iter(values)
        more = True
        while more:
            await self._arrive("Stream.send_all")
            more = False
            for value in islice(rest, BURST):
                _say(self._home, self._name, value)
                more = True
            await cancel_shielded_checkpoint()

    def close(self) -> None:
        """Say that the stream is complete, unless it is closed; readers get `trio.EndOfChannel`. Not a checkpoint."""
        if self._closed:
            return
        if isinstance(self._home, Body) or self._home.phase is Phase.RUNNING:
            self._check_home("Stream.close")
            _end(self._home, self._name)
        self._closed = True

    async def aclose(self) -> None:
        """Say that the stream is complete, unless it is closed. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _check_home(self, what: str) -> None:
        if isinstance(self._home, Sequencer):
            own_strand(what, self._home)
        elif self._home is not place.get():
            raise MisplacedCallError(
                f"{what} was called on a stream that step {self._home.call.step.name!r} has opened, and this is not "
                "that step: open one where the items come from"
            )

    # An error leaves the block: what was sent is not all. Readers see what becomes of the workflow, or the items of
    # the step's next attempt.

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.close()
        self._closed = True

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        return f"<nurselog.Stream {self._name!r}, {'closed' if self._closed else 'open'}>"


def _here(what: str) -> Sequencer | Body:
    """Return who tells something: the workflow's code, or a step's body."""
    here = place.get()
    return here if isinstance(here, Body) else current_strand(what).sequencer


def _say(teller: Sequencer | Body, name: str, value: object) -> None:
    sequencer = teller.call.sequencer if isinstance(teller, Body) else teller
    data = sequencer.log.limited(f"what is published as {name!r}", sequencer.host.codec.encode(value, Any))
    _write(teller, name, data)


def _end(teller: Sequencer | Body, name: str) -> None:
    _write(teller, name, None)


def _write(teller: Sequencer | Body, name: str, data: bytes | None) -> None:
    """Write it; None stands for the end."""
    end = data is None
    if isinstance(teller, Body):
        event = Emitted(path=teller.call.path, name=name, attempt=teller.attempt, end=end)
        emit = partial(_emit, teller, event, data)
        if in_trio_run():
            emit()
        else:
            trio.from_thread.run_sync(emit)
    else:
        strand = current_strand("publish")
        teller.note(Published(path=strand.text, name=name, end=end), data)


def _emit(body: Body, event: Emitted, data: bytes | None) -> None:
    if body.ended:
        raise MisplacedCallError(
            f"{event.name!r} was to be published by what step {body.call.step.name!r} has left behind: the step is over"
        )
    body.call.sequencer.log.append(event, data)

"""`updates`: a receive channel of what others ask of this workflow, each of which is to be answered.

An update is a message with an answer. It comes as messages come, and the answer goes as all goes that a workflow tells
those outside: as a row of its log, which who has asked follows. So there is nothing that could be lost on the way, and
nothing to be kept for a caller who may have died: one who asks again, by the same key, finds the row.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, final, overload

from .._errors import UsageError
from .._log.events import Answered, Result
from .current import current_strand, own_strand
from .inbox import Arrival
from .incoming import Incoming
from .names import check_readable, label
from .outcomes import Failed, Outcome, Succeeded
from .sequencer import Sequencer

T = TypeVar("T")
A = TypeVar("A")
T_co = TypeVar("T_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


@final
class Update(Generic[T_co, A_contra]):
    """Something that somebody outside asks of the workflow, and waits for the answer.

    Not constructed directly: it comes out of `updates(name, type, answer)`. It is answered once, by `answer` or
    `reject`, whenever the workflow likes and in whichever of its tasks. If it ends without that, who has asked gets
    `WorkflowEnded`.
    """

    __slots__ = ("_annotation", "_answered", "_key", "_sequencer", "_value")

    def __init__(self, sequencer: Sequencer, key: str, value: T_co, annotation: Any) -> None:
        self._sequencer = sequencer
        self._key = key
        self._value = value
        self._annotation = annotation
        self._answered = False

    @property
    def value(self) -> T_co:
        """What is asked."""
        return self._value

    @property
    def key(self) -> str:
        """The name that the caller, or the engine, has given it."""
        return self._key

    def answer(self, value: A_contra) -> None:
        """Answer it.

        Not a checkpoint. The answer is a row of the log: who has asked gets it when that is durable.

        Raises:
            UsageError: if it was answered or rejected before.
            EncodingError: if the value cannot be written; it is not answered then.
            PayloadTooLargeError: if it is larger than the limit; the same.
        """
        self._check_open("answer")
        data = self._sequencer.host.codec.encode(value, self._annotation)
        self._close(Result.VALUE, self._sequencer.log.limited(f"the answer to update {self._key!r}", data))

    def reject(self, error: Exception) -> None:
        """Answer it with an error, which who has asked gets to see.

        Not a checkpoint.

        Raises:
            UsageError: if it was answered or rejected before, or this is no `Exception`.
        """
        self._check_open("reject")
        if not isinstance(error, Exception):
            raise UsageError(f"an update is rejected with an Exception, not with {error!r}")
        self._close(Result.ERROR, self._sequencer.log.error_bytes(f"the error of update {self._key!r}", error))

    def _check_open(self, what: str) -> None:
        own_strand(f"Update.{what}", self._sequencer)
        if self._answered:
            raise UsageError(f"update {self._key!r} was answered before, and an answer is given once")

    def _close(self, result: Result, data: bytes) -> None:
        self._answered = True
        self._sequencer.note(Answered(key=self._key, result=result), data)

    def __repr__(self) -> str:
        return f"<nurselog.Update {self._key!r}, {'answered' if self._answered else 'open'}>"


@final
class Updates(Incoming[Update[T_co, A_contra]], Generic[T_co, A_contra]):
    """The receiving end of the updates of one name, and a case of a select.

    Not constructed directly: `updates(name, type, answer)` returns it. All ends of one name share what comes: each
    update goes to one of those who wait, in the order in which they came. It never ends by itself; `async for` goes on
    until it is cancelled, or this end is closed.
    """

    def __init__(self, sequencer: Sequencer, name: str, annotation: Any, answer: Any) -> None:
        super().__init__(sequencer, name, sequencer.inbox.updates(name))
        self._annotation = annotation
        self._answer = answer

    @property
    def name(self) -> str:
        """The name that callers give."""
        return self._name

    def __repr__(self) -> str:
        return f"<nurselog.Updates {self._name!r}, {len(self._topic.arrivals)} unread>"

    # -- as a case -------------------------------------------------------------------------------

    def _open(self, arrival: Arrival) -> Outcome[Update[T_co, A_contra]] | None:
        """Return the update. One that does not fit is rejected here, where there is somebody to say so."""
        key = arrival.event.update
        assert key is not None
        outcome = arrival.open(self._sequencer, self._annotation, f"an update {self._name!r}")
        if not isinstance(outcome, Failed):
            return Succeeded(Update(self._sequencer, key, outcome.unwrap(), self._answer))
        data = self._sequencer.log.error_bytes(f"the error of update {key!r}", outcome.error)
        self._sequencer.note(Answered(key=key, result=Result.ERROR), data)
        return None


@overload
def updates(name: str) -> Updates[Any, Any]: ...
@overload
def updates(name: str, type: type[T]) -> Updates[T, Any]: ...
@overload
def updates(name: str, type: type[T], answer: type[A]) -> Updates[T, A]: ...
@overload
def updates(name: str, type: object = ..., answer: object = ...) -> Updates[Any, Any]: ...
def updates(name: str, type: object = Any, answer: object = Any) -> Updates[Any, Any]:
    """Return a channel of the updates that others ask of this workflow, by `engine.update(id, name, value)`.

    Args:
        name: 1 to 200 printable characters, chosen by you; callers give it.
        type: what they are read back as: a class, or any annotation that the codec knows.
        answer: what the answers are, in the same way.

    Updates come in the order in which they were asked for, each exactly once, also those that came before anybody
    waited for them. One that does not fit the type is rejected with the `DecodingError` as soon as somebody looks, and
    nobody here sees it.

    Not a checkpoint, and nothing of it is in the log; the updates and their answers are.

    Raises:
        RegistrationError: if nothing could be read back as `type` or `answer`.
        UsageError: if the name is none.
        OutsideWorkflowError: outside of a workflow.
    """
    sequencer = current_strand("updates").sequencer
    name = label("a name", name)
    check_readable(f"updates {name!r}, what is asked", type, sequencer.host.codec)
    check_readable(f"updates {name!r}, the answers", answer, sequencer.host.codec)
    return Updates(sequencer, name, type, answer)

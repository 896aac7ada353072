"""`promise`: one outcome that somebody outside brings about, later."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, final, overload

from .._errors import NurselogError, Suspended, UsageError
from .._log.identity import parse_path
from .cases import Watched, wait_for_first
from .current import arrive, current_strand, own_strand
from .inbox import Arrival
from .names import check_readable, plain_text
from .outcomes import Outcome
from .sequencer import Sequencer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_BETWEEN = "#"


class PromiseId(NamedTuple):
    """What a promise's id says: which workflow's it is, and at which place."""

    workflow: str
    path: str

    @classmethod
    def parse(cls, id: str) -> PromiseId:
        """Take an id apart.

        Raises:
            UsageError: if it is none.
        """
        workflow, _, path = plain_text("a promise's id", id).rpartition(_BETWEEN)
        try:
            known = bool(workflow and parse_path(path))
        except ValueError:
            known = False
        if not known:
            raise UsageError(f"{id!r} is no promise's id: take what `promise(...).id` gives")
        return cls(workflow, path)

    def __str__(self) -> str:
        return f"{self.workflow}{_BETWEEN}{self.path}"


@final
class Promise(Watched[T_co]):
    """One outcome that somebody outside brings about: a channel that it comes out of, as often as asked.

    Not constructed directly: `promise(type)` returns it.
    """

    __slots__ = ("_annotation", "_id", "_outcome", "_since")

    def __init__(self, sequencer: Sequencer, path: str, annotation: Any) -> None:
        super().__init__(sequencer)
        self._id = PromiseId(sequencer.id, path)
        self._annotation = annotation
        self._outcome: Outcome[T_co] | None = None
        self._since = 0
        arrival = sequencer.inbox.expect(path, self)
        if arrival is not None:
            try:
                self._settle(arrival)
            except NurselogError as exc:  # what it was rejected with cannot be read: as if it had come while one waits
                sequencer.stuck(exc)
                raise Suspended from None

    @property
    def id(self) -> str:
        """What to give to whoever is to settle it, by `engine.resolve(id, value)` or `engine.reject(id, error)`.

        The same on every replay, and another one in a fork. It can be guessed: what settles promises for people must
        ask who they are.
        """
        return str(self._id)

    @property
    def outcome(self) -> Outcome[T_co] | None:
        """What it was settled with: `Succeeded` or `Failed`; None until then."""
        own_strand("Promise.outcome", self._sequencer)
        return self._outcome

    async def receive(self) -> Outcome[T_co]:
        """Wait until it is settled, and return the outcome; never raises the error that it was rejected with.

        Every receiver gets it, as often as asked. A checkpoint; a wait that is cancelled leaves the promise as it is.
        """
        _, outcome = await wait_for_first(await arrive("Promise.receive", self._sequencer), (self,))
        return outcome

    async def result(self) -> T_co:
        """Wait until it is settled, and return the value.

        A checkpoint; a wait that is cancelled leaves the promise as it is.

        Raises:
            DecodingError: if the value does not fit the promise's type.
            Exception: what it was rejected with.
        """
        return (await self.receive()).unwrap()

    def __repr__(self) -> str:
        return f"<nurselog.Promise {self.id!r}, {'open' if self._outcome is None else 'settled'}>"

    # -- as a case -------------------------------------------------------------------------------

    @property
    def _is_awaited(self) -> bool:
        return bool(self._waiters)

    def _settle(self, arrival: Arrival) -> None:
        outcome = arrival.open(self._sequencer, self._annotation, f"what promise {self.id!r} was given")
        self._outcome, self._since = outcome, arrival.since
        for waiter, index in list(self._waiters.items()):
            waiter.wake(index, outcome)

    def _ready_since(self) -> int | None:
        return None if self._outcome is None else self._since

    def _take(self) -> Outcome[T_co]:
        assert self._outcome is not None
        return self._outcome


@overload
def promise() -> Promise[Any]: ...
@overload
def promise(type: type[T]) -> Promise[T]: ...
@overload
def promise(type: object) -> Promise[Any]: ...
def promise(type: object = Any) -> Promise[Any]:
    """Make a promise: an outcome that somebody outside brings about later, such as a human's approval or a webhook.

    Args:
        type: what the value is read back as: a class, or any annotation that the codec knows.

    Give `promise(...).id` away in a step. It is settled once: by the first of `engine.resolve` and `engine.reject`.

    Not a checkpoint. It takes a place in the workflow, as a step does; nothing is in the log before it is settled.

    Raises:
        RegistrationError: if nothing could be read back as `type`.
        OutsideWorkflowError: outside of a workflow.
    """
    strand = current_strand("promise")
    check_readable("promise, its value", type, strand.sequencer.host.codec)
    return Promise(strand.sequencer, strand.operation().text, type)

"""Every error that nurselog raises, ordered by whose fault it is.

Errors are built from facts and write their own sentence: what happened, whose fault it is, what to do.
Nothing in the library recognises an error by its text.
"""

from __future__ import annotations


class NurselogError(Exception):
    """The base of all errors that nurselog raises on purpose."""


class Suspended(BaseException):
    """The workflow leaves memory; nothing is recorded, and it goes on later, here or elsewhere.

    A `BaseException`, and no relative of `trio.Cancelled`: code that cleans up after a cancellation must not run
    when a process merely stops. Do not catch it; whatever is awaited after it raises it again.
    """


# -- the application's code: how nurselog is used ------------------------------------------------


class UsageError(NurselogError):
    """nurselog was called in a way that cannot work; the code must change."""


class RegistrationError(UsageError):
    """A function cannot be a workflow or a step, or its name is taken."""


class OutsideWorkflowError(UsageError):
    """A durable operation was called where no workflow runs."""


class MisplacedCallError(UsageError):
    """A durable operation was called in a step, outside of the workflow's tasks, or on what is another workflow's."""


# -- the application's data ----------------------------------------------------------------------


class DataError(NurselogError):
    """A value cannot go into the log, or cannot be read back from it."""


class EncodingError(DataError):
    """A value has no JSON form, or would not come back as its annotation says."""


class DecodingError(DataError):
    """Recorded data does not fit the annotation that the code has now."""


class ValueUnavailable(DecodingError):
    """A recorded value cannot be read here and now, though nothing is wrong with it: a key or a file is missing.

    Codecs raise it. A workflow that meets it is stuck, and goes on when it is resumed where the value can be read.
    """


class PayloadTooLargeError(DataError):
    """A value is larger than the engine's limit for one log entry."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what: str = what
        self.size: int = size
        self.limit: int = limit

    def __str__(self) -> str:
        return (
            f"{self.what} is {self.size:,} bytes, and the limit is {self.limit:,}. Keep the data elsewhere "
            "and record where it is, as nurselog.codecs.FileCodec does, or raise max_payload= of open_engine."
        )


# -- a workflow's own course ---------------------------------------------------------------------


class StuckError(NurselogError):
    """A workflow cannot go on with the code as it is. It waits, nothing is lost, and `resume` goes on after a fix."""


class NonDeterminismError(StuckError):
    """The workflow's code did something that its log cannot explain.

    Attributes:
        workflow_id: the workflow's id.
        path: where in the workflow's tree it happened.
        recorded: what the log has.
        called: what the code did.
        where: file and line, if known.
        remedy: what to do.
    """

    def __init__(
        self, *, workflow_id: str, path: str, recorded: str, called: str, where: str | None, remedy: str
    ) -> None:
        super().__init__(workflow_id, path, recorded, called, where, remedy)
        self.workflow_id: str = workflow_id
        self.path: str = path
        self.recorded: str = recorded
        self.called: str = called
        self.where: str | None = where
        self.remedy: str = remedy

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return (
            f"workflow {self.workflow_id!r}, path {self.path or 'root'}{place}: the log has {self.recorded}; "
            f"the code did {self.called}. {self.remedy}"
        )


class DeadlockError(StuckError):
    """All strands of a workflow wait for each other, and for nothing that the log could bring.

    Attributes:
        workflow_id: the workflow's id.
        waiting: one line for each strand: its path, and the file and line where it waits.
    """

    def __init__(self, workflow_id: str, waiting: tuple[str, ...]) -> None:
        super().__init__(workflow_id, waiting)
        self.workflow_id: str = workflow_id
        self.waiting: tuple[str, ...] = waiting

    def __str__(self) -> str:
        lines = "\n  ".join(self.waiting)
        return (
            f"workflow {self.workflow_id!r}: everybody waits, and nobody can move:\n  {lines}\nIf one of them waits "
            "for the outside world (I/O, a thread, plain trio.sleep), put that into a step, or use nurselog.sleep()."
        )


class StepFailed(NurselogError):
    """A step raised an error of a type that the log cannot rebuild.

    Attributes:
        type_name: the type's module and name.
        message: its text.
        traceback: its traceback as text.
    """

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__(type_name, message, traceback)
        self.type_name: str = type_name
        self.message: str = message
        self.traceback: str = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class StepInterrupted(NurselogError):
    """An `at_most_once` step had begun when its process died; whether it took effect is not known.

    Attributes:
        step: the step's name.
        path: its place in the workflow.
    """

    def __init__(self, step: str, path: str) -> None:
        super().__init__(step, path)
        self.step: str = step
        self.path: str = path

    def __str__(self) -> str:
        return (
            f"step {self.step!r} at path {self.path} had begun when its process died, and it must not run twice. "
            "Find out from the outside whether it took effect."
        )


class ProcessDied(NurselogError):
    """The worker process that ran a step has died of something else than a cancellation.

    Attributes:
        step: the step's name.
        exit_code: what the process has ended with; a signal's number, negative, if that has killed it.
    """

    def __init__(self, step: str, exit_code: int | None) -> None:
        super().__init__(step, exit_code)
        self.step: str = step
        self.exit_code: int | None = exit_code

    def __str__(self) -> str:
        return (
            f"the worker process of step {self.step!r} has died, with exit code {self.exit_code}. A negative one is a "
            "signal's: -11 is a crash in C code, -9 may be the system, short of memory. With another one it has ended "
            "by itself, and may have said why on standard error; a main module must not start its program when it is "
            "imported, which a worker process does"
        )


class TransactionEnded(NurselogError):
    """The body of a transaction has ended, or wanted to end, the transaction by itself.

    Attributes:
        name: the transaction's.
        done: whether it did: what it had written until then may be there, and is not written again; otherwise all of it
            was undone.
    """

    def __init__(self, name: str, done: bool) -> None:  # noqa: FBT001 - it is rebuilt from its arguments
        super().__init__(name, done)
        self.name: str = name
        self.done: bool = done

    def __str__(self) -> str:
        became = (
            "What it had written until then may be there, and is not written again: find out from the data"
            if self.done
            else "Nothing of it was written"
        )
        return (
            f"the body of transaction {self.name!r} ends the transaction by itself (COMMIT, ROLLBACK or BEGIN). "
            f"{became}. nurselog commits when the body has returned, together with the outcome. Take that out of the "
            "body; use savepoints for parts, and raise an error to undo all."
        )


class ChildCancelled(NurselogError):
    """The child whose result was asked for was cancelled.

    Attributes:
        path: the child's place in the workflow.
        reason: the text given to the cancellation, if any.
    """

    def __init__(self, path: str, reason: str | None) -> None:
        super().__init__(path, reason)
        self.path: str = path
        self.reason: str | None = reason

    def __str__(self) -> str:
        return f"the child at path {self.path} was cancelled" + (f": {self.reason}" if self.reason else "")


# -- what an engine answers ----------------------------------------------------------------------


class WorkflowCancelled(NurselogError):
    """The workflow whose result was asked for was cancelled.

    Attributes:
        workflow_id: the workflow's id.
        reason: the text given to the cancellation, if any.
    """

    def __init__(self, workflow_id: str, reason: str | None) -> None:
        super().__init__(workflow_id, reason)
        self.workflow_id: str = workflow_id
        self.reason: str | None = reason

    def __str__(self) -> str:
        return f"workflow {self.workflow_id!r} was cancelled" + (f": {self.reason}" if self.reason else "")


class WorkflowKilled(NurselogError):
    """The workflow whose result was asked for was killed."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(workflow_id)
        self.workflow_id: str = workflow_id

    def __str__(self) -> str:
        return f"workflow {self.workflow_id!r} was killed"


class WorkflowStuck(NurselogError):
    """The workflow whose result was asked for cannot go on with the code as it is.

    Attributes:
        workflow_id: the workflow's id.
        problem: what stopped it.
    """

    def __init__(self, workflow_id: str, problem: str) -> None:
        super().__init__(workflow_id, problem)
        self.workflow_id: str = workflow_id
        self.problem: str = problem

    def __str__(self) -> str:
        return (
            f"workflow {self.workflow_id!r} is stuck: {self.problem}\nNothing is lost: mend the code, "
            f"then engine.resume({self.workflow_id!r}); or cancel or kill it."
        )


class WorkflowNotFound(NurselogError):
    """There is no workflow of this id in the store."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(workflow_id)
        self.workflow_id: str = workflow_id

    def __str__(self) -> str:
        return f"there is no workflow {self.workflow_id!r} in this store"


class WorkflowConflict(NurselogError):
    """The id belongs to a workflow of another function or with another input.

    Attributes:
        workflow_id: the id.
        existing: what the store has under it.
        asked: what was asked for.
    """

    def __init__(self, workflow_id: str, existing: str, asked: str) -> None:
        super().__init__(workflow_id, existing, asked)
        self.workflow_id: str = workflow_id
        self.existing: str = existing
        self.asked: str = asked

    def __str__(self) -> str:
        return (
            f"id {self.workflow_id!r} belongs to {self.existing}, and {self.asked} was asked for. Use another id, "
            "or the same function and input to get the same run."
        )


class WorkflowEnded(NurselogError):
    """The workflow has ended, and what was asked for needs one that has not.

    Attributes:
        workflow_id: the workflow's id.
        status: how it has ended.
        update: the key of the update that it has not answered, if one was asked for.
    """

    def __init__(self, workflow_id: str, status: str, update: str | None = None) -> None:
        super().__init__(workflow_id, status, update)
        self.workflow_id: str = workflow_id
        self.status: str = status
        self.update: str | None = update

    def __str__(self) -> str:
        unanswered = "" if self.update is None else f", and has not answered update {self.update!r}"
        return f"workflow {self.workflow_id!r} has ended: it is {self.status}{unanswered}"


class NothingExposed(NurselogError):
    """The workflow has nothing yet that a query could be asked about."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(workflow_id)
        self.workflow_id: str = workflow_id

    def __str__(self) -> str:
        return (
            f"workflow {self.workflow_id!r} has exposed nothing: queries see what its code has given to expose(), and "
            "it has not come there. Best call that first of all, before anything is awaited."
        )


class WorkflowNotEnded(NurselogError):
    """The workflow cannot be deleted: it, or one that descends from it, has not ended. Nothing was removed.

    Attributes:
        workflow_id: the workflow's id.
        living: the id of the one that has not ended.
    """

    def __init__(self, workflow_id: str, living: str) -> None:
        super().__init__(workflow_id, living)
        self.workflow_id: str = workflow_id
        self.living: str = living

    def __str__(self) -> str:
        who = "it" if self.living == self.workflow_id else f"its descendant {self.living!r}"
        return (
            f"workflow {self.workflow_id!r} cannot be deleted: {who} has not ended. Wait for that, or cancel or "
            f"kill {self.living!r}."
        )


class InboxFull(NurselogError):
    """Too many messages wait for the workflow; nothing was left.

    Attributes:
        workflow_id: the workflow's id.
        limit: how many may wait.
    """

    def __init__(self, workflow_id: str, limit: int) -> None:
        super().__init__(workflow_id, limit)
        self.workflow_id: str = workflow_id
        self.limit: int = limit

    def __str__(self) -> str:
        return (
            f"{self.limit:,} messages wait for workflow {self.workflow_id!r}, and no more may. Send again when it has "
            "read some; or look why it does not (is it stuck, does an engine run it?), or raise max_inbox= of "
            "open_engine."
        )


class PromiseSettled(NurselogError):
    """The promise was settled before; what it was settled with first counts."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(promise_id)
        self.promise_id: str = promise_id

    def __str__(self) -> str:
        return f"promise {self.promise_id!r} was settled before, and the first time counts"


class EngineClosed(NurselogError):
    """The engine is closed, or was closed while the caller waited; the workflow goes on when one is opened again."""


# -- the store -----------------------------------------------------------------------------------


class StoreError(NurselogError):
    """The store cannot do what it is there for."""


class StoreUnavailable(StoreError):
    """The store is locked by another process, full or unreachable; the same call may succeed later."""


class StoreReadOnly(StoreError):
    """The store cannot be written to: the file, its folder or the disk is read-only."""


class StoreCorrupt(StoreError):
    """The file is no nurselog database, it is damaged, or it was deleted or replaced while it was open."""


class StoreTooNew(StoreError):
    """The store was written by a newer nurselog than this one.

    Attributes:
        url: the store.
        found: its schema version.
        known: the newest schema version that this release knows.
    """

    def __init__(self, url: str, found: int, known: int) -> None:
        super().__init__(url, found, known)
        self.url: str = url
        self.found: int = found
        self.known: int = known

    def __str__(self) -> str:
        return (
            f"{self.url} has schema version {self.found}, and this release knows versions up to {self.known}. "
            "Install a newer nurselog; nothing was changed."
        )

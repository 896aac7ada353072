"""What goes into a store from outside, in the very bytes, whoever writes it: an engine, or a transaction of others."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from .._errors import PayloadTooLargeError, UsageError, WorkflowConflict
from .._flow.names import label, plain_text
from .._log.codec import digest
from .._log.events import Received, Row, Started, encode_event
from .._log.identity import check_id
from .._stores.outlet import Holder
from ..abc import Codec
from .messages import Letter, body_of
from .ownership import new_writer
from .owning import Target


class Beginning(NamedTuple):
    """How the log of a workflow that has no parent begins."""

    digest: str
    """Of the input."""
    row: Row


class Pen(NamedTuple):
    """Writes inputs and messages."""

    codec: Codec
    max_payload: int
    """Bytes that one value may have."""

    def limited(self, what: str, data: bytes) -> bytes:
        """Return a value's bytes.

        Raises:
            PayloadTooLargeError: if these are too many.
        """
        if len(data) > self.max_payload:
            raise PayloadTooLargeError(what, len(data), self.max_payload)
        return data

    def letter(self, letter: Letter) -> bytes:
        """Return the body of a message to a mailbox.

        Raises:
            DataError: if its value cannot be written.
            UsageError: if it is no letter, or its topic or key is none, or its id if it is early.
        """
        if not isinstance(letter, Letter):
            raise UsageError(f"a message must be a nurselog.Letter, not {letter!r}")
        id = plain_text("a workflow's id", letter.id)
        if letter.early:  # else it would wait for ever
            for part in id.split("/"):
                check_id(part)
        topic = label("a topic", letter.topic)
        if letter.key is not None:
            label("a message's key", letter.key)
        value = self.limited(f"a message for mailbox {topic!r}", self.codec.encode(letter.value, Any))
        return body_of(event=Received(topic=topic), value=value)

    def beginning(
        self,
        target: Target,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        id: str,
        at: int,
        headers: dict[str, str],
    ) -> Beginning:
        """Return the first row of a workflow.

        Raises:
            EncodingError: if an argument cannot be encoded.
            PayloadTooLargeError: if the input is larger than the limit.
        """
        data = target.signature.encode_call(self.codec.encode, args, kwargs)
        self.limited(f"the input of workflow {id!r}", data)
        started = Started(name=target.name, version=target.version, seed=secrets.token_hex(8), headers=headers)
        return Beginning(digest(data), Row(1, at, 0, new_writer(), encode_event(started), data))

    def check_same(self, id: str, holder: Holder, target: Target, asked: Holder) -> None:
        """See that the workflow that has an id is the one that was asked for.

        Args:
            id: the id.
            holder: who has it.
            target: the function that was asked for.
            asked: who would have it.

        Raises:
            WorkflowConflict: if it is not.
        """
        same = holder.name == target.name
        if not same or (holder.digest != asked.digest and not self._is_same_call(target, holder, asked)):
            raise WorkflowConflict(
                id, f"workflow {holder.name!r}{' with another input' if same else ''}", f"workflow {target.name!r}"
            )

    def _is_same_call(self, target: Target, *inputs: Holder) -> bool:
        """Whether two inputs are one call by the signature of today.

        Parameters that were added with a default, or that have changed places, change the bytes of the same call. And
        a codec that encrypts makes other bytes of it each time: then it is the values that must be equal.
        """
        if any(digest(one.input) != one.digest for one in inputs):
            return False  # a fork, whose digest says where it was cut: with whatever input, it is not that run
        try:
            first, second = (target.signature.decode_call(self.codec.decode, one.input) for one in inputs)
            as_bytes = [target.signature.encode_call(self.codec.encode, *call) for call in (first, second)]
            return as_bytes[0] == as_bytes[1] or first == second
        except Exception:  # noqa: BLE001 - an input that does not fit, or values that cannot be compared: not the same
            return False


def once_of(letter: Letter) -> str | None:
    """Return the word by which the store knows a message again; None: by none."""
    return None if letter.key is None else f"key {letter.key}"

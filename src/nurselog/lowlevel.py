"""For authors of tools, tests and stores: the records of the log, and how to read them."""

from __future__ import annotations

from ._engine.entries import LogEntry as LogEntry
from ._engine.run import END_STATUS as END_STATUS
from ._log.codec import JsonCodec as JsonCodec
from ._log.cursor import describe as describe
from ._log.cursor import is_delivered as is_delivered
from ._log.cursor import is_note as is_note
from ._log.events import ROW_FORMAT as ROW_FORMAT
from ._log.events import SEMANTICS as SEMANTICS
from ._log.events import Answered as Answered
from ._log.events import Cause as Cause
from ._log.events import ChildEnded as ChildEnded
from ._log.events import ChildStarted as ChildStarted
from ._log.events import Claimed as Claimed
from ._log.events import Emitted as Emitted
from ._log.events import Ended as Ended
from ._log.events import Event as Event
from ._log.events import Forked as Forked
from ._log.events import Patched as Patched
from ._log.events import Published as Published
from ._log.events import Received as Received
from ._log.events import Result as Result
from ._log.events import Resumed as Resumed
from ._log.events import Row as Row
from ._log.events import ScopeCancelled as ScopeCancelled
from ._log.events import Selected as Selected
from ._log.events import Started as Started
from ._log.events import StepBegan as StepBegan
from ._log.events import StepEnded as StepEnded
from ._log.events import StepRetried as StepRetried
from ._log.events import TimerFired as TimerFired
from ._log.events import TimerSet as TimerSet
from ._log.events import decode_event as decode_event
from ._log.events import encode_event as encode_event
from ._log.failures import ErrorRecord as ErrorRecord
from ._log.failures import decode_error as decode_error
from ._log.identity import parse_path as parse_path
from ._log.lifecycle import NEXT as NEXT
from ._stores import open_store as open_store

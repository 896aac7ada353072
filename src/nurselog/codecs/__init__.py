"""Codecs to open an engine with: they wrap one another, and the innermost turns values into bytes."""

from __future__ import annotations

from .._log.codec import JsonCodec as JsonCodec
from .compressed import CompressedCodec as CompressedCodec
from .files import FileCodec as FileCodec
from .sweeping import Swept as Swept
from .sweeping import sweep as sweep

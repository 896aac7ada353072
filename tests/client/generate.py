"""Makes `_client/blocking.py` of `_client/calls.py`: what is asked is the same, but for the waiting.

`python -m tests.client.generate` writes it; `test_client_generated.py` says when that is to be done.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.house.tree import PACKAGE

SOURCE, TARGET = PACKAGE / "_client" / "calls.py", PACKAGE / "_client" / "blocking.py"

HEAD = '''"""What one asks a client, for sync code: `calls` without the waiting. Made of it; change nothing here.

`python -m tests.client.generate` makes it anew.
"""
'''

WORDS = {
    "AsyncBridge": "Bridge",
    "AsyncClient": "BlockingClient",
    "AsyncClientHandle": "ClientHandle",
    "AsyncItems": "ClientItems",
    "AsyncIterator": "Iterator",
    "StopAsyncIteration": "StopIteration",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""What is called otherwise."""

PHRASES = {
    "async def ": "def ",
    "await ": "",
    "async with open_client(url) as client`, on Trio or asyncio. Its": "with Client(url) as client`. Its",
    """Cancelling a call cancels it as it would be in Trio, and waits for that; it never
    cancels a workflow.""": """Control-C cancels a call as it would be in Trio, and waits for
    that; it never cancels a workflow.""",
    "an `AsyncClient` returns it": "a `Client` returns it",
}
"""What is said otherwise."""


def generate(source: str) -> str:
    """Return the sync twin of a module."""
    _, _, body = source.partition('"""\n\n# No')
    body = f"\n# No{body}"
    for phrase, other in PHRASES.items():
        assert phrase in body, phrase
        body = body.replace(phrase, other)
    for word, other in WORDS.items():
        body, found = re.subn(rf"\b{word}\b", other, body)
        assert found, word
    return HEAD + body


def formatted(text: str) -> str:
    """Return it as the formatter has it, with its imports sorted."""
    ruff = [sys.executable, "-m", "ruff"]
    sorted_ = [*ruff, "check", "--select=I", "--fix-only", "--quiet", f"--stdin-filename={TARGET}", "-"]
    for command in (sorted_, [*ruff, "format", f"--stdin-filename={TARGET}", "-"]):
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    TARGET.write_text(formatted(generate(SOURCE.read_text("utf-8"))), "utf-8")

"""Cells of a notebook, run by a kernel of Jupyter's: `python -m tests.hosts.cells NOTEBOOK`.

A program of its own, since Jupyter's client leaves warnings that are none of ours. It prints what the cells do, and its
exit code is 1 if one of them raises an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

PATIENCE = 60.0


def code_of(notebook: Path) -> list[str]:
    """Return a notebook's cells of code."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def show(message: dict[str, Any]) -> None:
    """Print what a cell does, as a notebook shows it."""
    match message["msg_type"], message["content"]:
        case "stream", {"text": text}:
            print(text, end="")
        case "execute_result", {"data": data}:
            print(data["text/plain"])
        case "error", {"traceback": traceback}:
            print(*traceback, sep="\n")
        case _:
            pass


def main() -> None:
    """Run all cells, in the current folder."""
    manager, client = start_new_kernel()
    try:
        for code in code_of(Path(sys.argv[1])):
            if client.execute_interactive(code, timeout=PATIENCE, output_hook=show)["content"]["status"] != "ok":
                sys.exit(1)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


if __name__ == "__main__":
    main()

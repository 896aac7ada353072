"""An application for tests that kill it: `python -m tests.stores.outbox_writer URL` obeys commands, one a line.

Each is answered with a line when it is done, and all are in one transaction until `commit`.
"""

from __future__ import annotations

import sys

from nurselog import workflow
from tests.stores.callers import Caller


@workflow(name="collecting")
async def collecting(count: int) -> list[object]:
    """Stand in for the function that engines have: it has its name."""
    raise NotImplementedError


def main(url: str) -> None:
    caller = Caller(url)
    with caller.connect() as connection:
        for line in sys.stdin:
            match line.split():
                case ["write", n]:
                    connection.execute(f"INSERT INTO mine VALUES ({n})")
                case ["submit", id]:
                    caller.outbox.submit(connection, collecting, 1, id=id)
                case ["send", id]:
                    caller.outbox.send(connection, id, "t", "from there")
                case ["commit"]:
                    connection.commit()
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

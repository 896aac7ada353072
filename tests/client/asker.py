"""A process that has a client and no code: it starts workflows by name, a line for each, until it is killed."""

from __future__ import annotations

import itertools
import sys

from nurselog import Client

if __name__ == "__main__":
    with Client(sys.argv[1]) as client:
        for number in itertools.count():
            client.submit("order", number, id=f"o-{number}")
            print(number, flush=True)

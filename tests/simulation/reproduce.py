"""A program for a process of its own: simulates a seed, and prints the digest of all that has happened."""

from __future__ import annotations

import sys

from tests.simulation.run import simulate

if __name__ == "__main__":
    print(simulate(int(sys.argv[1])).digest)

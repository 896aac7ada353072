"""A program that prints digests and JSON of values whose order hangs on the hash seed, unless somebody sees to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nurselog._log.codec import JsonCodec, digest_arguments
from tests.log.values import Box, Cat, Cloud, Color, Person, Point, Tags

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon"]
POINTS = frozenset(map(Point, range(5)))
PAIRS = frozenset({frozenset({one, other}) for one in WORDS for other in WORDS})
VALUES: list[Any] = [
    set(WORDS),
    set(PAIRS),
    [{(word, pair) for word in WORDS for pair in PAIRS}],
    {*WORDS, 1, 2, None},
    POINTS,
    set(Color),
    {word: set(WORDS) for word in set(WORDS)},
    {key: set(WORDS) for key in {*WORDS, 1, 2}},
    Cloud("c", POINTS, {3: set(Color), 1: set(Color)}, [Cloud("d", POINTS)]),
    Cat(1, POINTS),
    Box(1, frozenset(Color)),
    {Path(word) for word in WORDS},
    Person(name="x", tags=set(WORDS), groups=PAIRS, marks={1: set(WORDS)}, pair=(1, set(WORDS))),
    Tags(set(WORDS)),
    {"people": [Tags(set(WORDS))], 7: PAIRS},
]

if __name__ == "__main__":
    codec = JsonCodec()
    for value in VALUES:
        print(digest_arguments((value,), {}), digest_arguments((), {"x": value}), codec.encode(value, Any))

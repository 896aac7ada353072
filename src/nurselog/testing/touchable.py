"""What of the world outside workflow code can touch, as tables: how the sanitizer knows it when it sees it."""

from __future__ import annotations

import datetime as dt
import enum
import os
import random
import time
import uuid
import zoneinfo
from collections.abc import Mapping
from types import CodeType
from typing import Any, NamedTuple

import trio


class Kind(enum.Enum):
    """What can be touched that no log has."""

    CLOCK = "a clock"
    RANDOM = "randomness"
    ENVIRONMENT = "the environment"
    FILE = "a file"
    NETWORK = "the network"
    PROCESS = "another process"


class Touchable(NamedTuple):
    """Something that can be touched."""

    kind: Kind
    name: str


_FUNCTIONS: tuple[tuple[Kind, str, Any, str], ...] = (
    (Kind.CLOCK, "time", time, "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time"),
    (Kind.CLOCK, "time", time, "process_time_ns thread_time thread_time_ns clock_gettime clock_gettime_ns"),
    (Kind.CLOCK, "datetime.datetime", dt.datetime, "now utcnow today"),
    (Kind.CLOCK, "datetime.date", dt.date, "today"),
    (Kind.RANDOM, "random", random, "random getrandbits"),
    (Kind.RANDOM, "os", os, "urandom"),
    (Kind.ENVIRONMENT, "os", os, "getpid getcwd"),
    (Kind.FILE, "os", os, "stat lstat access"),
)

FUNCTIONS: Mapping[object, Touchable] = {
    getattr(owner, name): Touchable(kind, f"{prefix}.{name}")
    for kind, prefix, owner, names in _FUNCTIONS
    for name in names.split()
}
"""Functions written in C. A method is made anew whenever it is asked for, and is equal to itself."""

METHODS: Mapping[str, Touchable] = {
    "random": Touchable(Kind.RANDOM, "random.Random.random"),
    "getrandbits": Touchable(Kind.RANDOM, "random.Random.getrandbits"),
    "now": Touchable(Kind.CLOCK, "datetime.datetime.now"),
    "utcnow": Touchable(Kind.CLOCK, "datetime.datetime.utcnow"),
    "today": Touchable(Kind.CLOCK, "datetime.date.today"),
}
"""Methods of any `random.Random`, on which all its others rest, and of classes that are made of `date`."""

SHARED: random.Random = random.random.__self__  # type: ignore[attr-defined]  # a bound method, which the stubs hide
"""The generator behind the functions of `random`."""

SEED = random.Random.seed.__code__

_Environ: Any = type(os.environ)

CODES: Mapping[CodeType, Touchable] = {
    _Environ.__getitem__.__code__: Touchable(Kind.ENVIRONMENT, "os.environ"),
    _Environ.__iter__.__code__: Touchable(Kind.ENVIRONMENT, "os.environ"),
    _Environ.__setitem__.__code__: Touchable(Kind.ENVIRONMENT, "os.environ"),
    _Environ.__delitem__.__code__: Touchable(Kind.ENVIRONMENT, "os.environ"),
    trio.current_time.__code__: Touchable(Kind.CLOCK, "trio.current_time"),
    uuid.uuid1.__code__: Touchable(Kind.CLOCK, "uuid.uuid1"),
    SEED: Touchable(Kind.RANDOM, "random.Random.seed"),
}
"""Functions written in Python that no function in C gives away."""

_EVENTS = {
    Kind.FILE: "open os.listdir os.scandir os.mkdir os.rmdir os.remove os.rename os.link os.symlink os.truncate "
    "os.chmod os.chown os.utime shutil.copyfile shutil.copytree shutil.move shutil.rmtree sqlite3.connect",
    Kind.NETWORK: "socket.connect socket.bind socket.sendto socket.sendmsg socket.getaddrinfo socket.gethostbyname "
    "socket.gethostbyaddr socket.getnameinfo",
    Kind.PROCESS: "subprocess.Popen os.system os.exec os.fork os.forkpty os.posix_spawn os.kill",
    Kind.ENVIRONMENT: "socket.gethostname os.chdir",
}

EVENTS: Mapping[str, Touchable] = {
    event: Touchable(kind, event) for kind, events in _EVENTS.items() for event in events.split()
}
"""Audit events, by which Python tells what leaves the process."""

TABLES: tuple[str, ...] = tuple(zoneinfo.TZPATH)
"""Folders of files that are the same wherever they are read, and are read by functions in C."""

EXCUSED: frozenset[str] = frozenset(
    # Imports, and what reads sources for the eyes of people; pytest does when an assertion fails.
    {"importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "pkgutil", "encodings"}
    | {"linecache", "traceback", "warnings", "inspect", "tokenize", "_pytest", "pluggy"}
    # Tables that are the same wherever they are read.
    | {"zoneinfo", "gettext", "locale", "mimetypes"}
    # What looks on: it must not be seen itself.
    | {"bdb", "pdb", "code", "pydevd", "_pydevd_bundle", "_pydevd_frame_eval", "coverage"}
    # What tells people of the workflow, and the workflow of nothing.
    | {"logging", "structlog", "loguru", "opentelemetry", "prometheus_client", "sentry_sdk"}
    # Finalizers, which run wherever the collector happens to.
    | {"weakref"}
)
"""Packages whose looking at the world says nothing about the workflow."""

"""Other hash seeds: an order that hangs on hashing, found by replaying a log in other processes.

A set of texts is iterated in the same order as long as its process lives, and in another one in the next. No life in
one process can tell. So the log of the first life goes to processes that have other seeds, and there the code must
follow it, too.

How many? A set of two has the same order in another process every other time, one of three every sixth time. Two
processes miss the set of two in one run of four, the set of three in one of 36, and the next run of the tests, which
draws other seeds, is another try. A third process would cost every test half as much again.

A process takes most of a second to start, most of which is importing, and a replay takes some milliseconds. So
each is started once, when the first log is on its way, answers while the search for mistakes goes on here, and stays
until this process ends. Requests go by files, since a pipe that is full would hold up whoever writes.

The code may stray there for another reason: a test has changed a global variable that the workflow looks at, as tests
do, and a process of its own knows nothing of that. Then it does the same thing under each seed. So where the code does
not follow, each process also says what the code does there by itself, and only where that differs is it hashing.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import SystemRandom
from time import monotonic
from typing import Any, cast

import msgspec

from .. import Workflow
from .._flow.where import defined_at
from .._flow.workflow import registry
from ..abc import Codec
from ..lowlevel import JsonCodec, Row
from . import elsewhere
from .elsewhere import Answer, Followed, Request, Strayed, Untried, Verdict
from .report import OF_REPLAY, Finding, Law, Report

SEEDS = SystemRandom().sample(range(1, 1 << 32), 3)
"""Of the other processes: two, of which none is this one's own. Two that are always the same would never find a set
that they happen to agree on."""
LONGEST = 60.0
"""Seconds to wait for an answer when there is nothing else to do."""
GRACE = 5.0
"""Seconds that a process gets to end by itself."""

_numbers = count(1)


class UntriedWarning(UserWarning):
    """Something that should have been tried could not be."""


class HashSeeds:
    """Sees whether a workflow follows its log in processes that have other hash seeds, which it starts.

    Args:
        workflow: the workflow.
        codec: what its log is written with.
    """

    def __init__(self, workflow: Workflow[..., Any], codec: Codec) -> None:
        self._workflow = workflow
        self._processes: Sequence[_Process] = ()
        self._number = 0
        self._obstacle = _obstacle(workflow, codec)
        if self._obstacle is None:
            others = [seed for seed in SEEDS if str(seed) != os.environ.get("PYTHONHASHSEED")]
            try:
                self._processes = [_process(seed) for seed in others[:2]]
            except OSError as exc:
                self._obstacle = f"no other process could be started: {exc}"

    def ask(self, rows: Sequence[Row]) -> None:
        """Have them begin with a log, if they have none yet."""
        if self._processes and not self._number:
            try:
                request = _request(self._workflow, rows)
                for process in self._processes:
                    process.ask(request)
            except (OSError, UnicodeError) as exc:  # the folder is gone, a path is no text
                self._obstacle, self._processes = f"no other process could be asked: {exc}", ()
            else:
                self._number = request.number

    def tell(self, report: Report) -> None:
        """Wait for what they say, and enter it into the report, unless a replay here has said enough already."""
        if {finding.law for finding in report.findings} & {*OF_REPLAY, Law.ENDS}:
            return
        deadline = monotonic() + LONGEST  # of all
        verdicts = {process.seed: process.verdict(self._number, deadline) for process in self._processes}
        strayed = {seed: verdict for seed, verdict in verdicts.items() if isinstance(verdict, Strayed)}
        obstacle = self._obstacle or next((one.why for one in verdicts.values() if isinstance(one, Untried)), None)
        followed = any(isinstance(verdict, Followed) for verdict in verdicts.values())
        if strayed and (followed or len({verdict.own for verdict in strayed.values()}) > 1):
            seed, verdict = next(iter(strayed.items()))
            misfortune = f"is replayed under PYTHONHASHSEED={seed}"
            report.findings.append(Finding(Law.HASHING, misfortune, verdict.problem, report.live, verdict.where))
        elif strayed and obstacle is None:
            obstacle = _other_state(strayed)
        if obstacle is not None:
            report.obstacle = f"Other hash seeds were not tried: {obstacle}"
            if verdicts:
                self._warn(report.obstacle)

    def _warn(self, text: str) -> None:
        file, _, line = (defined_at(self._workflow.fn) or "?:1").rpartition(":")
        warnings.warn_explicit(f"workflow {self._workflow.name!r}: {text}", UntriedWarning, file, int(line))


def _obstacle(workflow: Workflow[..., Any], codec: Codec) -> str | None:
    """Say why no other process can find a workflow; None if it seems that it can."""
    module = workflow.__module__
    if os.environ.get(elsewhere.MARK):
        return "this is another process already."
    if type(codec) is not JsonCodec:
        return "its log is written with a codec that another process does not have."
    if "<locals>" in workflow.__qualname__:
        return f"workflow {workflow.name!r} is made inside a function, where no other process finds it."
    if (module, workflow.__qualname__, workflow.name) not in registry:
        return f"workflow {workflow.name!r} is not made by @workflow, which would have it found."
    if module == "__main__":
        return f"workflow {workflow.name!r} stands in the program that runs, and not in a module to be imported."
    if getattr(sys.modules.get(module), "__file__", None) is None:
        return f"module {module!r}, where workflow {workflow.name!r} stands, is in no file."
    return None


def _other_state(strayed: dict[int, Strayed]) -> str:
    seeds = " and ".join(map(str, strayed))
    problem = next(iter(strayed.values())).problem
    return (
        f"in another process the code does not follow its log under PYTHONHASHSEED={seeds}, and does the same thing "
        f"each time, as if this process had changed something that the workflow looks at. {problem}"
    )


def _request(workflow: Workflow[..., Any], rows: Sequence[Row]) -> Request:
    file = sys.modules[workflow.__module__].__file__
    assert file is not None
    return Request(
        number=next(_numbers),
        folder=str(Path.cwd()),
        path=_path(),
        module=workflow.__module__,
        file=file,
        qualname=workflow.__qualname__,
        name=workflow.name,
        rows=list(rows),
    )


def _path() -> list[str]:
    """Return where Python looks for modules; it passes over what is no text."""
    return [folder for folder in cast("list[object]", sys.path) if isinstance(folder, str)]


# -- the processes -------------------------------------------------------------------------------


class _Process:
    """Another process, with another hash seed."""

    def __init__(self, seed: int) -> None:
        self.seed: int = seed
        self._folder = Path(tempfile.mkdtemp(prefix="nurselog-"))
        """Where requests are put. Not a `TemporaryDirectory`: that of a fork would be removed at the fork's end."""
        self._left = b""
        """What it has said beyond the last answer."""
        self._errors = self._folder / "errors"
        try:
            self._popen = self._start()
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONHASHSEED": str(self.seed), elsewhere.MARK: "1"}
        with self._errors.open("wb") as errors:
            return subprocess.Popen(  # noqa: S603 - this very Python
                _command(),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def ask(self, request: Request) -> None:
        """Have it begin with a request."""
        assert self._popen.stdin is not None
        file = self._folder / str(request.number)
        file.write_bytes(msgspec.msgpack.encode(request))
        with suppress(BrokenPipeError):  # it has died, which will be found when it does not answer
            self._popen.stdin.write(os.fsencode(file) + b"\n")

    def verdict(self, number: int, deadline: float) -> Verdict:
        """Wait for the answer to a request, until a time of the monotonic clock."""
        try:
            while (answer := msgspec.json.decode(self._line(deadline), type=Answer)).number != number:
                pass  # it was not waited for: the search for mistakes has ended in an error
        except _SilentError as exc:
            self.end(kill=True)
            return Untried(str(exc))
        return answer.verdict

    def _line(self, deadline: float) -> bytes:
        assert self._popen.stdout is not None
        poll = select.poll()
        poll.register(self._popen.stdout, select.POLLIN)
        while b"\n" not in self._left:
            if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
                raise _SilentError(
                    f"another process has not answered within {LONGEST:g} s; look whether the workflow's module waits "
                    "for something when it is imported."
                )
            more = os.read(self._popen.stdout.fileno(), 1 << 16)
            if not more:
                raise _SilentError(f"another process has died ({self._popen.wait()}). {self._last_words()}")
            self._left += more
        line, _, self._left = self._left.partition(b"\n")
        return line

    def _last_words(self) -> str:
        return "".join(self._errors.read_text("utf-8", "replace").splitlines()[-1:])

    def end(self, *, kill: bool = False) -> None:
        """Let it end: it does when there can be no more requests."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        if kill:
            self._popen.kill()
        try:
            self._popen.wait(GRACE)
        except subprocess.TimeoutExpired:  # a fork of ours has its input open still, or a thread keeps it alive
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _SilentError(Exception):
    """There is no answer, and there will be none."""


def _command() -> list[str]:
    """Return what starts this very Python in the same way, but for the hash seed."""
    flags = ["-P"] if sys.flags.safe_path else []
    flags += ["-O"] * sys.flags.optimize
    flags += [f"-W{option}" for option in sys.warnoptions]
    program = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from nurselog.testing.elsewhere import main; main()"
    )
    return [sys.executable, *flags, "-c", program, json.dumps(_path())]


_started: dict[tuple[int, int], _Process] = {}
"""By the process that has started them (a fork shares their pipes, and must not use them), and by seed."""


def _process(seed: int) -> _Process:
    key = os.getpid(), seed
    if key in _started and not _started[key].alive:
        _started.pop(key).end()
    if key not in _started:
        _started[key] = _Process(seed)
    return _started[key]


@atexit.register
def _end_all() -> None:
    """Do not leave them to the collector."""
    for (owner, _), process in _started.items():
        if owner == os.getpid():
            process.end()

"""Steps that compute in worker processes: what comes of them, and what becomes of the processes."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    PayloadTooLargeError,
    ProcessDied,
    RegistrationError,
    Retry,
    StepFailed,
    StepTimedOut,
    UsageError,
    WasCancelled,
    fail_after,
    open_engine,
    open_nursery,
    step,
    workflow,
)
from nurselog._flow import jobs
from nurselog._flow.body import Body
from nurselog._flow.venue import Venue
from nurselog.lowlevel import decode_error
from nurselog.testing import VirtualClock, fakes
from nurselog.testing.clock import Hold, hold_in_threads, in_virtual_time
from tests.engine import computing
from tests.engine.computing import (
    Counter,
    Odd,
    brief,
    die,
    factorial,
    fail,
    get_terminated,
    give,
    leave_a_thread,
    pid,
    power,
    spin,
    total,
)
from tests.neighbours import need

trio_parallel: Any = need(Venue.PROCESS)


async def run(fn: Callable[[], Awaitable[Any]], **options: Any) -> Any:
    """Run a function as a workflow in real time."""
    flow = workflow(name="flow")(fn)
    async with open_engine("sqlite://", [flow], **options) as engine:
        return await engine.run(flow, id="one")


def lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text("ascii").split()[2] != "Z"


async def until(what: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not what():  # noqa: ASYNC110 - of other processes
            await trio.sleep(0.01)


def written(file: Path) -> bool:
    return file.exists() and bool(file.read_text("ascii"))


# -- values and errors ---------------------------------------------------------------------------


async def test_functions_of_all_kinds() -> None:
    async def flow() -> list[object]:
        first, again = await pid(), await pid()
        return [
            await total(4),
            await total(4, times=2),
            await Counter(10).after(5),
            await factorial(5),
            await power(3),
            first == again != os.getpid(),
        ]

    assert await run(flow) == [6, 12, 15, 120, 9, True]


async def test_errors_arrive_as_they_are_and_the_log_has_their_tracebacks() -> None:
    @workflow(name="flow")
    async def flow() -> list[str]:
        texts = []
        for how in ("plain", "odd", "group", "unheard", "large"):
            try:
                await fail(how)
            except (KeyError, Odd, ExceptionGroup, StepFailed, PayloadTooLargeError) as exc:
                texts.append(f"{exc!r:.99} {exc.__cause__!r}")
        return texts

    async with open_engine("sqlite://", [flow], max_payload=4096) as engine:
        handle = await engine.submit(flow)
        plain, odd, group, unheard, large = await handle.result()
        records = [decode_error(entry.value or b"") for entry in (await handle.log())[1:6]]
    assert plain == "KeyError('which') None"
    assert odd == "Odd('1 and 2') OSError('disk')"
    assert group.startswith("ExceptionGroup('both', [Odd('1 and 2'), ValueError('no')])")
    assert unheard.startswith("StepFailed('tests.engine.computing.Unheard', 'unheard of', ")
    assert large.startswith('PayloadTooLargeError("the error of step ')
    for record in records[:4]:
        assert "computing.py" in record.traceback
        assert ", in fail" in record.traceback


PROGRAM = """
import sys, trio
from nurselog import open_engine, step, workflow

class Odd(Exception):
    pass

@step(process=True)
def fail() -> None:
    raise Odd("odd")

@workflow
async def flow() -> None:
    await fail()

async def main() -> None:
    async with open_engine(f"sqlite:///{sys.argv[1]}") as engine:
        if sys.argv[2] == "run":
            handle = await engine.submit(flow, id="one")
        else:  # the code goes on with the step's row
            rows = len(await (await engine.get("one")).log())
            handle = await engine.fork("one", at=rows - 1)
        try:
            await handle.result()
        except Odd as exc:
            print(repr(exc))

if __name__ == "__main__":
    trio.run(main)
"""


def test_an_error_of_the_main_program_is_found_again(tmp_path: Path) -> None:
    """By a process that knows nothing of worker processes, where that module has another name."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    said = []
    for mode in ("run", "look"):
        command = [sys.executable, str(program), str(tmp_path / "log.db"), mode]
        said.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert [line.split()[0] for line in said] == ["Odd('odd')"] * 2


async def test_an_error_leaves_no_circles_for_the_collector() -> None:
    @workflow(name="flow")
    async def flow() -> None:
        with pytest.raises(KeyError):
            await fail("plain")

    async with open_engine("sqlite://", [flow]) as engine:
        await engine.run(flow)
        gc.collect()
        gc.disable()
        try:
            await engine.run(flow)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [one for one in gc.garbage if isinstance(one, (Body, KeyError))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left


async def test_errors_are_retried() -> None:
    async def flow() -> str:
        with pytest.raises(Odd):
            await fail.using(retry=Retry(attempts=3, delay=0, when=Odd))("odd")
        return "went on"

    assert await run(flow) == "went on"


@pytest.mark.parametrize("code", [3, -9])
async def test_a_process_that_dies_is_an_error_and_the_next_step_has_another_one(code: int) -> None:
    async def flow() -> list[object]:
        with pytest.raises(
            ProcessDied, match=rf"the worker process of step 'die' has died, with exit code {code}\."
        ) as e:
            await die(code)
        return [e.value.step, e.value.exit_code, await total(4)]

    assert await run(flow) == ["die", code, 6]


async def test_a_service_that_is_stopped_with_all_its_processes_is_the_engines_to_stop() -> None:
    async def flow() -> str:
        return await get_terminated()

    assert await run(flow) == "went on"


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            partial(give, threading.Lock()),
            r"step 'give' cannot run in a worker process, for its arguments cannot be pic",
        ),
        (partial(give, threading.Lock), "what it returned cannot be pickled, to come from its worker process"),
        (partial(give, computing.unloadable), "what a worker process has returned cannot be unpickled"),
    ],
)
async def test_what_cannot_be_pickled(call: Callable[[], Awaitable[object]], match: str) -> None:
    async def flow() -> str:
        with pytest.raises(UsageError, match=match):
            await call()
        return "went on"

    assert await run(flow) == "went on"


def elsewhere(count: int) -> int:
    return count


async def test_a_function_that_has_no_place_of_its_own() -> None:
    """Its name is somebody else's: `step(process=True)` made it a step, and something else was put there."""
    other = step(process=True, name="other")(computing.total.fn)
    hidden = step(process=True, name="hidden")(elsewhere)
    hidden.fn.__qualname__ = "elsewhere.inner"

    async def flow() -> list[object]:
        with pytest.raises(UsageError, match="for its function cannot be pickled"):
            await hidden(1)
        return [await other(4)]

    try:
        assert await run(flow) == [6]
    finally:
        hidden.fn.__qualname__ = "elsewhere"


def test_what_cannot_be_decorated() -> None:
    async def waits() -> None: ...

    def inner() -> None: ...

    for fn, options, match in (
        (waits, {"process": True}, "process=True is for sync functions"),
        (elsewhere, {"asyncio": True}, "asyncio=True is for async functions"),
        (elsewhere, {"asyncio": True, "process": True}, "exclude each other"),
        (elsewhere, {"process": True, "abandon_on_cancel": True}, "a cancelled process is killed"),
        (inner, {"process": True}, "finds no lambda and nothing that is defined inside"),
        (lambda: None, {"process": True}, "finds no lambda"),
    ):
        with pytest.raises(RegistrationError, match=match):
            step(name="wrong", **options)(fn)  # type: ignore[call-overload]  # that is why


async def test_fakes_stand_in() -> None:
    async def flow() -> int:
        return await total(10**12)

    with fakes({total: lambda count, times: -count * times}):
        assert await run(flow) == -(10**12)


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["handle", "scope", "timeout"])
async def test_a_cancelled_process_is_killed(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pid"

    @step(name="until there")
    async def there() -> None:
        await until(lambda: written(file))

    async def cancel(scope: CancelScope) -> None:
        await there()
        scope.cancel("enough")

    async def flow() -> str:
        async with open_nursery() as nursery:
            if how == "handle":
                handle = nursery.go(spin, str(file))
                await there()
                handle.cancel("enough")
                assert await handle.receive() == WasCancelled("enough", handle.path)
            elif how == "scope":
                nursery.start_soon(cancel, nursery.cancel_scope)
                await spin(str(file))
            else:
                with pytest.raises(StepTimedOut):
                    await spin.using(timeout=5)(str(file))
        return "went on"

    assert await run(flow) == "went on"
    if how != "timeout" or file.exists():  # it may be that the process was not up by then
        await until(lambda: not lives(int(file.read_text("ascii"))))


async def test_suspension_kills_it_and_it_runs_again(tmp_path: Path) -> None:
    file, url = tmp_path / "lines", f"sqlite:///{tmp_path / 'log.db'}"

    @workflow(name="flow")
    async def flow() -> str:
        return await brief(str(file))

    async with open_engine(url, [flow]) as engine:
        await engine.submit(flow, id="one")
        await until(lambda: written(file))
    assert file.read_text("ascii") == "began\n"
    async with open_engine(url, [flow]) as engine:
        assert await (await engine.get("one")).result() == "done"
    assert file.read_text("ascii") == "began\nbegan\nended\n"


async def test_no_more_at_once_than_allowed_and_who_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    file, other = tmp_path / "pid", tmp_path / "other"

    @step(name="until there")
    async def there() -> None:
        await until(lambda: written(file))

    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            first = nursery.go(spin, str(file))
            await there()
            second = nursery.go(spin, str(other))
            await there()
            second.cancel()
            await second.receive()
            first.cancel()
            await first.receive()
        return [first.status.value, second.status.value]

    assert await run(flow, max_processes=1) == ["cancelled", "cancelled"]
    assert not other.exists()


async def test_no_process_is_left_when_the_engine_is_closed(tmp_path: Path) -> None:
    numbers: list[int] = []

    async def flow() -> None:
        numbers.append(await pid())

    await run(flow)
    assert not lives(*numbers)


async def test_a_process_that_does_not_end_is_killed_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def flow() -> None:
        await leave_a_thread()

    await run(flow, grace=0.5)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "worker processes of steps did not end in order when the engine closed" in record.getMessage()


def test_virtual_time_waits_for_a_process() -> None:
    @workflow(name="flow")
    async def flow() -> int:
        with fail_after(1):
            return await total(4)

    async def main(hold: Hold) -> int:
        async with open_engine("sqlite://", [flow], clock=VirtualClock()) as engine:
            hold_in_threads(engine, hold)
            return await engine.run(flow)

    assert in_virtual_time(main, 0) == 6


# -- by itself -----------------------------------------------------------------------------------


async def test_where_no_workflow_records_it() -> None:
    assert await total(4, times=2) == 12
    with pytest.raises(Odd):
        await fail("odd")


async def test_inside_another_step() -> None:
    async def both() -> list[int]:
        return [await total(4), await total(5)]

    async def flow() -> list[int]:
        found: list[int] = await step(name="both")(both)()
        return found

    assert await run(flow) == [6, 10]


async def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_parallel", None)
    with pytest.raises(UsageError, match=r"pip install 'nurselog\[processes\]'"):
        await total(4)


# -- in a worker process -------------------------------------------------------------------------


def test_a_job_that_cannot_be_unpickled() -> None:
    answer = jobs.work(b"nonsense", b"")
    with pytest.raises(UsageError, match="a worker process cannot unpickle its function and arguments"):
        answer.unwrap()


def test_a_job() -> None:
    arguments = pickle.dumps(((4,), {"times": 2}))
    assert jobs.work(pickle.dumps(jobs._sendable(total.fn)), arguments).unwrap() == 12
    with pytest.raises(TypeError, match="times"):
        jobs.work(pickle.dumps(math_fn), arguments).unwrap()
    with pytest.raises(UsageError, match="what it returned cannot be pickled"):
        jobs.work(pickle.dumps(threading.Lock), pickle.dumps(((), {}))).unwrap()


def math_fn(count: int) -> int:
    return count


def test_a_reference_to_what_is_nowhere() -> None:
    assert jobs._find("no.such.module", "f") is None
    assert jobs._find("tests.engine.computing", "no.such.name") is None


def test_it_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, died = threading.Event(), threading.Event()
    killed: list[tuple[int, int]] = []

    class Parent:
        def join(self) -> None:
            ended.wait()

    def kill(number: int, what: int) -> None:
        killed.append((number, what))
        died.set()

    monkeypatch.setattr("multiprocessing.parent_process", Parent)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    jobs.settle_in()
    assert killed == []
    ended.set()
    assert died.wait(60)
    assert killed == [(os.getpid(), signal.SIGKILL)]

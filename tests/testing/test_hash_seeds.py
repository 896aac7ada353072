"""`crash_everywhere` replays its first life's log under other hash seeds, and says so where it cannot."""

from __future__ import annotations

import importlib.util
import inspect
import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from nurselog import Workflow, gather, open_nursery, sleep, step, workflow
from nurselog._flow.workflow import registry
from nurselog.lowlevel import JsonCodec
from nurselog.testing import Broken, Law, Life, Report, Returned, Script, crash_everywhere, elsewhere, hash_seeds
from nurselog.testing.elsewhere import Followed, Strayed, Untried, Verdict
from nurselog.testing.hash_seeds import HashSeeds, UntriedWarning

TREES = {"ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "oak"}
LIMIT = 2


@step
async def greet(name: str) -> str:
    raise AssertionError("the real one")


@step
async def part(name: str) -> None:
    raise AssertionError("the real one")


@workflow
async def greet_all() -> list[str]:
    async with open_nursery() as nursery:
        return await gather(*[nursery.go(greet, name) for name in TREES])  # here


@workflow
async def greet_in_order() -> list[str]:
    async with open_nursery() as nursery:
        return await gather(*[nursery.go(greet, name) for name in sorted(TREES)])


@workflow
async def greet_some(how: str) -> None:
    for number in range(LIMIT):
        await greet(str(number))
    await sleep(3600)
    if LIMIT > 2:
        await part("so many")
    if how == "loudly":
        raise ValueError("loud")


def check(one: Workflow[..., Any], *args: Any, **how: Any) -> Report:
    return crash_everywhere(one, *args, fakes={greet: Script("hello"), part: Script(None)}, **how)


def test_an_order_that_hangs_on_hashing() -> None:
    with pytest.raises(Broken) as caught:
        check(greet_all)
    [finding] = caught.value.report.findings
    lines, first = inspect.getsourcelines(greet_all.fn)
    [line] = [first + place for place, line in enumerate(lines) if "# here" in line]
    assert finding.law is Law.HASHING
    assert finding.misfortune.startswith("is replayed under PYTHONHASHSEED=")
    assert f"test_hash_seeds.py:{line}" in finding.problem
    assert "other arguments than the log has" in finding.problem
    assert "a set that is iterated" in finding.problem
    assert "the same\n" not in str(caught.value), "it has no log of its own to be shown"


def test_an_order_that_does_not() -> None:
    report = check(greet_in_order)
    assert isinstance(report.live.outcome, Returned)
    assert report.obstacle is None


def test_a_failure_is_followed() -> None:
    assert check(greet_some, "loudly").obstacle is None


@pytest.mark.parametrize("limit", [1, 3])
def test_what_only_this_process_has_changed_is_no_order(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", limit)
    with pytest.warns(UntriedWarning, match="does the same thing each time") as caught:
        report = check(greet_some, "politely")
    assert caught[0].lineno == inspect.getsourcelines(greet_some.fn)[1]
    assert report.obstacle is not None
    assert "as if this process had changed something" in report.obstacle
    assert str(report).endswith(report.obstacle)


def test_where_replays_differ_anyway_nobody_waits() -> None:
    lives: list[int] = []

    def counted() -> int:
        lives.append(1)
        return len(lives)

    with pytest.raises(Broken) as caught:
        check(_made(lambda: greet(str(counted()))))
    assert Law.HASHING not in {finding.law for finding in caught.value.report.findings}


def _made(body: Callable[[], Any]) -> Workflow[..., Any]:
    async def made() -> None:
        await body()

    made.__qualname__ = "made"
    return workflow(made)


# -- what they say, put together -----------------------------------------------------------------


class Told:
    """A process that says what it is told."""

    def __init__(self, seed: int, verdict: Verdict) -> None:
        self.seed = seed
        self._verdict = verdict

    def ask(self, request: elsewhere.Request) -> None:
        pass

    def verdict(self, number: int, deadline: float) -> Verdict:
        return self._verdict


ONE, OTHER = Strayed("it strays", None, "one"), Strayed("it strays", None, "other")


@pytest.mark.parametrize(
    ("verdicts", "findings", "untried"),
    [
        ([Followed(), Followed()], 0, None),
        ([Followed(), ONE], 1, None),
        ([ONE, OTHER], 1, None),
        ([ONE, ONE], 0, "as if this process had changed something that the workflow looks at. it strays"),
        ([ONE, Untried("it sleeps")], 0, "it sleeps"),
        ([Followed(), Untried("it sleeps")], 0, "it sleeps"),
    ],
)
def test_verdicts(
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    verdicts: list[Verdict],
    findings: int,
    untried: str | None,
) -> None:
    waiting = iter(verdicts)
    monkeypatch.setattr(hash_seeds, "_process", lambda seed: Told(seed, next(waiting)))
    asked = HashSeeds(greet_all, JsonCodec())
    report = Report("greet_all", Life((), 0, Returned(None)))
    asked.ask([])
    asked.tell(report)
    assert len(report.findings) == findings
    assert (report.obstacle or "").endswith(untried or "")
    assert bool(report.obstacle) == bool(untried) == bool(recwarn.list)


def test_seeds_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(hash_seeds, "_process", begun.append)
    monkeypatch.setattr(hash_seeds, "SEEDS", (1, 2, 3))
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    HashSeeds(greet_all, JsonCodec())
    assert begun == [1, 3]


# -- what cannot be tried ------------------------------------------------------------------------


def test_a_workflow_that_is_made_in_a_function() -> None:
    @workflow(name="local")
    async def local() -> None: ...

    report = check(local)
    assert str(report).endswith(
        "Other hash seeds were not tried: workflow 'local' is made inside a function, where no other process finds it."
    )


def test_a_codec_of_ones_own() -> None:
    class Codec(JsonCodec): ...

    assert "written with a codec" in (check(greet_in_order, codec=Codec()).obstacle or "")


def test_a_workflow_that_nobody_has_decorated() -> None:
    report = check(Workflow(greet_in_order.fn, "bare", None))
    assert "workflow 'bare' is not made by @workflow" in (report.obstacle or "")


def move(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(greet_in_order, "__module__", module)
    monkeypatch.setitem(registry, (module, "greet_in_order", "greet_in_order"), greet_in_order)


def test_a_workflow_of_the_program_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    move(monkeypatch, "__main__")
    assert "stands in the program that runs" in (check(greet_in_order).obstacle or "")


def test_a_module_that_is_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    move(monkeypatch, "nowhere")
    assert "module 'nowhere'" in (check(greet_in_order).obstacle or "")


def test_no_process_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(elsewhere.MARK, "1")
    assert "this is another process already" in (check(greet_in_order).obstacle or "")


def test_processes_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(hash_seeds, "_started", {})
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert "no more processes" in (check(greet_in_order).obstacle or "")


def test_processes_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError("the folder is gone")

    monkeypatch.setattr(hash_seeds, "_request", refuse)
    assert "the folder is gone" in (check(greet_in_order).obstacle or "")


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """A module that is imported as pytest's `importlib` mode does: its folder is in no path."""
    path = tmp_path / "orders.py"
    code = """
    import os
    from nurselog import step, workflow

    if os.environ.get("NURSELOG_TESTING_ELSEWHERE"):
        {elsewhere}

    @step
    async def order() -> None: ...

    @workflow
    async def orders() -> None:
        await order()
    """
    path.write_text(textwrap.dedent(code).format(elsewhere=request.param))
    spec = importlib.util.spec_from_file_location("tests.orders.of_today", path)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules["tests.orders.of_today"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    del sys.modules["tests.orders.of_today"]


@pytest.mark.parametrize("module", ["pass"], indirect=True)
def test_a_module_that_has_no_name_there(module: ModuleType) -> None:
    assert crash_everywhere(module.orders).obstacle is None
    assert crash_everywhere(module.orders).obstacle is None, "and a second time"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("raise RuntimeError('not here')", "could not import tests.orders.of_today: RuntimeError('not here')"),
        ("raise SystemExit(3)", "could not import tests.orders.of_today: SystemExit(3)"),
        ("print('ouch', flush=True); os._exit(3)", "another process has died (3). ouch"),
        ("workflow = lambda fn: fn", "importing tests.orders.of_today does not make workflow 'orders'"),
        ("import time; time.sleep(600)", "another process has not answered within 0.01 s"),
    ],
    indirect=["module"],
)
def test_a_process_that_cannot_answer(monkeypatch: pytest.MonkeyPatch, module: ModuleType, why: str) -> None:
    check(greet_in_order)  # so that the processes have started
    if "0.01 s" in why:
        monkeypatch.setattr(hash_seeds, "LONGEST", 0.01)
    with pytest.warns(UntriedWarning) as caught:
        report = crash_everywhere(module.orders)
    assert why in str(caught[0].message)
    assert why in str(report)
    monkeypatch.undo()
    assert check(greet_in_order).obstacle is None, "others are started"


# -- the other process, in this one ---------------------------------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verdict]:
    """Have a request answered in this process, as another one would."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "orders", None)
    monkeypatch.chdir(Path.cwd())
    log = check(greet_some, "politely").live.rows

    def answer(file: Path, module: str = "orders", path: Sequence[str] = ()) -> Verdict:
        sys.modules.pop(module, None)
        rows, folder = list(log), str(file.parent)
        request = elsewhere.Request(
            number=5,
            folder=folder,
            path=[*path, *sys.path],
            module=module,
            file=str(file),
            qualname="greet_some",
            name="greet_some",
            rows=rows,
        )
        (file.parent / "request").write_bytes(msgspec.msgpack.encode(request))
        said = io.BytesIO()
        elsewhere.serve(io.BytesIO(os.fsencode(file.parent / "request") + b"\n"), said)
        return msgspec.json.decode(said.getvalue(), type=elsewhere.Answer).verdict

    return answer


ORDERS = """
from nurselog import sleep, step, workflow

@step
async def greet(name: str) -> str: ...

@step
async def part(name: str) -> None: ...

@workflow
async def greet_some(how: str) -> None:
    for number in range({limit}):
        await greet(str(number))
    await sleep({seconds})
"""


@pytest.mark.parametrize("how", ["by its name", "from its file"])
def test_a_log_is_followed(tmp_path: Path, here: Callable[..., Verdict], how: str) -> None:
    (tmp_path / "orders.py").write_text(ORDERS.format(limit=2, seconds=3600))
    verdict = here(tmp_path / "orders.py", path=[str(tmp_path)] if how == "by its name" else [])
    assert verdict == Followed()


def test_a_log_is_not_followed(tmp_path: Path, here: Callable[..., Verdict]) -> None:
    (tmp_path / "orders.py").write_text(ORDERS.format(limit=3, seconds=3600))
    one, again = here(tmp_path / "orders.py"), here(tmp_path / "orders.py")
    assert isinstance(one, Strayed)
    assert "orders.py:" in one.problem
    assert one == again, "it does the same by itself"


def test_a_module_that_cannot_be_used(tmp_path: Path, here: Callable[..., Verdict]) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "wrong.py").write_text("1 / 0")
    assert here(tmp_path / "empty.py") == Untried("importing orders does not make workflow 'greet_some'")
    assert here(tmp_path / "wrong.py") == Untried(
        "another process could not import orders: ZeroDivisionError('division by zero')"
    )
    assert "FileNotFoundError" in str(here(tmp_path / "nothing.py", "nowhere.orders"))


def test_an_answer_that_nobody_has_waited_for() -> None:
    def interrupted(_: Life) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(greet_all, invariant=interrupted)
    assert check(greet_in_order).obstacle is None


def test_processes_end_with_the_one_that_has_started_them() -> None:
    check(greet_in_order)
    processes = [process for (owner, _), process in hash_seeds._started.items() if owner == os.getpid()]
    assert all(process.alive for process in processes)
    hash_seeds._started[0, 0] = processes[0]  # somebody else's
    hash_seeds._end_all()
    assert not any(process.alive for process in processes)
    del hash_seeds._started[0, 0]


def test_a_process_that_does_not_end_by_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that was made later has its input open, too, and may live for long."""
    monkeypatch.setattr(hash_seeds, "GRACE", 0.0)
    monkeypatch.setattr(hash_seeds, "_started", {})
    process = hash_seeds._process(5)
    process.end()
    assert not process.alive

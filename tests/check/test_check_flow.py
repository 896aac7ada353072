"""What is workflow code: what a workflow calls and spawns, and nothing that a step does."""

from __future__ import annotations

import pytest

from tests.check.kit import flow, found

REACHED = {
    "called": flow("def f():\n    open('x')", "f()"),
    "awaited": flow("async def f():\n    open('x')", "await f()"),
    "called by what is called": flow("def f():\n    open('x')\ndef g():\n    f()", "g()"),
    "a function in it": flow("", "def f():\n    open('x')", "f()"),
    "started": flow("async def f():\n    open('x')", "nursery.start_soon(f)"),
    "started with go": flow("async def f():\n    open('x')", "nursery.go(f, 5)"),
    "started by a decorator": flow("", "@nursery.start_soon\nasync def f():\n    open('x')"),
    "mapped": flow("async def f(y):\n    open('x')", "await map_concurrently(f, x)"),
    "bound": flow("from functools import partial\nasync def f(y):\n    open('x')", "nursery.go(g, partial(f, 5))"),
    "raced": flow("async def f():\n    open('x')", "await nurselog.race(lambda: f())"),
    "a key": flow("def f(y):\n    open('x')", "sorted(x, key=f)"),
    "a callback": flow("async def f():\n    open('x')", "stack.push_async_callback(f)"),
    "a context": flow(
        "import contextlib\n@contextlib.contextmanager\ndef f():\n    open('x')\n    yield", "with f():\n    pass"
    ),
    "a method": "class A:\n  def f(self):\n    open('x')\n  @workflow\n  async def flow(self):\n    self.f()",
    "a lambda of a branch": flow("", "nursery.go(lambda: open('x'))"),
    "a lambda that is called": flow("", "(lambda: open('x'))()"),
    "a lambda that a function of it awaits": flow("async def f(y):\n    y()", "await f(lambda: open('x'))"),
}
ELSEWHERE = {
    "nobody's": flow("def f():\n    open('x')", "pass"),
    "a step's": flow("@step\nasync def f():\n    open('x')", "await f()", "nursery.go(f)"),
    "a step's own": flow("@nurselog.step(name='f')\ndef f():\n    g()\ndef g():\n    open('x')", "await f()"),
    "made a step": flow("def f():\n    open('x')\ng = step(f)", "await g()", "await step(f)()", "await f.using()()"),
    "given to a step": flow("def f():\n    open('x')", "await charge(f)", "await charge(lambda: open('x'))"),
    "given to a step by name": flow(
        "", "await charge(cents=lambda: open('x'))", "nursery.go(charge, lambda: open('x'))"
    ),
    "given to a step of others": flow("import shop", "await shop.apply(lambda: open('x'))"),
    "made a step on the spot": flow("", "await step(lambda: open('x'), name='x')()"),
    "decorated by nobody knows what": flow("import shop\n@shop.step\nasync def f():\n    open('x')", "await f()"),
    "a system task": flow("async def f():\n    open('x')", "trio.lowlevel.spawn_system_task(f)"),
    "a method of another object": "class A:\n    def f(self):\n        open('x')\n" + flow("", "x.f()"),
    "a class in it": flow("", "class A:\n    y = open('x')"),
    "an annotation": flow("", "y: open('x') = 5", "z: open('x')"),
    "a class": flow("class A: ...", "A(5)", "A.y(5)"),
}


@pytest.mark.parametrize("snippet", REACHED.values(), ids=REACHED)
def test_workflow_code_is_looked_at(snippet: str) -> None:
    assert [rule for rule, _ in found(snippet)] == ["effect"]


@pytest.mark.parametrize("snippet", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_code_is_not(snippet: str) -> None:
    assert found(snippet) == []


def test_functions_that_call_each_other_are_looked_at_once() -> None:
    snippet = flow(
        "async def f():\n    await g()\nasync def g():\n    open('x')\n    await f()", "await f()", "await g()"
    )
    assert found(snippet) == [("effect", 4)]


def test_cleanup_that_is_called_with_and_without_a_shield_is_found() -> None:
    """Somebody calls it where cancellation reaches it, in whatever order the calls stand."""
    undo = "async def undo():\n    try:\n        await charge(1)\n    finally:\n        await release('it')\n"
    shielded = "with CancelScope(shield=True):\n    await undo()"
    assert found(flow(undo, shielded)) == []
    assert found(flow(undo, shielded, "await undo()")) == [("unshielded-cleanup", 5)]
    assert found(flow(undo, "await undo()", shielded)) == [("unshielded-cleanup", 5)]

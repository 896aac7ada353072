"""What a name means: imports, aliases and scopes. Wherever that is not certain, nothing is said."""

from __future__ import annotations

import pytest

from nurselog.check import check_source
from tests.check.kit import flow, found

CLOCKS = {
    "a module": flow("import time", "time.time()"),
    "a module by another name": flow("import time as t", "t.time()"),
    "a name": flow("from time import time", "time()"),
    "a name by another name": flow("from time import time as now", "now()"),
    "a module in a package": flow("import os.path, datetime", "datetime.datetime.now()"),
    "imported in the function": flow("", "import time", "time.time()"),
    "an alias": flow("import time\nclock = time.time", "clock()"),
    "an alias of an alias": flow("import time\nt = time\nclock = t.time", "clock()"),
    "an alias with an annotation": flow("import time\nclock: object = time.time", "clock()"),
    "an alias in a pair": flow("import time\nclock, five = time.time, 5", "clock()"),
    "a walrus": flow("import time", "(clock := time.time)", "clock()"),
    "imported twice": flow("try:\n    import time\nexcept ImportError:\n    import time", "time.time()"),
    "everything of a module": flow("from time import *", "monotonic()"),
    "global": flow("from time import time", "global time", "time()"),
    "in a lambda that is run": flow("import time", "sorted([1], key=lambda y: time.time())"),
    "in a default": flow("import time", "(lambda y=time.time(): y)"),
    "in a class that nobody makes": flow("import time", "class A:\n    time = 5", "time.time()"),
    "handed on": flow("import time\nfrom functools import partial", "map(partial(time.time), x)"),
}
STRANGERS = {
    "a parameter": "import time\n@workflow\nasync def flow(time):\n    time.time()",
    "a parameter by name": "import time\n@workflow\nasync def flow(*, time):\n    time.time()",
    "all arguments": "import time\n@workflow\nasync def flow(*time, **x):\n    time.time()",
    "a variable": flow("import time", "time = x", "time.time()"),
    "a loop's": flow("import time", "for time in x:\n    time.time()"),
    "a part of a tuple": flow("import time", "time, y = x", "time.time()"),
    "entered": flow("import time", "with x as time:\n    time.time()"),
    "entered in parts": flow("import time", "with x as (time, y):\n    time.time()"),
    "entered without a name": flow("import time", "with x:\n    x.time()"),
    "an error": flow("import time", "try:\n    pass\nexcept ValueError as time:\n    time.time()"),
    "matched": flow("import time", "match x:\n    case [time]:\n        time.time()"),
    "matched as": flow("import time", "match x:\n    case [1] as time:\n        time.time()"),
    "matched as the rest": flow("import time", "match x:\n    case [1, *time]:\n        time.time()"),
    "matched as all others": flow("import time", "match x:\n    case {'a': 1, **time}:\n        time.time()"),
    "matched without names": flow("", "match x:\n    case {'a': 1}:\n        x.time()\n    case [*_]:\n        pass"),
    "a function of one's own": flow("import time\ndef time(): ...", "time.time()"),
    "a class of one's own": flow("class time:\n    def time(): ...", "time.time()"),
    "a variable of the class": flow("class A:\n    import time", "time.time()"),
    "one of two": flow(
        "import time\ntry:\n    import time\nexcept ImportError:\n    import mock as time", "time.time()"
    ),
    "assigned by another function": flow(
        "import time", "clock = time.time", "def other():\n    nonlocal clock\n    clock = 5", "clock()"
    ),
    "a circle": flow("a = b\nb = a", "a()"),
    "a circle of calls": flow("a = b()\nb = a()", "a.read_text()", "for y in a:\n    await y"),
    "relative": flow("from .time import time\nfrom . import datetime", "time()", "datetime.datetime.now()"),
    "everything of two modules": flow("from time import *\nfrom mine import *", "monotonic()"),
    "a builtin of another module": flow("from os import *", "open(5)"),
    "unknown": flow("", "time.time()", "x[0].time()", "x().time()"),
    "declared": flow("import time", "time: object", "time.time()", "x.y: int = 5"),
    "augmented": flow("import time", "x.time += 5", "x.time()"),
    "deleted": flow("", "del x", "x = 5"),
    "a static method": flow(
        "class A:\n    @staticmethod\n    def f(self):\n        self.g()\n    def g(self):\n        open('x')", "A.f(x)"
    ),
}


@pytest.mark.parametrize("snippet", CLOCKS.values(), ids=CLOCKS)
def test_a_clock_is_found_by_whatever_name(snippet: str) -> None:
    assert [rule for rule, _ in found(snippet)] == ["wall-clock"]


@pytest.mark.parametrize("snippet", STRANGERS.values(), ids=STRANGERS)
def test_what_has_the_name_of_a_clock_is_none(snippet: str) -> None:
    assert found(snippet) == []


DECORATORS = {
    "made before": "from nurselog import workflow\ndurable = workflow(name='x')\n@durable",
    "a name": "from nurselog import workflow\n@workflow",
    "an alias": "from nurselog import workflow as durable\n@durable",
    "with options": "import nurselog\n@nurselog.workflow(name='x')",
    "of a module by another name": "import nurselog as nl\n@nl.workflow",
    "of everything": "from nurselog import *\n@workflow()",
}


@pytest.mark.parametrize("above", DECORATORS.values(), ids=DECORATORS)
def test_a_workflow_is_known_by_whatever_name(above: str) -> None:
    assert len(check_source(f"import time\n{above}\nasync def flow(): time.sleep(5)", "a.py")) == 1


@pytest.mark.parametrize("call", ["workflow(flow)", "workflow(name='x')(flow)"])
def test_a_workflow_may_be_made_by_a_call(call: str) -> None:
    assert found(f"async def flow():\n    open('x')\nmade = {call}\nother = workflow(5)") == [("effect", 2)]


STEPS = {
    "of a decorator that was made before": flow("cheap = step(name='x')\n@cheap\nasync def f(): ...", "f()"),
    "a variant": flow("again = charge.using(name='again')", "again(1)"),
    "someone else's function": flow("import shop\npay = step(shop.pay)", "pay(1)"),
    "with options": flow("import shop\npay = step(name='pay')(shop.pay)", "pay(1)"),
    "of a class": "class A:\n    @step\n    async def f(self): ...\n" + flow("", "A.f(x)", "a = A()", "a.f()"),
    "of an annotated object": "class A:\n    @step\n    async def f(self): ...\n" + flow("", "a: A = x", "a.f()"),
}


@pytest.mark.parametrize("snippet", STEPS.values(), ids=STEPS)
def test_a_step_is_known_by_whatever_name(snippet: str) -> None:
    assert {rule for rule, _ in found(snippet)} == {"unawaited"}


def test_columns_count_characters() -> None:
    [mistake] = check_source(flow("from nurselog import workflow", "x = 'ä', open('y')"), "a.py")
    assert (mistake.line, mistake.column) == (4, 14)


@pytest.mark.parametrize("text", ["def", "x\0"])
def test_what_is_no_python_raises(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        check_source(text, "a.py")


def test_lines_may_end_as_they_used_to() -> None:
    text = "from nurselog import workflow\rimport time\r@workflow\rasync def flow():\r    return time.time()\r"
    [mistake] = check_source(text, "a.py")
    assert (mistake.line, mistake.column) == (5, 12)


def test_warnings_of_the_syntax_are_not_ours() -> None:
    assert check_source("x = '\\d'", "a.py") == []

"""`set-order`: sets whose order gets into the log, and those whose order nobody sees."""

from __future__ import annotations

import pytest

from tests.check.kit import flow, found, marked

WRONG = {
    "iterated into steps": 'for one in {"a", "b"}:  # breaks: set-order\n    await charge(one)',
    "of a variable": "them = set(x)\nfor one in them:  # breaks: set-order\n    await charge(one)",
    "of an annotated variable": "them: set[str] = x\nfor one in them:  # breaks: set-order\n    await charge(one)",
    "of a type that nobody knows": "them: shop.T = {*x}\nfor y in them:  # breaks: set-order\n    await charge(y)",
    "of tuples": "them: set[tuple[int, str]] = x\nfor y in them:  # breaks: set-order\n    await charge(y)",
    "of lists": "them: frozenset[list[int, int]]\nfor y in them:  # breaks: set-order\n    await charge(y)",
    "of an annotation without elements": "them: set = x\nfor y in them:  # breaks: set-order\n    await charge(y)",
    "that may be none": "them: set[str] | None = x\nfor one in them:  # breaks: set-order\n    await charge(one)",
    "into branches": "for one in frozenset(x):  # breaks: set-order\n    nursery.go(charge, one)",
    "around calls of another module": "for one in {*x}:  # breaks: set-order\n    await shop.notify(one)",
    "in a comprehension": "handles = [nursery.go(charge, one) for one in {y for y in x}]  # breaks: set-order",
    "of calls": "calls = [charge(one) for one in set(x)]  # breaks: set-order\nawait calls[0]",
    "by operators": 'done = {"a"}\nfor one in x - done:  # breaks: set-order\n    await charge(one)',
    "by methods": 'for one in {"a"}.union(x):  # breaks: set-order\n    await charge(one)',
    "as a list": "them = list(set(x))\nfor one in them:  # breaks: set-order\n    await charge(one)",
    "numbered": "for i, one in enumerate(set(x)):  # breaks: set-order\n    await charge(one)",
    "as an argument": "await charge(list(set(x)))  # breaks: set-order",
    "as an argument by name": "await charge(cents=[*set(x)])  # breaks: set-order",
    "as a text": 'await charge(", ".join({"a", *x}))  # breaks: set-order',
    "as arguments": "await charge(*set(x))  # breaks: set-order",
    "given to a helper": "await map_concurrently(charge, set(x))  # breaks: set-order",
    "given to a branch": "nursery.go(charge, [one for one in set(x)])  # breaks: set-order",
    "as a result": "return list(set(x))  # breaks: set-order",
    "in a result": 'return {"all": (1, [one for one in set(x)])}  # breaks: set-order',
    "in pieces": "some = set(x)\nawait charge(f'{some.pop()}')  # breaks: set-order",
    "emptied": "todo = set(x)\nwhile todo:\n    await charge(todo.pop())  # breaks: set-order",
}
RIGHT = {
    "sorted": "for one in sorted(set(x)):\n    await charge(one)",
    "sorted in place": "them = list(set(x))\nthem.sort()\nfor one in them:\n    await charge(one)",
    "looked into": "them = set(x)\nif 5 in them:\n    await charge(len(them))",
    "recorded as a set": "await charge(set(x))\nawait charge({y for y in x})\nreturn {1.5} | set(x)",
    "counted": "await charge(sum(set(x)))\nreturn max({one for one in x})",
    "of numbers": "for one in {1, -2}:\n    await charge(one)",
    "of more numbers": "for one in {1.5, (1, 2), float(x)}:\n    await charge(one)",
    "of numbers in tuples, annotated": "them: set[tuple[int, float]] = x\nfor one in them:\n    await charge(one)",
    "of numbers, made": "for one in set(range(5)) | {len(y) + 1 for y in x}:\n    await charge(one)",
    "of numbers, listed": "for one in set([1, 2]):\n    await charge(one)",
    "of numbers, annotated": "them: set[int] = x\nfor one in them:\n    await charge(one)",
    "of numbers, returned": "them: set[int] = set(x)\nreturn them",
    "of a type that nobody knows": "them: shop.Set = set(x)\nreturn them",
    "not certain": "them = x or set()\nfor one in them:\n    await charge(one)",
    "bound twice": "them = set(x)\nthem = sorted(them)\nfor one in them:\n    await charge(one)",
    "of a loop": "for them in x:\n    for one in them:\n        await charge(one)",
    "that leads to nothing": "total = 0\nfor one in set(x):\n    total += one\nawait charge(total)",
    "that waits for nothing durable": "for one in set(x):\n    await trio.lowlevel.checkpoint()",
    "a dict": "for one in dict.fromkeys(x):\n    await charge(one)",
    "another pop": "todo = list(x)\nwhile todo:\n    await charge(todo.pop())\n    x.pop(0)",
    "in pieces of a list": "some = list(x)\nawait charge(some.pop(), x.pop(), print())",
    "emptied without steps": "todo = set(x)\nwhile todo:\n    todo.pop()",
    "already said once": "handles = [nursery.go(charge, one) for one in x]\nawait gather(*handles)",
    "tuples": "a, b = set(x), 5\nawait charge([b, (1, 2)])\n*rest, last = x\nawait charge(rest)",
    "a text of a list": 'await charge(", ".join(x))',
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_the_order_of_a_set_is_found(body: str) -> None:
    snippet = flow("import shop", *body.split("\n\n"))
    assert found(snippet) == marked(snippet)


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT)
def test_a_set_may_be_used(body: str) -> None:
    assert found(flow("import shop", body)) == []


def test_a_set_of_the_module_is_found() -> None:
    snippet = 'BROKERS = {"a", "b"}\n' + flow("", "for one in BROKERS:  # breaks: set-order\n    await charge(one)")
    assert found(snippet) == marked(snippet)


def test_a_set_that_is_an_argument_is_found() -> None:
    snippet = """
    from typing import AbstractSet
    @workflow
    async def flow(brokers: AbstractSet[str]):
        async for one in brokers:  # breaks: set-order
            await charge(one)
    """
    assert found(snippet) == marked(snippet)


def test_an_order_is_said_once() -> None:
    """Where a comprehension has been reported, what is made of its list is not reported again."""
    body = "handles = [nursery.go(charge, y) for y in set(x)]  # breaks: set-order\nreturn await gather(*handles)"
    snippet = flow("", body)
    assert found(snippet) == marked(snippet)


def test_a_list_that_only_a_branch_returns_is_no_result() -> None:
    assert found("async def branch(x):\n    return list(set(x))\n" + flow("", "return len(await branch(x))")) == []

"""What workflow code calls that it must not call, or calls without `await`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CoroutineType

from .flow import Code, is_spawner, is_step, own, run_by
from .known import (
    BREAKS,
    BREAKS_WHEN_READ,
    BREAKS_WITHOUT_ARGUMENTS,
    DEADLINES,
    METHODS,
    METHODS_THAT_WAIT,
    NO_DEADLINE,
    NO_WAIT,
    SCOPES,
    WAITS,
)
from .names import Module, once
from .rules import Found, Rule
from .scopes import Assigned, Binding, FunctionNode


def find_calls(code: Code) -> Iterator[Found]:
    """Find clocks, chance, plain waits and deadlines, and effects."""
    for node in code.nodes():
        if isinstance(node, ast.Call):
            yield from _by_call(code.module, node)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            meaning = code.module.meaning(node)
            if isinstance(meaning, str) and meaning in BREAKS_WHEN_READ:
                yield Found(BREAKS_WHEN_READ[meaning], node, ast.unparse(node))


def _by_call(module: Module, call: ast.Call) -> Iterator[Found]:
    for one in run_by(module, call):
        meaning = module.meaning(one)
        if isinstance(meaning, str) and (rule := _rule(module, call, meaning)):
            yield Found(rule, one, f"{ast.unparse(one)}()")
    if isinstance(call.func, ast.Attribute):
        kind = module.kind(call.func.value)
        if isinstance(kind, str) and call.func.attr in METHODS.get(kind, ()):
            yield Found(Rule.EFFECT, call.func, f"{ast.unparse(call.func)}()")


def _rule(module: Module, call: ast.Call, meaning: str) -> Rule | None:
    """Return the rule that a call of this name breaks, with the arguments that it has."""
    if meaning in SCOPES:
        given = [keyword.value for keyword in call.keywords if keyword.arg in DEADLINES]
        return Rule.PLAIN_DEADLINE if any(not _is_none(module, value) for value in given) else None
    rule = BREAKS.get(meaning)
    if rule is None and not (call.args or call.keywords):
        rule = BREAKS_WITHOUT_ARGUMENTS.get(meaning)
    match rule, call.args:
        case Rule.PLAIN_SLEEP, [ast.Constant(value=0)] if meaning in NO_WAIT:
            return None
        case Rule.PLAIN_SLEEP | Rule.PLAIN_DEADLINE, [value, *_] if _is_none(module, value):
            return None
        case _:
            return rule


def _is_none(module: Module, value: ast.expr) -> bool:
    """Whether it is no deadline."""
    return (isinstance(value, ast.Constant) and value.value is None) or module.meaning(value) in NO_DEADLINE


# -- without await -------------------------------------------------------------------------------


def find_unawaited(code: Code) -> Iterator[Found]:
    """Find calls of what is async whose coroutine goes nowhere, or where no coroutine can be meant."""
    module = code.module
    for node in code.nodes():
        if isinstance(node, ast.Call) and _makes_coroutine(module, node) and _is_lost(code, node):
            yield Found(Rule.UNAWAITED, node, f"{ast.unparse(node.func)}()")


def _makes_coroutine(module: Module, call: ast.Call) -> bool:
    meaning = module.meaning(call.func)
    if isinstance(meaning, ast.AsyncFunctionDef) and not meaning.decorator_list:
        return not any(isinstance(node, ast.Yield) for node in own(module, meaning))
    return is_step(module, call.func) or meaning in WAITS or _is_method_that_waits(module, call.func)


def _is_method_that_waits(module: Module, node: ast.expr) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    kind = module.kind(node.value)
    return (isinstance(kind, str) and node.attr in METHODS_THAT_WAIT.get(kind, ())) or _is_of_handle(module, node)


def _is_of_handle(module: Module, node: ast.Attribute) -> bool:
    """Whether it is `handle.result` or `handle.receive`, with a handle that `nursery.go` has returned."""
    if not (node.attr in {"receive", "result"} and isinstance(node.value, ast.Name)):
        return False
    bindings = module.bindings(node.value)
    return bool(bindings) and all(_is_go(binding) for binding in bindings)


def _is_go(binding: Binding) -> bool:
    match binding:
        case Assigned(value=ast.Call(func=ast.Attribute(attr="go"))):
            return True
        case _:
            return False


def _is_lost(code: Code, call: ast.Call) -> bool:
    """Whether nobody can await what a call returns, or something else than a coroutine is wanted of it."""
    parent = code.module.parents[call]
    match parent:
        case ast.Expr() | ast.BinOp() | ast.UnaryOp() | ast.Compare() | ast.FormattedValue() | ast.Subscript():
            return True
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            return test is call
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated, is_async=0):
            return iterated is call
        case ast.Attribute(attr=attr):
            return not hasattr(CoroutineType, attr)
        case ast.Return():
            return code.is_workflow
        case ast.Assign(targets=[ast.Name() as target]):
            return not _is_read(code, target)
        case ast.Call(args=[first, *_]) if is_spawner(parent):
            return first is call
        case ast.Call(func=func):
            return func is not call and is_step(code.module, func)
        case _:
            return False


def _is_read(code: Code, target: ast.Name) -> bool:
    """Whether anybody looks at a local variable, also in a function in its function."""
    owner = code.module.owner(target)
    return owner is None or not isinstance(owner.node, FunctionNode) or target.id in _read_in(code.module, owner.node)


@once(unknown=frozenset[str]())
def _read_in(_: Module, function: ast.AST) -> frozenset[str]:
    """Return the names that a function reads anywhere: it is asked about each of them."""
    nodes = ast.walk(function)
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))

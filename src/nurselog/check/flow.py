"""What of a module is workflow code: the workflows, and what they call and spawn that is no step.

A step's code may do anything, and is never looked at. Nor is a function with a decorator that nobody knows here: it may
make a step of it. What a step is handed, a lambda for instance, is the step's business, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from .known import RUNS, SPAWNERS, STEPS, WAITS, WRAPPERS
from .names import Module, called, once
from .scopes import Assigned, Definition, FunctionNode


@dataclass(frozen=True)
class Code:
    """A function that is workflow code."""

    module: Module
    function: FunctionNode
    is_workflow: bool
    """Whether it is a workflow itself."""
    exposed: bool
    """Whether it is called where a cancellation from outside reaches."""

    def nodes(self) -> Iterator[ast.AST]:
        """Yield what it consists of, in order; not what is in functions that it defines."""
        return own(self.module, self.function)


def workflow_code(module: Module) -> list[Code]:
    """Return all workflow code of a module: the workflows first."""
    roots = list(workflows(module))
    exposed: dict[FunctionNode, bool] = {}
    waiting = [(root, True) for root in roots]
    while waiting:
        function, bare = waiting.pop()
        if exposed.get(function, not bare) != bare and not exposed.get(function, False):
            exposed[function] = bare
            for target, shielded in _targets(module, function):
                waiting.append((target, bare and not shielded))
    return [Code(module, function, function in roots, bare) for function, bare in exposed.items()]


def workflows(module: Module) -> Iterator[FunctionNode]:
    """Yield the functions that are decorated with `@workflow`, or given to it."""
    for node in ast.walk(module.tree):
        if isinstance(node, FunctionNode) and module.decorated(node, "nurselog.workflow"):
            yield node
        elif isinstance(node, ast.Call) and node.args and module.meaning(called(node.func)) == "nurselog.workflow":
            given = module.meaning(node.args[0])
            if isinstance(given, FunctionNode):
                yield given


def _targets(module: Module, function: FunctionNode) -> Iterator[tuple[FunctionNode, bool]]:
    """Yield the functions that a function calls or spawns, and whether it does so in a shield."""
    for node in own(module, function):
        if isinstance(node, FunctionNode) and _spawned(node):
            yield node, is_shielded(module, node, function)
        for one in run_by(module, node) if isinstance(node, ast.Call) else ():
            target = module.meaning(one)
            if isinstance(target, FunctionNode) and is_plain(module, target):
                yield target, is_shielded(module, node, function)


def is_plain(module: Module, node: Definition) -> bool:
    """Whether a function is what it looks like: no step, and nothing that an unknown decorator has made of it."""
    known = (*WRAPPERS, "nurselog.workflow")
    return all(module.meaning(called(one)) in known or module.kind(one) in known for one in node.decorator_list)


def _spawned(node: FunctionNode) -> bool:
    """Whether it is decorated with `@nursery.start_soon` or the like."""
    return any(isinstance(one, ast.Attribute) and one.attr in SPAWNERS for one in node.decorator_list)


# -- what a function consists of -----------------------------------------------------------------


def own(module: Module, function: FunctionNode) -> Iterator[ast.AST]:
    """Yield all nodes of a function's body, in order, without those of functions and classes in it."""
    for statement in function.body:
        yield from _inside(module, statement)


def _inside(module: Module, node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in _children(module, node):
        yield from _inside(module, child)


def _children(module: Module, node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from node.decorator_list
        case ast.AnnAssign():  # the annotation of a local variable is not evaluated
            yield from filter(None, (node.target, node.value))
        case ast.Call() if not _runs_lambdas(module, node):
            yield from (child for child in ast.iter_child_nodes(node) if not _is_lambda(child))
        case _:
            yield from ast.iter_child_nodes(node)


def _is_lambda(node: ast.AST) -> bool:
    return isinstance(node.value if isinstance(node, ast.keyword) else node, ast.Lambda)


def _runs_lambdas(module: Module, call: ast.Call) -> bool:
    """Whether the lambdas that a call is given run here, as far as can be known, and not in a step."""
    if is_spawner(call):
        return isinstance(call.args[0], ast.Lambda)
    if is_step(module, call.func) or module.meaning(call.func) in STEPS:
        return False
    meaning = module.meaning(call.func)
    return not isinstance(module.parents[call], ast.Await) or isinstance(meaning, FunctionNode) or meaning in RUNS


# -- calls ---------------------------------------------------------------------------------------


def run_by(module: Module, call: ast.Call) -> list[ast.expr]:
    """Return what a call runs, here or in another task of the workflow: what is called, and functions it is given."""
    if is_spawner(call):
        return [call.args[0]]
    if module.meaning(call.func) in RUNS and not _runs_in_step(module, call):
        return [call.func, *call.args, *(keyword.value for keyword in call.keywords)]
    return [call.func]


def _runs_in_step(module: Module, node: ast.expr) -> bool:
    """Whether something is made a step, or given to one, which runs it."""
    parent = module.parents[node]
    if not isinstance(parent, ast.Call) or parent.func is node:
        return False
    return module.meaning(called(parent.func)) in STEPS or is_step(module, parent.func)


def is_spawner(call: ast.Call) -> bool:
    """Whether it is `nursery.go(fn, ...)` or one of its kind."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in SPAWNERS and bool(call.args)


@once(unknown=False)
def is_step(module: Module, node: ast.expr) -> bool:
    """Whether an expression is certainly a step."""
    meaning = module.meaning(node)
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="using")):
            return is_step(module, value)
        case ast.Call(func=func, args=args):
            return bool(args) and module.meaning(called(func)) in STEPS
        case ast.Name() | ast.Attribute() if isinstance(meaning, FunctionNode):
            return module.decorated(meaning, *STEPS)
        case ast.Name() | ast.Attribute() if isinstance(meaning, str) and (there := module.elsewhere(meaning)):
            return is_step(*there)
        case ast.Name():
            values = [binding.value if isinstance(binding, Assigned) else None for binding in module.bindings(node)]
            return bool(values) and all(value is not None and is_step(module, value) for value in values)
        case _:
            return False


# -- waiting -------------------------------------------------------------------------------------


def is_durable(module: Module, node: ast.AST) -> bool:
    """Whether a node is certainly a wait that is in the log, or a call of what has one."""
    if isinstance(node, ast.AsyncWith):
        return any(module.meaning(called(item.context_expr)) == "nurselog.open_nursery" for item in node.items)
    if not (isinstance(node, ast.Await) and isinstance(node.value, ast.Call)):
        return False
    func, meaning = node.value.func, module.meaning(node.value.func)
    if isinstance(meaning, FunctionNode) and not is_step(module, func):
        return _has_durable(module, meaning)
    return meaning in WAITS or is_step(module, func)


@once(unknown=False)
def _has_durable(module: Module, target: FunctionNode) -> bool:
    """Whether a function has a durable wait without a shield of its own."""
    parts = own(module, target)
    return is_plain(module, target) and any(
        is_durable(module, part) and not is_shielded(module, part, target) for part in parts
    )


def is_shielded(module: Module, node: ast.AST, within: ast.AST) -> bool:
    """Whether a node stands in a shield, or in what may be one, inside of another node."""
    return any(
        part in parent.body and any(_may_shield(module, item, parent.body) for item in parent.items)
        for parent, part in module.around(node, within)
        if isinstance(parent, (ast.With, ast.AsyncWith))
    )


def _may_shield(module: Module, item: ast.withitem, body: list[ast.stmt]) -> bool:
    """Whether an item of `with` has `shield=True`, is told so in the block, or is something that nobody knows here."""
    call = item.context_expr
    meaning = module.meaning(called(call))
    if not (isinstance(meaning, str) and meaning.startswith(("anyio.", "contextlib.", "nurselog.", "trio."))):
        return True
    if isinstance(call, ast.Call) and any(keyword.arg in {"shield", None} for keyword in call.keywords):
        return True
    return any(
        isinstance(part, ast.Attribute) and part.attr == "shield" and isinstance(part.ctx, ast.Store)
        for statement in body
        for part in ast.walk(statement)
    )

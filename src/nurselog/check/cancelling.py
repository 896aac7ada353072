"""Cancellations that workflow code keeps to itself, and cleanup that they reach."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .flow import Code, is_durable, is_shielded
from .known import CANCELLATIONS, STEPS
from .names import Module, called
from .rules import Found, Rule
from .scopes import FunctionNode

_WAITS = (ast.Await, ast.AsyncWith, ast.AsyncFor, ast.Yield)
_LOOKS = frozenset(f"builtins.{name}" for name in ("format", "isinstance", "len", "print", "repr", "str", "type"))
"""What looks at an error and does not keep it."""
_ALL = "builtins.BaseException"
_BOTH = frozenset({"trio.Cancelled", "nurselog.Suspended"})
_LOGS = frozenset({"critical", "debug", "error", "exception", "info", "log", "warning"})


def find_swallowed(code: Code) -> Iterator[Found]:
    """Find `except` clauses and `suppress` that stop `Cancelled` or `Suspended` and do not raise again."""
    module = code.module
    for node in code.nodes():
        match node:
            case ast.Try(body=body) | ast.TryStar(body=body) if _waits(body):
                yield from _in_try(code, node)
            case ast.With(items=items, body=body) if _waits(body):
                for call in (item.context_expr for item in items if _suppresses(module, item.context_expr)):
                    yield Found(Rule.SWALLOWED_CANCELLATION, call, f"`{ast.unparse(call)}`")
            case _:
                pass


def _in_try(code: Code, node: ast.Try | ast.TryStar) -> Iterator[Found]:
    stopping = [one for one in _reached(code.module, node) if not _passes_on(code, one)]
    for one in stopping:
        caught = f"except {ast.unparse(one.type)}" if one.type else "except"
        yield Found(Rule.SWALLOWED_CANCELLATION, one, f"`{caught}`")
    for statement in node.finalbody:
        if isinstance(statement, ast.Return):
            yield Found(Rule.SWALLOWED_CANCELLATION, statement, "`return` in `finally`")


def _suppresses(module: Module, call: ast.expr) -> bool:
    if not (isinstance(call, ast.Call) and module.meaning(call.func) == "contextlib.suppress"):
        return False
    return any(_catches(module, one) for one in call.args)


def find_unshielded(code: Code) -> Iterator[Found]:
    """Find durable operations in `finally`, and where `Cancelled` is caught, that are awaited without a shield."""
    if not code.exposed:
        return
    module = code.module
    for node in code.nodes():
        if not (isinstance(node, (ast.Await, ast.AsyncWith)) and is_durable(module, node)):
            continue
        around = module.around(node, code.function)
        cleanup = any(_is_cleanup(module, part, parent) for parent, part in around)
        if cleanup and not is_shielded(module, node, code.function):
            call = node.value if isinstance(node, ast.Await) else node.items[0].context_expr
            yield Found(Rule.UNSHIELDED_CLEANUP, node, f"{ast.unparse(called(call))}()")


def _is_cleanup(module: Module, part: ast.AST, parent: ast.AST) -> bool:
    """Whether a part is the `finally` of a `try` that may be cancelled, or stands in an `except` that catches that."""
    match parent:
        case ast.Try(finalbody=final, body=body) | ast.TryStar(finalbody=final, body=body):
            return part in final and _waits(body)
        case ast.ExceptHandler():
            tried = module.parents[parent]
            return (
                isinstance(tried, (ast.Try, ast.TryStar)) and parent in _reached(module, tried) and _waits(tried.body)
            )
        case _:
            return False


def _waits(body: list[ast.stmt]) -> bool:
    """Whether a block has a place at which a cancellation may come."""
    return any(isinstance(node, _WAITS) for statement in body for node in ast.walk(statement))


def _reached(module: Module, node: ast.Try | ast.TryStar) -> list[ast.ExceptHandler]:
    """Return the clauses that catch a cancellation or a suspension, if one comes to them: some catch both before."""
    caught: set[object] = set()
    reached: list[ast.ExceptHandler] = []
    for handler in node.handlers:
        if not (caught >= _BOTH or _ALL in caught) and _catches(module, handler.type):
            reached.append(handler)
        caught |= _caught(module, handler.type)
    return reached


def _catches(module: Module, caught: ast.expr | None) -> bool:
    """Whether what stands after `except` certainly catches a cancellation or a suspension."""
    return not CANCELLATIONS.isdisjoint(_caught(module, caught))


def _caught(module: Module, caught: ast.expr | None) -> set[object]:
    """Return what stands after `except`, by its meaning."""
    if caught is None:
        return {_ALL}
    if isinstance(caught, ast.Tuple):
        return set[object]().union(*(_caught(module, one) for one in caught.elts))
    return {module.meaning(called(caught))}


def _passes_on(code: Code, handler: ast.ExceptHandler) -> bool:
    """Whether a clause raises anything, or keeps the error for somebody who may."""
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    if any(isinstance(node, ast.Raise) or _raises(code.module, node) for node in nodes):
        return True
    return any(isinstance(node, ast.Name) and node.id == handler.name and _keeps(code, node) for node in nodes)


def _raises(module: Module, node: ast.AST) -> bool:
    """Whether it is a call of a function of this module that raises anything."""
    target = module.meaning(node.func) if isinstance(node, ast.Call) else None
    if not isinstance(target, FunctionNode) or module.decorated(target, *STEPS):
        return False
    return any(isinstance(part, ast.Raise) for part in ast.walk(target))


def _keeps(code: Code, error: ast.Name) -> bool:
    """Whether an error is given to somebody, and not just looked at."""
    match code.module.parents[error]:
        case ast.Attribute() | ast.FormattedValue():
            return False
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in _LOGS:
            return False
        case ast.Call(func=func):
            return code.module.meaning(func) not in _LOOKS
        case _:
            return True

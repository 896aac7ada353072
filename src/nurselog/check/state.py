"""What workflow code changes that belongs to the module: a process that goes on with the log has not seen it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .flow import Code
from .known import CHANGES, CONTAINERS, ITERATORS, MEETINGS
from .names import Module, called
from .rules import Found, Rule
from .scopes import Assigned, Defined, Imported

_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def find_state(code: Code) -> Iterator[Found]:
    """Find what changes global variables, containers in them, and attributes of what is at the module's top level."""
    module = code.module
    scope = module.scopes[code.function]
    for node in code.nodes():
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in scope.of_module:
                yield Found(Rule.MODULE_STATE, node, name)
            case ast.withitem(context_expr=value) | ast.Attribute(value=value, ctx=ast.Load()) if _is_meeting(
                module, value
            ):
                yield Found(Rule.MODULE_STATE, value, ast.unparse(value))
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if _is_container(module, value):
                yield Found(Rule.MODULE_STATE, node, ast.unparse(node))
            case ast.Attribute(value=value, ctx=ast.Store() | ast.Del()) if _is_of_module(module, value):
                yield Found(Rule.MODULE_STATE, node, ast.unparse(node))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in CHANGES and _is_container(
                module, value
            ):
                yield Found(Rule.MODULE_STATE, node, f"{ast.unparse(node.func)}()")
            case ast.Call(func=func, args=[value, *_]) if module.meaning(func) == "builtins.next":
                if _is_iterator(module, value):
                    yield Found(Rule.MODULE_STATE, node, f"next({ast.unparse(value)})")
            case _:
                pass


def _values(module: Module, node: ast.expr) -> list[ast.expr | None]:
    """Return what a variable of the module is assigned; nothing if it is no variable of the module."""
    if not isinstance(node, ast.Name) or module.owner(node) is not module.scopes[module.tree]:
        return []
    return [binding.value if isinstance(binding, Assigned) else None for binding in module.bindings(node)]


def _is_container(module: Module, node: ast.expr) -> bool:
    values = _values(module, node)
    return bool(values) and all(
        isinstance(value, _DISPLAYS) or (isinstance(value, ast.Call) and module.meaning(called(value)) in CONTAINERS)
        for value in values
    )


def _is_iterator(module: Module, node: ast.expr) -> bool:
    values = _values(module, node)
    return bool(values) and all(
        isinstance(value, ast.GeneratorExp)
        or (isinstance(value, ast.Call) and module.meaning(called(value)) in ITERATORS)
        for value in values
    )


def _is_meeting(module: Module, node: ast.expr) -> bool:
    values = _values(module, node)
    return bool(values) and all(
        isinstance(value, ast.Call) and module.meaning(called(value)) in MEETINGS for value in values
    )


def _is_of_module(module: Module, node: ast.expr) -> bool:
    """Whether an object with attributes is a module, a class, or made at the top level."""
    if not isinstance(node, ast.Name) or module.owner(node) is not module.scopes[module.tree]:
        return False
    return all(
        isinstance(binding, (Imported, Defined))
        or (isinstance(binding, Assigned) and isinstance(binding.value, ast.Call))
        for binding in module.bindings(node)
    )

"""Sets whose order gets into the log: iterated around durable operations, or made lists that are recorded.

The hash of a text, and so the order of a set of texts, is another one in each process. A set that is looked into,
counted, sorted or recorded as a set does no harm. A set that certainly has nothing but numbers keeps its order.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from .flow import Code, is_durable, is_spawner, is_step
from .known import WAITS
from .names import Module, once
from .rules import Found, Rule
from .scopes import Assigned, Binding

_SETS = frozenset({"builtins.set", "builtins.frozenset"})
_SET_TYPES = _SETS | {
    "collections.abc.MutableSet",
    "collections.abc.Set",
    "typing.AbstractSet",
    "typing.FrozenSet",
    "typing.MutableSet",
    "typing.Set",
}
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_NUMBERS = frozenset(f"builtins.{name}" for name in ("bool", "float", "int", "len", "ord", "range"))
_STRANGERS = ("anyio.", "asyncio.", "builtins.", "trio.")
"""Whose async functions are no durable operations."""
_KEEP_ORDER = frozenset(f"builtins.{name}" for name in ("list", "tuple", "iter", "enumerate", "map", "filter", "zip"))


def find_set_order(code: Code) -> Iterator[Found]:
    """Find where the order of a set leads to a durable operation or to a result."""
    module = code.module
    for node in code.nodes():
        match node:
            case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated) if _does(module, node.body):
                yield from _if_unordered(module, iterated)
            case ast.While(test=test) if (taken := _emptied(module, node, test)) and _does(module, node.body):
                yield Found(Rule.SET_ORDER, taken, ast.unparse(taken))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp() if _does(module, [node]):
                for generator in node.generators:
                    yield from _if_unordered(module, generator.iter)
            case ast.Return(value=ast.expr() as value) if code.is_workflow:
                yield from _handed(module, value)
            case ast.Call() if _is_recorded(module, node):
                yield from _given(module, node)
            case _:
                pass


def _if_unordered(module: Module, node: ast.expr) -> Iterator[Found]:
    if is_unordered(module, node):
        yield Found(Rule.SET_ORDER, node, ast.unparse(node))


def _given(module: Module, call: ast.Call) -> Iterator[Found]:
    """Find lists with the order of a set among arguments, and sets that are iterated by whoever gets them."""
    iterates = module.meaning(call.func) in WAITS
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if isinstance(argument, ast.Starred):
            yield from _if_unordered(module, argument.value)
        elif iterates:
            yield from _if_unordered(module, argument)
        else:
            yield from _handed(module, argument)
            yield from _taken(module, argument)


def _taken(module: Module, argument: ast.expr) -> Iterator[Found]:
    """Find `pop` of a set in an argument: any element, and another one in each process."""
    for node in ast.walk(argument):
        if isinstance(node, ast.Call) and not node.args and (name := _popped(node)) and is_set(module, name):
            yield Found(Rule.SET_ORDER, node, ast.unparse(node))


def _handed(module: Module, node: ast.expr) -> Iterator[Found]:
    """Find lists with the order of a set in what is recorded."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Dict)) and not is_unordered(module, node):
        values = node.values if isinstance(node, ast.Dict) else node.elts
        for value in values:
            yield from _handed(module, value)
    elif not is_set(module, node):
        yield from _if_unordered(module, node)


def _is_recorded(module: Module, call: ast.Call) -> bool:
    """Whether a call's arguments are recorded, or decide in which order something is done."""
    if is_spawner(call):
        return is_step(module, call.args[0])
    return is_step(module, call.func) or module.meaning(call.func) in WAITS


def _does(module: Module, parts: Sequence[ast.AST]) -> bool:
    """Whether something durable is certainly done in a part of the code."""
    return any(
        is_durable(module, node) or (isinstance(node, ast.Call) and _starts(module, node))
        for part in parts
        for node in ast.walk(part)
    )


def _starts(module: Module, call: ast.Call) -> bool:
    """Whether a call starts something durable, or waits for a function of another module, which most likely does."""
    if is_step(module, call.func) or (
        is_spawner(call) and isinstance(call.func, ast.Attribute) and call.func.attr != "start"
    ):
        return True
    meaning = module.meaning(call.func)
    awaited = isinstance(module.parents[call], ast.Await)
    return awaited and isinstance(meaning, str) and not meaning.startswith(_STRANGERS)


def _emptied(module: Module, loop: ast.While, test: ast.expr) -> ast.Call | None:
    """Return the call of `pop` in `while todo: todo.pop()`, where that is a set."""
    tested = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    calls = (node for node in ast.walk(loop) if isinstance(node, ast.Call) and not node.args)
    return next(
        (call for call in calls if (name := _popped(call)) and name.id in tested and is_set(module, name)), None
    )


def _popped(call: ast.Call) -> ast.Name | None:
    match call.func:
        case ast.Attribute(value=ast.Name() as name, attr="pop"):
            return name
        case _:
            return None


# -- what has the order of a set -----------------------------------------------------------------


@once(unknown=False)
def is_unordered(module: Module, node: ast.expr) -> bool:
    """Whether an expression is certainly a set, or a list or an iterator with the order of one.

    Not where something durable is done for each element: that has been found already.
    """
    match node:
        case ast.Call(func=ast.Attribute(attr="join"), args=[given]):
            return is_unordered(module, given)
        case ast.Call(func=func, args=args) if module.meaning(func) in _KEEP_ORDER:
            return any(is_unordered(module, one) for one in args)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            starred = [one.value for one in elements if isinstance(one, ast.Starred)]
            return any(is_unordered(module, one) for one in starred)
        case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
            return any(is_unordered(module, one.iter) for one in generators) and not _does(module, [node])
        case ast.Name() if not is_set(module, node):
            return not _is_sorted(module, node) and _all(module, node, _is_unordered_binding)
        case _:
            return is_set(module, node)


def _is_unordered_binding(module: Module, binding: Binding) -> bool:
    value = binding.value if isinstance(binding, Assigned) else None
    return value is not None and not is_set(module, value) and is_unordered(module, value)


def _is_sorted(module: Module, name: ast.Name) -> bool:
    """Whether a list is sorted somewhere."""
    owner = module.owner(name)
    return owner is not None and any(
        isinstance(node, ast.Attribute) and node.attr == "sort" and ast.unparse(node.value) == name.id
        for node in ast.walk(owner.node)
    )


@once(unknown=False)
def is_set(module: Module, node: ast.expr) -> bool:
    """Whether an expression is certainly a set, and not one of numbers."""
    match node:
        case ast.Set(elts=elements):
            return not all(_is_number(module, one) for one in elements)
        case ast.SetComp(elt=element):
            return not _is_number(module, element)
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SET_METHODS:
            return is_set(module, value)
        case ast.Call(func=func, args=args):
            return module.meaning(func) in _SETS and not (args and _has_numbers(module, args[0]))
        case ast.BinOp(left=left, right=right, op=op) if isinstance(op, _SET_OPERATORS):
            return bool(is_set(module, left) or is_set(module, right))
        case ast.Name():
            return _all(module, node, _is_set_binding)
        case _:
            return False


def _is_set_binding(module: Module, binding: Binding) -> bool:
    match binding:
        case Assigned(annotation=ast.expr() as annotation) if (found := _set_type(module, annotation)) is not None:
            return not (isinstance(found, ast.Subscript) and _is_number_type(module, found.slice))
        case Assigned(value=ast.expr() as value):
            return is_set(module, value)
        case _:
            return False


def _set_type(module: Module, annotation: ast.expr) -> ast.expr | None:
    """Return the type of a set in an annotation, where `set[str] | None` is one, too; None: it says of no set."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            return _set_type(module, left) or _set_type(module, right)
        case ast.Subscript(value=value):
            return annotation if module.meaning(value) in _SET_TYPES else None
        case _:
            return annotation if module.meaning(annotation) in _SET_TYPES else None


def _is_number_type(module: Module, annotation: ast.expr) -> bool:
    match annotation:
        case ast.Subscript(value=value, slice=ast.Tuple(elts=elements)) if module.meaning(value) == "builtins.tuple":
            return all(_is_number_type(module, one) for one in elements)
        case _:
            return module.meaning(annotation) in _NUMBERS


def _all(module: Module, name: ast.Name, holds: Callable[[Module, Binding], bool]) -> bool:
    bindings = module.bindings(name)
    return bool(bindings) and all(holds(module, binding) for binding in bindings)


def _has_numbers(module: Module, node: ast.expr) -> bool:
    """Whether what is iterated certainly has numbers only."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return all(_is_number(module, one) for one in node.elts)
    return isinstance(node, ast.Call) and _is_number(module, node)


def _is_number(module: Module, node: ast.expr) -> bool:
    """Whether an element is certainly a number or a tuple of numbers, whose hash is the same in each process."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (int, float))
        case ast.Tuple(elts=elements):
            return all(_is_number(module, one) for one in elements)
        case ast.BinOp(left=left, right=right):
            return _is_number(module, left) and _is_number(module, right)
        case ast.UnaryOp(operand=operand):
            return _is_number(module, operand)
        case ast.Call(func=func):
            return module.meaning(func) in _NUMBERS
        case _:
            return False

"""What an expression means in a module, by its imports, definitions and assignments, without running anything.

The problem is that names lie. `time.time()` may be a method of a parameter called `time`, `open` an import from
elsewhere, and `clock()` an alias of what must not be called. A list of forbidden texts finds what is right, and misses
what is wrong. Running the module would tell all of it, and would run the module.

So names are looked up as Python does it: in the scope where they stand, then in those around it, then in the module,
then among the builtins. What is bound twice means something only where both mean the same. Whatever is not certain has
no meaning, and no rule says anything about it.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, TypeAlias, TypeVar

from .scopes import Assigned, Binding, Defined, Definition, Entered, FunctionNode, Imported, Scope, body_of, read

N = TypeVar("N", bound=ast.AST)
T = TypeVar("T")

Meaning: TypeAlias = str | Definition | None
"""A dotted name of something that comes from elsewhere, a definition in this module, or nothing that is certain."""


def once(unknown: object) -> Callable[[Callable[[Module, N], T]], Callable[[Module, N], T]]:
    """Have a question about a node asked once; where it leads back to itself (`a = b`, `b = a`), it has no answer."""

    def decorate(ask: Callable[[Module, N], T]) -> Callable[[Module, N], T]:
        @wraps(ask)
        def asked(module: Module, node: N) -> T:
            key = (ask.__name__, node)
            if key not in module.answers:
                module.answers[key] = unknown
                module.answers[key] = ask(module, node)
            answer: T = module.answers[key]
            return answer

        return asked

    return decorate


class Module:
    """A module's syntax tree, and what can be asked about it."""

    def __init__(self, text: str, find: Callable[[str], Module | None]) -> None:
        with warnings.catch_warnings(action="ignore"):  # of its syntax: whoever runs it hears of that
            self.tree: ast.Module = ast.parse(text)
        self._find = find
        """Finds another module by its name, with dots in front if that is relative to this one."""
        self._exported: dict[str, ast.Name] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        """What each node stands in."""
        self.scopes: Mapping[ast.AST, Scope]
        self.stars: list[str]
        self.scopes, self.stars = read(self.tree)
        self.answers: dict[tuple[str, ast.AST], Any] = {}
        """What has been asked about nodes."""
        for node in ast.walk(self.tree):
            self.parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))

    def around(self, node: ast.AST, within: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield what a node stands in, from the inside to `within`, each with the part of it that the node is in."""
        while node is not within and (parent := self.parents.get(node)) is not None:
            yield parent, node
            node = parent

    def scope_at(self, node: ast.AST) -> Scope:
        """Return the scope in which a node stands. A function's decorators and defaults stand around it."""
        for parent, part in self.around(node):
            if parent in self.scopes and part in body_of(parent):
                return self.scopes[parent]
        return self.scopes[self.tree]

    def owner(self, node: ast.Name) -> Scope | None:
        """Return the scope that binds a name, as it is seen from where it stands; None: no scope does."""
        here = self.scope_at(node)
        if node.id in here.of_module:
            return self.scopes[self.tree]
        return next((scope for scope in here.outwards() if node.id in scope.bindings), None)

    def bindings(self, node: ast.Name) -> list[Binding]:
        """Return all that a name is bound to; nothing where that cannot be followed."""
        scope = self.owner(node)
        if scope is None or node.id in scope.elsewhere:
            return []
        return scope.bindings[node.id]

    @once(None)
    def meaning(self, node: ast.expr) -> Meaning:
        """Return what an expression is a name of."""
        match node:
            case ast.Name():
                return self._meaning_of_name(node)
            case ast.Attribute(value=value, attr=attr):
                found = self.kind(value) or self.meaning(value)
                if isinstance(found, ast.ClassDef):
                    return _only(self.scopes[found].bindings.get(attr, []))
                return f"{found}.{attr}" if isinstance(found, str) and self.kind(value) is None else None
            case _:
                return None

    def _meaning_of_name(self, node: ast.Name) -> Meaning:
        if self.owner(node) is None:
            return self._from_outside(node.id)
        bindings = self.bindings(node)
        if definition := _only(bindings):
            return definition
        found = {self._meaning_of_binding(binding) for binding in bindings}
        return found.pop() if len(found) == 1 else None

    def _meaning_of_binding(self, binding: Binding) -> Meaning:
        match binding:
            case Imported(name):
                return self._handed_on(name)
            case Assigned(value=ast.Name() | ast.Attribute() as value):
                return self.meaning(value)
            case _:
                return None

    def _handed_on(self, name: str) -> str:
        """Return what an imported name stands for in the module that it comes from, if that has it from elsewhere."""
        there = self.elsewhere(name)
        found = there[0].meaning(there[1]) if there else None
        return found if isinstance(found, str) and not found.startswith((".", "builtins.")) else name

    def _from_outside(self, name: str) -> str | None:
        if self.stars:
            only = len(self.stars) == 1 and not hasattr(builtins, name)
            return f"{self.stars[0]}.{name}" if only else None
        return f"builtins.{name}" if hasattr(builtins, name) else None

    @once(None)
    def kind(self, node: ast.expr) -> str | ast.ClassDef | None:
        """Return what an expression's value was made by: a class, or whatever was called or entered to get it."""
        match node:
            case ast.Call(func=func):
                return _no_function(self.meaning(func))
            case ast.Name() if (method := self._is_first_argument(node)) is not None:
                return method
            case ast.Name():
                found = {self._kind_of_binding(binding) for binding in self.bindings(node)}
                return found.pop() if len(found) == 1 else None
            case _:
                return None

    def _kind_of_binding(self, binding: Binding) -> str | ast.ClassDef | None:
        match binding:
            case Assigned(annotation=ast.expr() as annotation):
                return _no_function(self.meaning(annotation))
            case Assigned(value=ast.expr() as value) | Entered(value):
                return self.kind(value)
            case _:
                return None

    def _is_first_argument(self, node: ast.Name) -> ast.ClassDef | None:
        """Return the class whose method has this name as its `self`."""
        scope = self.owner(node)
        if scope is None or not isinstance(scope.node, FunctionNode) or len(scope.bindings[node.id]) != 1:
            return None
        parameters = [*scope.node.args.posonlyargs, *scope.node.args.args]
        owner = self.parents[scope.node]
        is_first = bool(parameters) and parameters[0].arg == node.id
        is_method = is_first and not self.decorated(scope.node, "builtins.staticmethod")
        return owner if is_method and isinstance(owner, ast.ClassDef) else None

    def elsewhere(self, name: str) -> tuple[Module, ast.Name] | None:
        """Return the module that a dotted name comes from, and the name in it; None: it is no part of the program."""
        origin, _, attribute = name.rpartition(".")
        found = self._find(origin) if origin.strip(".") else None
        return (found, found.exported(attribute)) if found else None

    def exported(self, name: str) -> ast.Name:
        """Return a name as it would be read at the end of the module."""
        return self._exported.setdefault(name, ast.Name(id=name, ctx=ast.Load()))

    def decorated(self, node: Definition, *names: str) -> bool:
        """Whether a definition has one of these decorators, with options or without."""
        return any(
            self.meaning(called(decorator)) in names or self.kind(decorator) in names
            for decorator in node.decorator_list
        )


def called(node: ast.expr) -> ast.expr:
    """Return what is called, or the expression itself where nothing is."""
    return node.func if isinstance(node, ast.Call) else node


def _only(bindings: list[Binding]) -> Definition | None:
    """Return the definition that counts: the last one, if there is nothing else."""
    found = [binding.node for binding in bindings if isinstance(binding, Defined)]
    return found[-1] if found and len(found) == len(bindings) else None


def _no_function(found: Meaning) -> str | ast.ClassDef | None:
    return None if isinstance(found, FunctionNode) else found

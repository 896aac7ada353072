"""The scopes of a module, and what binds the names in them: a syntax tree read once, from the top."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = FunctionNode | ast.ClassDef


@dataclass(frozen=True)
class Imported:
    """`import time as t`, `from time import time`."""

    name: str
    """The dotted name."""


@dataclass(frozen=True)
class Defined:
    """`def`, `async def`, `class`."""

    node: Definition


@dataclass(frozen=True)
class Assigned:
    """`x = value`, `x: annotation = value`, a parameter; without both: anything else that binds a name."""

    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(frozen=True)
class Entered:
    """`with value as x`."""

    value: ast.expr


Binding: TypeAlias = Imported | Defined | Assigned | Entered


@dataclass(frozen=True)
class Scope:
    """A module, class, function or lambda, with the names that it binds. Comprehensions share their function's."""

    node: ast.Module | Definition | ast.Lambda
    around: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict[str, list[Binding]])
    elsewhere: set[str] = field(default_factory=set[str])
    """Names that are `nonlocal` in a function in it: what they are is not followed."""
    of_module: set[str] = field(default_factory=set[str])
    """Names that are `global` here."""

    def bind(self, name: str, binding: Binding) -> None:
        """Enter what a name is bound to."""
        self.bindings.setdefault(name, []).append(binding)

    def outwards(self) -> Iterator[Scope]:
        """Yield the scopes in which a name is looked for: this one, and those around it but classes."""
        yield self
        scope = self.around
        while scope is not None:
            if not isinstance(scope.node, ast.ClassDef):
                yield scope
            scope = scope.around


def body_of(node: ast.AST) -> list[ast.AST]:
    """Return what stands in the scope that a node opens."""
    body: ast.AST | list[ast.AST] = getattr(node, "body", [])
    return body if isinstance(body, list) else [body]


def read(tree: ast.Module) -> tuple[Mapping[ast.AST, Scope], list[str]]:
    """Return a module's scopes by the nodes that open them, and the modules of its `from ... import *`."""
    reader = _Reader(tree)
    reader.read_all(tree)
    return reader.scopes, reader.stars


class _Reader:
    """Goes through a module; a table says what each kind of node binds."""

    def __init__(self, tree: ast.Module) -> None:
        self._module = self._scope = Scope(tree, None)
        self.scopes: dict[ast.AST, Scope] = {tree: self._scope}
        self.stars: list[str] = []

    def read(self, node: ast.AST) -> None:
        """Read a node and what is in it."""
        _READERS.get(type(node), _Reader.read_all)(self, node)

    def read_all(self, node: ast.AST) -> None:
        """Read what is in a node that binds nothing itself."""
        for child in ast.iter_child_nodes(node):
            self.read(child)

    def _bind(self, name: str, binding: Binding) -> None:
        scope = self._module if name in self._scope.of_module else self._scope
        scope.bind(name, binding)

    def _bind_value(self, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case ast.Name(id=name), _:
                self._bind(name, Assigned(value))
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                for one, its in zip(targets, values, strict=True):
                    self._bind_value(one, its)
            case _:
                self.read(target)

    def _open(self, node: Definition | ast.Lambda) -> None:
        around = self._scope
        self._scope = self.scopes[node] = Scope(node, around)
        if not isinstance(node, ast.ClassDef):
            self._parameters(node.args)
        for part in body_of(node):
            self.read(part)
        self._scope = around

    def _parameters(self, parameters: ast.arguments) -> None:
        for one in [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs]:
            self._bind(one.arg, Assigned(None, one.annotation))
        for several in filter(None, (parameters.vararg, parameters.kwarg)):
            self._bind(several.arg, Assigned())

    # -- what kinds of nodes bind ----------------------------------------------------------------

    def definition(self, node: Definition) -> None:
        """A function or a class; what it is decorated with stands around it."""
        self._bind(node.name, Defined(node))
        for decorator in node.decorator_list:
            self.read(decorator)
        self._open(node)

    def modules(self, node: ast.Import) -> None:
        """`import a.b` binds a, `import a.b as c` binds c."""
        for alias in node.names:
            first = alias.name.split(".")[0]
            self._bind(alias.asname or first, Imported(alias.name if alias.asname else first))

    def parts(self, node: ast.ImportFrom) -> None:
        """`from a import b`. A relative import keeps its dots."""
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(origin)
            else:
                dot = "" if origin.endswith(".") else "."
                self._bind(alias.asname or alias.name, Imported(f"{origin}{dot}{alias.name}"))

    def assignment(self, node: ast.Assign) -> None:
        """`x = y = value`, with names, tuples or places in something."""
        self.read(node.value)
        for target in node.targets:
            self._bind_value(target, node.value)

    def annotated(self, node: ast.AnnAssign) -> None:
        """`x: annotation`, with or without a value."""
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, Assigned(node.value, node.annotation))
        if node.value is not None:
            self.read(node.value)

    def walrus(self, node: ast.NamedExpr) -> None:
        """`(x := value)`."""
        self.read(node.value)
        self._bind_value(node.target, node.value)

    def augmented(self, node: ast.AugAssign) -> None:
        """`x += value` leaves x what it was: a number, a list, a set."""
        self.read(node.value)

    def entered(self, node: ast.withitem) -> None:
        """`with value as x`."""
        self.read(node.context_expr)
        if isinstance(node.optional_vars, ast.Name):
            self._bind(node.optional_vars.id, Entered(node.context_expr))
        elif node.optional_vars is not None:
            self.read(node.optional_vars)

    def name(self, node: ast.Name) -> None:
        """Whatever else is bound: the variable of a loop, a part of a tuple."""
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id, Assigned())

    def captured(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> None:
        """`except E as x`, `case x`, `case [*x]`."""
        if node.name is not None:
            self._bind(node.name, Assigned())
        self.read_all(node)

    def captured_rest(self, node: ast.MatchMapping) -> None:
        """`case {**x}`."""
        if node.rest is not None:
            self._bind(node.rest, Assigned())
        self.read_all(node)

    def of_module(self, node: ast.Global) -> None:
        """What the function assigns is the module's."""
        self._scope.of_module.update(node.names)

    def of_others(self, node: ast.Nonlocal) -> None:
        """What the function assigns belongs to one of those around it."""
        for scope in self._scope.outwards():
            scope.elsewhere.update(node.names)


_READERS: Mapping[type[ast.AST], Callable[[_Reader, Any], None]] = {
    ast.AnnAssign: _Reader.annotated,
    ast.Assign: _Reader.assignment,
    ast.AsyncFunctionDef: _Reader.definition,
    ast.AugAssign: _Reader.augmented,
    ast.ClassDef: _Reader.definition,
    ast.ExceptHandler: _Reader.captured,
    ast.FunctionDef: _Reader.definition,
    ast.Global: _Reader.of_module,
    ast.Import: _Reader.modules,
    ast.ImportFrom: _Reader.parts,
    ast.Lambda: _Reader._open,
    ast.MatchAs: _Reader.captured,
    ast.MatchMapping: _Reader.captured_rest,
    ast.MatchStar: _Reader.captured,
    ast.Name: _Reader.name,
    ast.NamedExpr: _Reader.walrus,
    ast.Nonlocal: _Reader.of_others,
    ast.withitem: _Reader.entered,
}
"""What reads a kind of node, where it binds something."""

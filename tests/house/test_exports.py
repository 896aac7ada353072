"""The public face: every name is exported on purpose, shows itself as `nurselog.…` and explains itself."""

from __future__ import annotations
import __future__

import ast
import dataclasses
import inspect
import types
from collections.abc import Iterator

import pytest

import nurselog
from tests.house.tree import PACKAGE, printed


def exported(source: str) -> set[str]:
    """Read the names that a module exports on purpose: those of `__all__`, and of `X as X`, below an `if` as well."""
    names: set[str] = set()
    body = ast.parse(source).body
    below = [node for one in body if isinstance(one, ast.If) for node in one.body if isinstance(node, ast.ImportFrom)]
    for node in [*body, *below]:
        match node:
            case ast.ImportFrom(names=aliases):
                names.update(alias.name for alias in aliases if alias.asname == alias.name)
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
            ):
                names.update(ast.literal_eval(value))
    return names


def visible(module: types.ModuleType) -> set[str]:
    """List what a user sees in a module, without submodules, which Python puts there when they are imported."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not (isinstance(value, types.ModuleType) and value.__name__ == f"{module.__name__}.{name}")
        and not isinstance(value, __future__._Feature)
    }


SOURCE = (PACKAGE / "__init__.py").read_text("utf-8")
PUBLIC = sorted(exported(SOURCE))
USED_BY_WORKFLOWS = "nurselog.workflow, nurselog.step, nurselog.transaction, nurselog.open_nursery, nurselog.Retry"


def documented_parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield a function, or a class with its public methods and properties."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    yield name, value
    for part, member in vars(value).items() if inspect.isclass(value) else ():
        if not part.startswith("_") and (callable(member) or isinstance(member, property | classmethod | staticmethod)):
            yield f"{name}.{part}", getattr(value, part)


def is_undocumented(value: object) -> bool:
    text = inspect.getdoc(value)
    # What a dataclass without a docstring gets from Python is its signature.
    return not text or (dataclasses.is_dataclass(value) and text.startswith(f"{getattr(value, '__name__', '')}("))


def test_every_visible_name_is_exported_on_purpose() -> None:
    submodules = {name for name in PUBLIC if isinstance(getattr(nurselog, name), types.ModuleType)}
    assert visible(nurselog) == set(PUBLIC) - submodules - {"__version__"}


def test_what_comes_later_is_where_type_checkers_look_for_it() -> None:
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: f"{'.' * node.level}{node.module}" for node in imports for alias in node.names}
    assert len(seen) > 10
    assert seen == nurselog._LATER


def test_a_module_of_workflows_imports_no_engine() -> None:
    code = f"import sys, nurselog; {USED_BY_WORKFLOWS}; print(*sys.modules)"
    parts = {".".join(name.split(".")[:2]) for name in printed(code).split() if name.startswith("nurselog._")}
    assert "nurselog._flow" in parts
    assert parts.isdisjoint({"nurselog._engine", "nurselog._stores", "nurselog._client"})


def test_what_comes_later_is_among_the_names_before() -> None:
    code = "import nurselog; names = dir(nurselog); from nurselog import *; print(open_engine, 'Client' in names)"
    said = printed(code)
    assert said.startswith("<function open_engine")
    assert said.endswith("True\n")


def test_what_somebody_has_put_in_a_name_s_place_stays_there() -> None:
    code = "import nurselog; nurselog.Engine = 'mine'; nurselog.open_engine; print(nurselog.Engine)"
    assert printed(code) == "mine\n"


def test_a_star_brings_what_is_exported() -> None:
    submodules = {name for name in nurselog.__all__ if isinstance(getattr(nurselog, name), types.ModuleType)}
    assert set(nurselog.__all__) - submodules == set(PUBLIC) - submodules - {"__version__"}


def test_a_misspelt_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'nurselog' has no attribute 'open_engin'"):
        nurselog.open_engin  # type: ignore[attr-defined]  # noqa: B018 - what is misspelt on purpose


def test_something_is_exported() -> None:
    assert {"open_engine", "open_nursery", "select", "step", "workflow"} <= set(PUBLIC)


def test_public_names_show_themselves_as_public() -> None:
    """What a traceback or `repr` prints should be what one can import."""
    values = {name: getattr(nurselog, name) for name in PUBLIC}
    modules = {
        name: value.__module__ for name, value in values.items() if inspect.isclass(value) or inspect.isroutine(value)
    }
    inside = [name for name, module in modules.items() if module not in {"nurselog", "nurselog.abc"}]
    assert not inside, "\n".join(inside)


def test_public_names_explain_themselves() -> None:
    parts = [part for name in PUBLIC for part in documented_parts(name, getattr(nurselog, name))]
    silent = [part for part, value in parts if is_undocumented(value)]
    assert not silent, "\n".join(silent)


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_both_ways_to_export_are_read() -> None:
    source = "from .a import b as b, c\nfrom .d import e as f\n__all__ = ['c']\n__all__: list[str] = ['g']"
    assert exported(source) == {"b", "c", "g"}


def test_a_missing_docstring_is_found() -> None:
    @dataclasses.dataclass
    class Silent:
        x: int

        def method(self) -> None: ...

    parts = [part for part, value in documented_parts("Silent", Silent) if is_undocumented(value)]
    assert parts == ["Silent", "Silent.method"]

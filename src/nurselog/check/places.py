"""Where modules are, found without running any.

`importlib.util.find_spec("a.b")` imports `a` to find `b` in it. So only the first part of a name is looked for that
way, and the rest in the folders that it has.
"""

from __future__ import annotations

import importlib.util
import tokenize
from collections.abc import Sequence
from pathlib import Path

from .._errors import UsageError
from .names import Module


def find_files(target: str) -> list[Path]:
    """Return the files that a name or a path means.

    Args:
        target: a module's name, or the path of a file or a folder. Of a package or a folder all modules are meant.

    Raises:
        UsageError: if there is nothing of this name, or nothing in it.
    """
    path = Path(target)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    for place in _places(target.split(".")):
        file = place.with_name(f"{place.name}.py")
        if file.is_file() and not (place / "__init__.py").is_file():
            return [file]
        if place.is_dir():
            return _in_folder(place)
    hint = " (write a module without .py)" if target.endswith(".py") else ""
    raise UsageError(f"there is no source of a module, no file and no folder {target!r}{hint}")


def _places(parts: Sequence[str]) -> list[Path]:
    """Return where a module may be, without suffix: below the current folder, and where Python finds its first part."""
    if not all(part.isidentifier() for part in parts):
        return []
    spec = importlib.util.find_spec(parts[0]) if parts[0] != "__main__" else None
    found = [Path.cwd() / parts[0]]
    if spec is not None:
        found += [Path(folder) for folder in spec.submodule_search_locations or [str(spec.origin).removesuffix(".py")]]
    return [place.joinpath(*parts[1:]) for place in found]


def _in_folder(folder: Path) -> list[Path]:
    """Return the modules in a folder, without what is hidden, generated or installed."""
    found = [path for path in folder.rglob("*.py") if path.is_file() and _is_source(path, folder)]
    if not found:
        raise UsageError(f"there is no module in {str(folder)!r}")
    return found


def _is_source(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
    return not hidden and not any((folder / part / "pyvenv.cfg").exists() for part in inside.parents)


def read_text(path: Path) -> str:
    """Return a module's text, in the encoding that it declares.

    Raises:
        OSError: if it cannot be read.
        SyntaxError: if its encoding is none.
        UnicodeDecodeError: if it is in another one.
    """
    with tokenize.open(path) as file:
        return file.read()


class Library:
    """The modules of a program: those that are checked, and what they import from beside them.

    A workflow calls steps that are imported, and whether a name is that of a step only its module can tell. So that is
    read, too, if it is part of the program: below the folder that has the checked module's package, or the current one.
    """

    def __init__(self) -> None:
        self._modules: dict[Path, Module | None] = {}
        """What has been read; None: what is no Python."""

    def module(self, path: Path, text: str) -> Module:
        """Return a module that knows those beside it."""
        return Module(text, lambda name: self._import(path, name))

    def _import(self, path: Path, name: str) -> Module | None:
        """Return what a module imports by a name, with dots in front if it is relative."""
        parts = name.lstrip(".").split(".")
        level = len(name) - len(name.lstrip("."))
        parents = path.resolve().parents
        roots = parents[level - 1 : level] if level else [_root(path.resolve()), Path.cwd()]
        for root in roots:
            place = root.joinpath(*parts)
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file():
                    return self._read(file)
        return None

    def _read(self, file: Path) -> Module | None:
        if file not in self._modules:
            try:
                self._modules[file] = self.module(file, read_text(file))
            except (OSError, SyntaxError, ValueError, RecursionError):
                self._modules[file] = None
        return self._modules[file]


def _root(path: Path) -> Path:
    """Return the folder from which a module's package is imported."""
    return next(folder for folder in path.parents if not (folder / "__init__.py").exists())

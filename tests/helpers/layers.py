"""The layers of the house, measured from its imports: ``python tests/helpers/layers.py`` prints a line a floor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import sit2

ROOT = Path(sit2.__file__).parent
# Rooms within rooms that stand on a floor of their own; all else below a room is of its floor.
APART = ("execution.executors",)


def modules() -> Iterator[tuple[str, Path]]:
    """Yield each module's dotted name below sit2 ("" for itself), and its file."""
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


MODULES = dict(modules())


def imports(file: Path) -> Iterator[str]:
    """Yield the modules below sit2 that a file imports, anywhere in it, type checking included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            below = name.removeprefix("sit2.")
            if name.startswith("sit2.") and below in MODULES:
                yield below


GRAPH = {name: set(imports(file)) - {name} for name, file in MODULES.items()}


def prefixes(name: str) -> list[str]:
    """Return a module's name and those of the packages that it lies in, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def room(name: str) -> str:
    """Return the room that a module is in: the first part of its name, or the longest of ``APART``."""
    return next((prefix for prefix in prefixes(name) if prefix in APART), name.partition(".")[0])


def rooms() -> dict[str, set[str]]:
    """Return every room, and those that it imports from. ``sit2/__init__`` loads nothing, and is none."""
    found: dict[str, set[str]] = {}
    for name, others in GRAPH.items():
        if name:
            own = found.setdefault(room(name), set())
            own |= {room(other) for other in others if other} - {room(name)}
    return found


def layers() -> list[list[str]]:
    """Return the floors, the lowest first: each room stands on the first floor above all that it imports.

    Raises:
        graphlib.CycleError: rooms import each other, with the circle.
    """
    graph = rooms()
    floor: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        floor[name] = 1 + max((floor[other] for other in graph[name]), default=-1)
    return [sorted(name for name in floor if floor[name] == n) for n in range(max(floor.values()) + 1)]


if __name__ == "__main__":
    for number, names in reversed(list(enumerate(layers(), 1))):
        print(f"{number:2}  {', '.join(names)}")

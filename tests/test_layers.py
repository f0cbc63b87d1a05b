"""The modules are in a total order, and each imports only from above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sessions

ROOT = Path(sessions.__file__).parent

ORDER = """
    errors ids lifecycle models facts decoding texts matching wire
    store.owners store.records store.punch store.reading store.transcript store.conditions store.schema store.spaces store.catalog
    shell.script shell.poller shell.keeper_program shell.keeper shell.pipes shell.processes shell.descriptors shell.pseudoterminal shell.shell
    arguments running recorder pumping stopping workshop shells live restarting closing live_terminal
    archive reading_logs following streams waiting command terminal session
    recovery retention engine spaces opening
    __init__
    demo
""".split()

# A subpackage's __init__.py holds a docstring and nothing else.
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
    if path.parent == ROOT or path.name != "__init__.py"
}


def imports(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """The modules of ours that `tree`, a file in `package`, imports when it runs, at the top or later."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            for alias in node.names:
                yield from names_of(".".join([*base, alias.name]), ".".join(base))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from names_of(alias.name)
        else:
            todo += ast.iter_child_nodes(node)


def names_of(*candidates: str) -> Iterator[str]:
    """The first of `candidates` (dotted, absolute) that is a module of ours."""
    for dotted in candidates:
        if dotted == "sessions":
            yield "__init__"
        elif dotted.removeprefix("sessions.") in FILES and dotted.startswith("sessions."):
            yield dotted.removeprefix("sessions.")
        else:
            continue
        return


def test_order_names_each_module_once() -> None:
    assert sorted(ORDER) == sorted(FILES)


@pytest.mark.parametrize("module", ORDER)
def test_imports_only_from_above(module: str) -> None:
    package = ["sessions", *module.split(".")[:-1]]
    found = set(imports(ast.parse(FILES[module].read_text()), package))
    assert found <= set(ORDER[: ORDER.index(module)])


def test_subpackages_are_empty() -> None:
    for path in ROOT.glob("*/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert all(isinstance(node, ast.Expr) for node in body), path

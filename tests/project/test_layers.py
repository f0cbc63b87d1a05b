"""The modules are in a total order, and each imports only from above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sessions

ROOT = Path(sessions.__file__).parent

ORDER = """
    errors ids lifecycle models roots failure facts decoding texts matching wire threads
    store.owners store.records store.punch store.reading store.transcript store.conditions store.schema store.spaces store.catalog
    shell.kept_variables shell.script shell.poller shell.keeper_program shell.keeper shell.pipes shell.descriptors shell.processes shell.pseudoterminal shell.shell
    arguments selection callbacks
    running recorder pumping stopping hearing workshop shells live restarting closing live_terminal
    archive reading_logs following streams waiting command terminal recent echoing session
    recovery retention engine space_homes space spaces opening
    doors.open_streams doors.requests doors.operations doors.telling doors.rendering doors.pages
    doors.following_logs doors.passing_on doors.streaming doors.fields doors.refusals doors.dialects
    doors.outcomes doors.starting doors.endings doors.own_shells doors.accounts doors.kept_alive doors.waiting_input doors.terminal_sockets
    doors.native.ranges doors.native.slow_answers doors.native.sessions doors.native.commands doors.native.run doors.native.follow doors.native.logs doors.native.terminals
    doors.native.events
    doors.native.metrics doors.native.openapi doors.native.door
    doors.daytona.versions doors.daytona.frames doors.daytona.errors doors.daytona.views doors.daytona.routing
    doors.daytona.listing doors.daytona.sandboxes doors.daytona.sessions doors.daytona.follow doors.daytona.run
    doors.daytona.terminals doors.daytona.attach doors.daytona.door
    doors.declaw.errors doors.declaw.lifetimes doors.declaw.routing doors.declaw.sandboxes doors.declaw.events doors.declaw.streams
    doors.declaw.terminals doors.declaw.commands doors.declaw.stdio doors.declaw.door
    doors.miosa.errors doors.miosa.views doors.miosa.routing doors.miosa.launch doors.miosa.lines doors.miosa.events doors.miosa.run
    doors.miosa.streams doors.miosa.processes doors.miosa.services doors.miosa.machines doors.miosa.terminals doors.miosa.frames
    doors.miosa.spawn doors.miosa.interpreters doors.miosa.code doors.miosa.hosts doors.miosa.door
    doors.nullspace.errors doors.nullspace.routing doors.nullspace.machines doors.nullspace.texts doors.nullspace.processes
    doors.nullspace.run doors.nullspace.channel doors.nullspace.exec doors.nullspace.terminals doors.nullspace.attach doors.nullspace.door
    doors.superserve.errors doors.superserve.tokens doors.superserve.views doors.superserve.routing doors.superserve.sandboxes
    doors.superserve.runs doors.superserve.exec doors.superserve.spawn doors.superserve.door
    server.limits server.refusals server.admission server.token server.lock server.listening server.entrances server.guard
    server.connections server.loopback server.front server.serving server.pid_one server.running
    client.address client.calls client.patience client.answers client.events client.connection client.feed client.streams
    client.reading client.listing client.waited client.command client.terminal client.session client.merging client.client
    together portal iterating facade blocking_commands blocking
    cli.place cli.outcomes cli.times cli.text cli.choosing cli.prefixes cli.outlets cli.telling cli.views cli.checks cli.sampling
    cli.completing cli.kinds cli.starting cli.reading cli.hosts cli.reaching cli.finding cli.submitting cli.log_pieces
    cli.keys cli.drawing
    cli.serve cli.new cli.run cli.start cli.ps cli.logs cli.follow cli.wait cli.send cli.kill cli.close cli.prune cli.top cli.doctor cli.env
    cli.attach cli.joined
    cli.main
    __init__
    demo
    __main__
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
    for path in ROOT.glob("*/**/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert all(isinstance(node, ast.Expr) for node in body), path


def test_no_door_knows_another() -> None:
    for module in ORDER:
        match module.split("."):
            case ["doors", door, _]:
                package = ["sessions", "doors", door]
                found = imports(ast.parse(FILES[module].read_text()), package)
                assert {name.split(".")[1] for name in found if name.count(".") == 2} <= {door}, module

"""The modules are in a total order, and each imports only from above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sessions

ROOT = Path(sessions.__file__).parent

ORDER = """
    errors ids lifecycle models roots failure facts decoding texts matching wire
    store.owners store.records store.punch store.reading store.transcript store.conditions store.schema store.spaces store.catalog
    shell.script shell.poller shell.keeper_program shell.keeper shell.pipes shell.processes shell.descriptors shell.pseudoterminal shell.shell
    arguments selection callbacks
    running recorder pumping stopping hearing workshop shells live restarting closing live_terminal
    archive reading_logs following streams waiting command terminal recent echoing session
    recovery retention engine spaces opening
    doors.open_streams doors.requests doors.operations doors.telling doors.rendering doors.ranges
    doors.following_logs doors.streaming doors.fields doors.accounts doors.outcomes doors.kept_alive doors.terminal_sockets
    doors.native_sessions doors.native_commands doors.native_run doors.native_follow doors.native_logs doors.native_terminals
    doors.native_events
    doors.metrics doors.openapi doors.native
    doors.daytona_versions doors.daytona_frames doors.daytona_errors doors.daytona_views doors.daytona_routing
    doors.daytona_sandboxes doors.daytona_sessions doors.daytona_follow doors.daytona_run
    doors.daytona_terminals doors.daytona_attach doors.daytona
    doors.declaw_errors doors.declaw_lifetimes doors.declaw_routing doors.declaw_sandboxes doors.declaw_events doors.declaw_streams
    doors.declaw_terminals doors.declaw_commands doors.declaw_stdio doors.declaw
    doors.miosa_errors doors.miosa_views doors.miosa_routing doors.miosa_launch doors.miosa_lines doors.miosa_events doors.miosa_run
    doors.miosa_streams doors.miosa_processes doors.miosa_services doors.miosa_machines doors.miosa_terminals doors.miosa_frames
    doors.miosa_spawn doors.miosa_interpreters doors.miosa_code doors.miosa_hosts doors.miosa
    doors.nullspace_errors doors.nullspace_routing doors.nullspace_machines doors.nullspace_texts doors.nullspace_processes
    doors.nullspace_run doors.nullspace_channel doors.nullspace_exec doors.nullspace_terminals doors.nullspace_attach doors.nullspace
    doors.superserve_errors doors.superserve_tokens doors.superserve_views doors.superserve_routing doors.superserve_sandboxes
    doors.superserve_runs doors.superserve_exec doors.superserve_spawn doors.superserve
    server.limits server.refusals server.admission server.token server.lock server.listening server.entrances server.guard
    server.connections server.loopback server.front server.serving server.pid_one server.running
    client.address client.calls client.patience client.answers client.events client.connection client.feed client.streams
    client.reading client.listing client.waited client.command client.terminal client.session client.merging client.client
    together portal iterating facade blocking_commands blocking
    cli.place cli.outcomes cli.times cli.text cli.choosing cli.prefixes cli.outlets cli.telling cli.views cli.checks cli.sampling
    cli.completing cli.kinds cli.starting cli.reading cli.hosts cli.reaching cli.finding cli.submitting cli.log_pieces
    cli.keys cli.drawing
    cli.serve cli.new cli.run cli.start cli.ps cli.logs cli.follow cli.wait cli.send cli.kill cli.close cli.prune cli.top cli.doctor cli.env
    cli.attach
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
    for path in ROOT.glob("*/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert all(isinstance(node, ast.Expr) for node in body), path

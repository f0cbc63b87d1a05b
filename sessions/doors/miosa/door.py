"""The Miosa dialect, mounted at ``/miosa``, behind which clients put ``/api/v1``: computers and sandboxes are spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope

from ...errors import SessionsError
from ...spaces import Spaces
from ..open_streams import Streams
from . import (
    code,
    hosts,
    machines,
    processes,
    run,
    services,
    spawn,
    streams,
    terminals,
)
from .errors import error_answer
from .routing import build_routes

ROWS: Final = [
    *machines.ROWS,
    *run.ROWS,
    *streams.ROWS,
    *spawn.ROWS,
    *processes.ROWS,
    *services.ROWS,
    *terminals.ROWS,
    *code.ROWS,
    *hosts.ROWS,
]
ABSENT: Final = {
    "files": "files",
    "fs": "files",
    "exports": "files",
    "snapshot": "snapshots",
    "snapshots": "snapshots",
    "checkpoints": "snapshots",
    "restore": "snapshots",
    "fork": "forks",
    "deploy": "deployments",
    "expose": "ports",
    "ports": "ports",
    "previews": "ports",
    "tunnel": "ports",
    "ssh-tunnel": "SSH",
    "ssh-info": "SSH",
    "ssh-certificates": "SSH",
    "desktop": "desktops",
    "viewer-password": "desktops",
    "egress": "rules for what goes out, secrets and their audit",
    "extend": "limits of a sandbox's life",
    "template": "templates",
    "artifacts": "artifacts",
    "shares": "shares",
    "env": "another environment for a machine that is there already",
    "logs": "logs of a whole machine",
    "events": "events",
    "metrics": "metrics",
    "usage": "usage",
    "resources": "resources",
    "devices": "devices",
    "opencomputers": "hosts",
    "sandbox-templates": "templates",
    "sandbox-template-builds": "templates",
    "deployments": "deployments",
    "runs": "agent runs",
    "run-groups": "agent runs",
    "agents": "agents",
    "agent-accounts": "agents",
    "agent-runtime-profiles": "agents",
    "agent-signins": "agents",
    "agent-triggers": "agents",
    "workspaces": "workspaces",
    "projects": "projects",
    "volumes": "volumes",
}
"""What this server does not have: a segment of its path, and what it is called."""


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`. `streams` is shared by all doors of a server."""
    return build_routes(spaces, streams, ROWS, ABSENT)


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in. Where a ticket lets in, that is what is missing."""
    is_unknown = error.status == 401 and streams.computer_of(scope) is not None
    return error_answer(scope, streams.bad_ticket() if is_unknown else error)


def admit(scope: Scope, is_token: Callable[[str], bool]) -> bool:
    """Whether a request may come in that has the server's token in no header."""
    return streams.admit(scope, is_token)

"""Our own dialect, mounted at ``/v1``: the whole of its table."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...engine import Engine
from ...models import Pruned
from ...wire import PruneLogs
from ..open_streams import Streams
from ..operations import Call, Operation, build_routes
from ..requests import json_response
from . import (
    commands,
    events,
    follow,
    logs,
    metrics,
    run,
    sessions,
    terminals,
)
from .openapi import make_document

VERSION: Final = importlib.metadata.version("sessions")


async def health(call: Call) -> ASGIApp:
    return json_response(
        {
            "status": "ok",
            "version": VERSION,
            "engine_id": call.engine.id,
            "pid": os.getpid(),
            "started_at": call.streams.started_at,
        }
    )


async def prune(call: Call) -> ASGIApp:
    asked: PruneLogs = call.body
    return json_response(await call.engine.prune(older_than=asked.older_than, keep_bytes=asked.keep_bytes))


async def openapi(call: Call) -> ASGIApp:
    return json_response(make_document("sessions", VERSION, call.base, OPERATIONS))


HEALTH_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok"]},
        "version": {"type": "string"},
        "engine_id": {"type": "string"},
        "pid": {"type": "integer"},
        "started_at": {"type": "number"},
    },
    "required": ["status", "version", "engine_id", "pid", "started_at"],
    "additionalProperties": False,
}

OPERATIONS: Final = [
    Operation(method="GET", path="/health", summary="That it works.", answer=health, result=HEALTH_SCHEMA),
    Operation(
        method="GET",
        path="/openapi.json",
        summary="This table, as OpenAPI 3.1.",
        answer=openapi,
        result={"type": "object"},
    ),
    *sessions.OPERATIONS,
    *run.OPERATIONS,
    *commands.OPERATIONS,
    *logs.OPERATIONS,
    *follow.OPERATIONS,
    *terminals.OPERATIONS,
    *events.OPERATIONS,
    *metrics.OPERATIONS,
    Operation(
        method="POST",
        path="/prune",
        summary="Remove the logs of finished commands.",
        answer=prune,
        body=PruneLogs,
        result=Pruned,
    ),
]


def routes(engine: Engine, streams: Streams | None = None) -> list[BaseRoute]:
    """The door on `engine`; mount it at ``/v1``. `streams` is shared by all doors of a server."""
    return build_routes(engine, streams if streams is not None else Streams(), OPERATIONS)

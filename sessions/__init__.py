"""Persistent shells with ids, outcomes and logs: a session-based process manager.

This page is the map: every public name is here. See ``docs/`` for how they work together. A name's module is loaded when the
name is first asked for, so that a program pays for what it uses.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import blocking
    from .client.client import Client, connect
    from .command import Command
    from .engine import Engine
    from .errors import (
        Broken,
        Busy,
        Closed,
        CommandFailed,
        Conflict,
        Corrupt,
        EndedFirst,
        Expired,
        Invalid,
        NotFound,
        SessionsError,
        TimedOut,
    )
    from .models import Event, Excerpt, Limits, Logs, Pruned, Record, Result
    from .opening import open_engine
    from .server.limits import ServerLimits
    from .server.serving import serve
    from .session import Session
    from .terminal import Terminal
    from .together import follow_all

__all__ = [
    "Broken",
    "Busy",
    "Client",
    "Closed",
    "Command",
    "CommandFailed",
    "Conflict",
    "Corrupt",
    "EndedFirst",
    "Engine",
    "Event",
    "Excerpt",
    "Expired",
    "Invalid",
    "Limits",
    "Logs",
    "NotFound",
    "Pruned",
    "Record",
    "Result",
    "ServerLimits",
    "Session",
    "SessionsError",
    "Terminal",
    "TimedOut",
    "blocking",
    "connect",
    "follow_all",
    "open_engine",
    "serve",
]

_MODULES = {
    "client.client": "Client connect",
    "command": "Command",
    "engine": "Engine",
    "errors": "Broken Busy Closed CommandFailed Conflict Corrupt EndedFirst Expired Invalid NotFound SessionsError TimedOut",
    "models": "Event Excerpt Limits Logs Pruned Record Result",
    "opening": "open_engine",
    "server.limits": "ServerLimits",
    "server.serving": "serve",
    "session": "Session",
    "terminal": "Terminal",
    "together": "follow_all",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "blocking":
        return import_module(".blocking", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

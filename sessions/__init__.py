"""Persistent shells with ids, outcomes and logs: a session-based process manager.

This page is the map: every public name is here. See ``docs/`` for how they work together.
"""

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
from .session import Session
from .streams import follow_all

__all__ = [
    "Broken",
    "Busy",
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
    "Session",
    "SessionsError",
    "TimedOut",
    "follow_all",
    "open_engine",
]

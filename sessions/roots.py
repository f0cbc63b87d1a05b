"""Where an engine keeps its state unless it is told."""

from __future__ import annotations

import os
from pathlib import Path


def default_root() -> Path:
    """``$SESSIONS_HOME``, else ``$XDG_STATE_HOME/sessions``, else ``~/.local/state/sessions``."""
    home = os.environ.get("SESSIONS_HOME")
    if home:
        return Path(home)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "sessions"

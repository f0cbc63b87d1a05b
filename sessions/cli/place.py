"""Which root and which server a call of the command line is about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..roots import default_root


class Place(NamedTuple):
    """What ``--root``, ``--url`` and ``--token`` say, and where they are left out, the environment."""

    given_root: str | None = None
    given_url: str | None = None
    given_token: str | None = None
    environ: Mapping[str, str] = os.environ

    @property
    def root(self) -> Path:
        path = Path(self.given_root).expanduser() if self.given_root else default_root()
        return path if path.is_absolute() else Path(current_directory(), path)

    @property
    def url(self) -> str | None:
        """A server that was named; None for the one of the root. A root on the command line counts more than ``$SESSIONS_URL``."""
        if self.given_url:
            return self.given_url
        return None if self.given_root else self.environ.get("SESSIONS_URL") or None

    @property
    def token(self) -> str | None:
        return self.given_token or self.environ.get("SESSIONS_TOKEN") or None

    @property
    def socket(self) -> Path:
        """Where the server of the root listens."""
        return self.root / "serve.sock"


def current_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        from ..errors import Conflict

        raise Conflict("the current directory has been removed: go to another one") from None

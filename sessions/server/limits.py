"""What a server grants to those who connect."""

from __future__ import annotations

import math

import attrs

from ..errors import Invalid


@attrs.frozen(kw_only=True)
class ServerLimits:
    """What users may set, for one server."""

    body_bytes: int = 16 << 20
    """The largest body of a request. Beyond it: 413."""
    body_seconds: float = 120.0
    """How long a whole body may take to come. Beyond it: 408."""
    header_bytes: int = 32 << 10
    """The largest head of a request: its first line and its headers. Beyond it: 431."""
    header_seconds: float = 15.0
    """How long a new connection may take until it has sent a request that is let in. Then it is cut."""
    idle_seconds: float = 120.0
    """How long a connection may wait between two requests. Longer than most clients keep theirs, so that none is cut under a request."""
    strangers: int = 1000
    """Connections that have not sent a request that was let in. Beyond it, the oldest of them is cut."""
    followers: int = 10_000
    """Open streams. Beyond it: 429."""
    heartbeat_seconds: float = 15.0
    """How long a stream is silent before it says that it is alive. Proxies cut what is silent for 30 or 60 seconds."""
    stop_seconds: float = 2.0
    """How long answers under way may take to end when the server stops. Then they are cut."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise Invalid(f"ServerLimits: {field.name}={value!r}: pass a number above 0")

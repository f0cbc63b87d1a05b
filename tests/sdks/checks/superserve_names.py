"""Checks with a client whose fixed names lead here by themselves: ``python superserve_names.py sync`` or ``async``.

Nothing stands between it and the server: no proxy, and no port but that of HTTPS.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from superserve_clients import Check, Client, run_checks
from superserve_commands import run_tells_all, stream_tells_all, text_is_exact
from superserve_sandboxes import (
    paused_sandbox_goes_on_by_itself,
    sandbox_is_made_found_and_killed,
    tokens_open_their_own_sandbox,
)


async def names_lead_here(client: Client) -> None:
    assert [name for name in os.environ if name.lower().endswith("_proxy")] == []
    for name in ("sandbox.superserve.ai", f"boxd-{client.sandbox.id}.sandbox.superserve.ai"):
        assert {found[4] for found in socket.getaddrinfo(name, 443)} == {("127.0.0.1", 443)}


CHECKS: list[Check] = [
    names_lead_here,
    sandbox_is_made_found_and_killed,
    run_tells_all,
    stream_tells_all,
    text_is_exact,
    paused_sandbox_goes_on_by_itself,
    tokens_open_their_own_sandbox,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

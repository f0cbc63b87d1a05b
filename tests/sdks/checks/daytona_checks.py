"""All checks of one client, in one program: ``python daytona_checks.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys

import daytona_processes
import daytona_sandboxes
import daytona_streams
import daytona_terminals
from daytona_clients import run_checks

PARTS = (daytona_sandboxes, daytona_processes, daytona_streams, daytona_terminals)

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], [check for part in PARTS for check in part.CHECKS]))

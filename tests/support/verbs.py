"""The contract of the verbs: one set of checks that an engine, a client on trio, a client on asyncio and the blocking ones pass.

A `Subject` offers the verbs as async ones, whatever they are; the checks use anyio, so they run under trio and asyncio. Each
check makes its own sessions, so they may share a host; none needs another.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

pytest.register_assert_rewrite("subject", "verbs_sessions", "verbs_commands", "verbs_logs", "verbs_terminals")

import verbs_commands  # noqa: E402
import verbs_logs  # noqa: E402
import verbs_sessions  # noqa: E402
import verbs_terminals  # noqa: E402
from subject import CHECKS, Check, Subject  # noqa: E402

__all__ = [
    "CHECKS",
    "Check",
    "Subject",
    "check_verbs",
    "verbs_commands",
    "verbs_logs",
    "verbs_sessions",
    "verbs_terminals",
]


async def check_verbs(host: Any, **options: Any) -> None:
    """All checks, one after the other."""
    for check in CHECKS:
        with anyio.fail_after(100):
            await check(Subject(host, **options))

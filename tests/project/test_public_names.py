"""What `import sessions` offers. A name that is added or removed here belongs in the changelog."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sessions

PUBLIC = """
    open_engine follow_all connect Client blocking serve ServerLimits
    Engine Session Command Terminal
    Record Logs Excerpt Result Event Limits Pruned
    SessionsError Invalid NotFound Expired Conflict Busy Closed CommandFailed EndedFirst TimedOut Broken Corrupt
""".split()


def test_public_names() -> None:
    assert sorted(sessions.__all__) == sorted(PUBLIC)


def test_each_public_name_is_there_and_says_what_it_is() -> None:
    for name in sessions.__all__:
        assert getattr(sessions, name).__doc__, name


PROGRAMS = {
    "import sessions": {"trio", "attrs", "asyncio", "psutil", "rich", "httpx", "anyio", "click", "starlette"},
    "import sessions; sessions.open_engine": {"asyncio", "psutil", "rich", "httpx", "anyio", "click", "starlette"},
    "import sessions; sessions.connect": {"psutil", "starlette", "hypercorn"},
}
"""What each must not load."""


@pytest.mark.parametrize(("program", "unwanted"), PROGRAMS.items())
def test_import_loads_only_what_each_program_needs(program: str, unwanted: set[str]) -> None:
    watched = f"import sys; before = set(sys.modules); {program}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True)
    assert not unwanted & set(done.stdout.split())


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        sessions.nothing  # type: ignore[attr-defined]  # noqa: B018

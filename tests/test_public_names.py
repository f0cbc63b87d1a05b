"""What `import sessions` offers. A name that is added or removed here belongs in the changelog."""

from __future__ import annotations

import subprocess
import sys

import sessions

PUBLIC = """
    open_engine follow_all
    Engine Session Command
    Record Logs Excerpt Result Event Limits Pruned
    SessionsError Invalid NotFound Expired Conflict Busy Closed CommandFailed EndedFirst TimedOut Broken Corrupt
""".split()


def test_public_names() -> None:
    assert sorted(sessions.__all__) == sorted(PUBLIC)


def test_each_public_name_is_there_and_says_what_it_is() -> None:
    for name in sessions.__all__:
        assert getattr(sessions, name).__doc__, name


def test_import_loads_only_what_each_program_needs() -> None:
    program = "import sys, sessions; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"asyncio", "psutil", "rich"} & set(done.stdout.split())

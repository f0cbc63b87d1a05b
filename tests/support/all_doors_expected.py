"""What the scenario that all doors are compared by comes to, where a dialect does not differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from checks.contract_writer import LARGE_BYTES, large, written

BOTH: Final = ("sync", "async")
SAME: Final[Mapping[str, Mapping[str, Any]]] = {
    "run": {"stdout": "ü€😀\n", "stderr": "no newline", "exit_code": 3},
    "run_without_input": {"stdout": "end\n", "stderr": "", "exit_code": 0},
    "stream": {
        "pieces": [["stderr", "1\n"], ["stdout", "2\n"], ["stderr", "3\n"], ["stdout", "4\nend"]],
        "exit_code": 4,
    },
    "stream_of_characters": {"stdout": "aü€😀\n", "stderr": "aü€😀\n", "exit_code": 0, "split": False},
    "background": {"stdout": "begun\n", "stderr": "err\n", "exit_code": 5},
    "logs_after_exit": {"stdout": "out ü\nrest", "stderr": "err\n"},
    "kill": {"stdout": "up\n", "stderr": "", "exit_code": 137},
    "timeout": {"stdout": "up\n", "stderr": "err\n", "exit_code": 124, "left": 0},
    "input": {"stdout": "got one ü, two\n", "stderr": "", "exit_code": 6},
}
NOT_FOUND: Final = ("unknown_command", "unknown_space")
"""Steps that come to an error, which each SDK calls by a name of its own."""


def hashes(name: str) -> dict[str, str]:
    """Of what one of many streams writes."""
    assert len(large(name).encode()) == LARGE_BYTES
    return {stream: hashlib.sha256(text.encode()).hexdigest() for stream, text in written(name).items()}

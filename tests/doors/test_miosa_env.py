"""``sessions env miosa`` points the SDK at the user's own server, whatever its own variables said before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sdk_runs import Sdk
from server_process import TOKEN, server_process

SDK = Sdk("miosa")
PROGRAM = (
    "from miosa import Miosa; c = Miosa(); m = c.computers.create(name='x'); print(m.bash('echo hi').output, end='')"
)


@SDK.needs_python
def test_a_program_is_pointed_at_the_server(root: Path) -> None:
    with server_process(root) as server:
        command = [sys.executable, "-m", "sessions", "--root", str(root), "--token", TOKEN, "env", "miosa"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert f"export MIOSA_BASE_URL={server.http}/miosa\n" in done.stdout
        script = f'export MIOSA_ACCESS_TOKEN=the-real-one\n{done.stdout}\n"$1" -c "$2"'
        ran = subprocess.run(
            ["bash", "-c", script, "bash", SDK.python, PROGRAM], capture_output=True, text=True, timeout=60
        )
    assert ran.stdout == "hi\n", ran.stderr

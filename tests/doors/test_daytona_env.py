"""``sessions env daytona`` points an SDK at the user's own server, whatever state that is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_process import TOKEN, server_process

from sessions.server.lock import FILE


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SESSIONS_", "DAYTONA_"))}
    return subprocess.run(
        [sys.executable, "-m", "sessions", "--root", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=kept,
    )


def exported(root: Path, *arguments: str) -> dict[str, str]:
    """What a shell has in its environment after it has read the lines."""
    done = run(root, "env", "daytona", *arguments)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        ["bash", "-c", 'eval "$1"; env', "bash", done.stdout], capture_output=True, text=True, check=True
    )
    lines = [line.partition("=") for line in shown.stdout.splitlines() if line.startswith("DAYTONA_")]
    return {name: value for name, _, value in lines}


def is_answered(variables: dict[str, str]) -> bool:
    headers = {"Authorization": f"Bearer {variables['DAYTONA_API_KEY']}"}
    return httpx.get(f"{variables['DAYTONA_API_URL']}/sandbox", headers=headers, trust_env=False).status_code == 200


@pytest.fixture
def started(root: Path) -> Iterator[Path]:
    """A root whose server, which a verb has started, is ended after the test."""
    yield root
    pid = int((root / FILE).read_text().partition('"pid": ')[2].partition(",")[0])
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.02)


def test_a_server_is_started_and_listens(started: Path) -> None:
    variables = exported(started)
    assert variables["DAYTONA_API_URL"].startswith("http://127.0.0.1:")
    assert is_answered(variables)
    assert exported(started) == variables  # the same address again
    assert variables["DAYTONA_API_URL"].removesuffix("/daytona/api") in (started / FILE).read_text()


def test_a_server_without_tcp_gets_an_address(started: Path) -> None:
    assert run(started, "run", "build", "true").returncode == 0
    assert '"urls": []' in (started / FILE).read_text()
    assert is_answered(exported(started))


def test_a_server_with_an_address_and_a_token_of_its_own(root: Path) -> None:
    with server_process(root) as server:
        done = run(root, "env", "daytona")
        assert done.returncode != 0
        assert "SESSIONS_TOKEN" in done.stderr
        wanted = {"DAYTONA_API_URL": f"{server.http}/daytona/api", "DAYTONA_API_KEY": TOKEN}
        assert exported(root, "--token", TOKEN) == wanted
        assert exported(root, "--url", server.http, "--token", TOKEN) == wanted


def test_our_own_tools_show_what_runs_and_what_ran(root: Path) -> None:
    """Also when the sandbox has gone, until it is pruned."""
    with server_process(root) as server:
        head = {"Authorization": f"Bearer {TOKEN}", "X-Daytona-SDK-Version": "0.226.1"}
        with httpx.Client(base_url=f"{server.http}/daytona", headers=head, trust_env=False, timeout=60) as http:
            sandbox = http.post("/api/sandbox", json={}).json()["id"]
            process = f"/toolbox/{sandbox}/process"
            http.post(f"{process}/session", json={"sessionId": "build"}).raise_for_status()
            asked = {"command": "echo kept; sleep 600", "runAsync": True}
            command = http.post(f"{process}/session/build/exec", json=asked).json()["cmdId"]
            http.post(f"{process}/execute", json={"command": "echo beside"}).raise_for_status()
            listed = run(root, "ps", "--label", f"space={sandbox}").stdout
            assert [line.split()[2] for line in listed.splitlines()[1:]] == ["running", "finished"]
            assert "echo kept; sleep 600" in listed
            assert "echo beside" in listed
            assert run(root, "ps", "-q", "--label", "door=daytona", "--label", "session=build").stdout.split() == [
                command
            ]
            http.delete(f"/api/sandbox/{sandbox}").raise_for_status()
        assert run(root, "logs", command).stdout == "kept\n"
        assert "session_closed" in run(root, "ps", "--label", f"space={sandbox}").stdout
        assert run(root, "prune", "--older-than", "0s").returncode == 0
        assert run(root, "logs", command).returncode != 0


def test_other_systems_are_not_known(root: Path) -> None:
    done = run(root, "env", "nonsense")
    assert done.returncode != 0
    assert "daytona" in done.stderr

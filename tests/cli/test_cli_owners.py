"""A server is started in a root of our own only, and nothing that lies there leads what it writes elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import command_line

NOBODY = 65534


def test_none_is_started_in_a_root_of_another_user(tmp_path: Path) -> None:
    """As with sudo: files of ours would lock its owner out, and he would run commands as us."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: a root of another user; making one takes root")
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    os.chown(root, NOBODY, NOBODY)
    with command_line(root) as cli:
        for arguments in (["run", "s", "true"], ["start", "s", "true"], ["new"], ["env", "daytona"]):
            done = cli.call(*arguments)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == f"error: the root {root} belongs to another user: choose your own with --root\n"
            assert list(root.iterdir()) == []
        assert cli.server_pid is None


@pytest.mark.parametrize("name", ["serve.log", "serve.starting"])
@pytest.mark.parametrize("there", [True, False])
def test_no_link_is_followed(tmp_path: Path, name: str, there: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.write_text("mine")
    with command_line(tmp_path / "root") as cli:
        cli.root.mkdir(mode=0o700)
        (cli.root / name).symlink_to(elsewhere)
        done = cli.call("run", "s", "true")
        assert done.returncode == 3
        assert "no server can be started" in done.stderr
        assert cli.server_pid is None
    assert (elsewhere.read_text() if elsewhere.exists() else None) == ("mine" if there else None)


def test_the_token_goes_to_the_address_of_our_server_alone(tmp_path: Path) -> None:
    """``localhost`` is ``::1``, too, where anybody may listen on the same port."""
    with command_line(tmp_path / "root") as cli:
        lines = cli.tell("env", "daytona").splitlines()
        url = lines[0].removeprefix("export DAYTONA_API_URL=").removesuffix("/daytona/api")
        assert url.startswith("http://127.0.0.1:")
        named = url.replace("127.0.0.1", "localhost")
        assert cli.tell("--url", named, "env", "daytona").splitlines() == lines

"""Tab in the shells that completion is made for, as a user presses it: what then stands on the line is run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine, command_line
from user_terminal import UserTerminal

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(_SESSIONS_COMPLETE=bash_source sessions)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(_SESSIONS_COMPLETE=zsh_source sessions)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "_SESSIONS_COMPLETE=fish_source sessions | source"),
}
"""How each is started, and the line of the documentation that goes into its startup file."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Called by a shell, `sessions` shows its arguments; asked what could stand there, it is the real one."""
    directory = tmp_path_factory.mktemp("tab")
    program = directory / "bin" / "sessions"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ -n "$_SESSIONS_COMPLETE" ] && exec {sys.executable} -m sessions\n'
        "printf 'called:'; printf ' <%s>' \"$@\"; echo .\n"
    )
    program.chmod(0o755)
    with command_line(directory / "root") as cli:
        home = directory / "home"
        home.mkdir()
        cli.environ |= {"PATH": f"{program.parent}:{cli.environ['PATH']}", "HOME": str(home), "TERM": "xterm"}
        cli.tell("new", "complete-me")
        yield cli


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is NOT INSTALLED"))
        for name in SHELLS
    ],
)
def test_tab(cli: CommandLine, tmp_path: Path, shell: str) -> None:
    (tmp_path / "certificate.pem").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    typed = {
        "lo\tcompl\t": "<logs> <complete-me>",
        "follow --session compl\t": "<follow> <--session> <complete-me>",
        "follow --session=compl\t": "<follow> <--session=complete-me>",
        "ps --state=fin\t": "<ps> <--state=finished>",
        f"run --cwd {tmp_path}/d\t": f"<run> <--cwd> <{tmp_path}/directory>",
        f"run --cwd {tmp_path}/f\t": f"<run> <--cwd> <{tmp_path}/f>",
        f"serve --certfile {tmp_path}/cert\t": f"<serve> <--certfile> <{tmp_path}/certificate.pem>",
        "signal sigte\t": "<signal> <SIGTERM>",
    }
    words, startup = SHELLS[shell]
    terminal = UserTerminal(30, 200)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
    try:
        terminal.process = cli.spawn(words, start_new_session=True, preexec_fn=terminal.own, **streams)
        terminal.type(f"{startup}; echo star''ted\r".encode())
        terminal.see(b"started\r\n")
        for line, expected in typed.items():
            terminal.type(f"sessions {line}\r".encode())
            terminal.see(b"called: ")
            found = terminal.see(b".\r\n").replace(b"/>", b">")  # zsh takes a directory's slash away again
            assert found == f"{expected}.\r\n".encode(), line
    finally:
        terminal.process.kill()
        terminal.close()

"""The command line's own stdin, stdout and stderr: read by nobody, or closed before it was started."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import PROGRAM, SECONDS, CommandLine, command_line


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One root and one server for the tests of this file, and in it a session with two commands that have ended."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        found.tell("run", "s", "seq 100")
        found.tell("run", "s", "seq 100")
        yield found


TALKATIVE = [
    ["--help"],
    ["run", "reader", "seq 100000"],
    ["start", "reader", "true"],
    ["new"],
    ["ps"],
    ["ps", "--json"],
    ["logs", "s"],
    ["logs", "-f", "s"],
    ["follow", "s"],
    ["follow", "s-1", "s-2"],
    ["wait", "--json", "s"],
    ["prune", "--json", "--older-than", "7d"],
    ["top"],
    ["doctor"],
    ["env", "daytona"],
]
"""Every verb that says something of its own on stdout. (`attach` needs a terminal there.)"""


@pytest.mark.parametrize("arguments", TALKATIVE, ids=" ".join)
def test_a_reader_that_has_gone_is_no_failure(cli: CommandLine, arguments: list[str]) -> None:
    if arguments[0] == "top":
        cli.tell("start", "busy", "sleep 1000")
    read, write = os.pipe()
    os.close(read)
    try:
        process = cli.start(*arguments, stdout=write)
    finally:
        os.close(write)
    _, told = process.communicate(timeout=SECONDS)
    assert (process.returncode, told) == (141, b"")


def test_a_reader_that_goes_while_it_waits(cli: CommandLine) -> None:
    for arguments in (["follow", "waiting"], ["follow", "--session", "waiting"], ["logs", "-f", "waiting"]):
        identity = cli.tell("start", "--stdin", "waiting", "echo begun; read x; echo $x; read x")
        process = cli.start(*arguments)
        assert process.stdout is not None
        while b"begun" not in process.stdout.readline():
            pass
        process.stdout.close()
        cli.tell("send", identity, "more")
        assert process.wait(SECONDS) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        cli.tell("kill", identity)


def in_shell(cli: CommandLine, redirections: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A call whose streams the shell has dealt with."""
    line = f"exec {shlex.join([*PROGRAM, *arguments])} {redirections}"
    return subprocess.run(
        ["sh", "-c", line], env=cli.environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
    )


def test_closed_stdin(cli: CommandLine) -> None:
    done = in_shell(cli, "<&-", "run", "closed", "cat; echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
    identity = cli.tell("start", "--stdin", "closed", "cat")
    for arguments in (["send", identity], ["send", "--close", identity]):
        done = in_shell(cli, "<&-", *arguments)
        assert (done.returncode, done.stderr) == (3, b"error: Bad file descriptor\n")
    cli.tell("send", "--close", identity, "told")
    assert cli.tell("logs", "-f", identity) == "told"


@pytest.mark.parametrize("redirection", ["<&-", "0>/dev/null"])
def test_a_command_whose_input_can_not_be_read_is_interrupted(cli: CommandLine, redirection: str) -> None:
    """It would keep the shell for ever; and if its input just ended there, it would take a part of it for all."""
    done = in_shell(cli, redirection, "run", "-i", "unread", "cat; echo whole")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"error: Bad file descriptor\n")
    assert cli.tell("run", "unread", "echo free") == "free"


@pytest.mark.parametrize(
    "arguments", [["run", "closed", "echo out"], ["ps"], ["ps", "--json"], ["logs", "s"], ["follow", "s"]]
)
def test_closed_stdout(cli: CommandLine, arguments: list[str]) -> None:
    """As with other programs, what can't be written is a failure; and it is written nowhere else."""
    done = in_shell(cli, ">&-", *arguments)
    assert done.returncode == 3
    assert done.stderr == b"error: Bad file descriptor\n"


def test_closed_stderr(cli: CommandLine) -> None:
    done = in_shell(cli, "2>&-", "run", "closed", "echo out; (exit 4)")
    assert (done.returncode, done.stdout) == (4, b"out\n")
    assert in_shell(cli, "2>&-", "logs", "nobody").returncode == 2
    done = in_shell(cli, "2>&-", "ps", "--json")
    assert (done.returncode, done.stdout[:1]) == (0, b"[")


@pytest.mark.parametrize("redirections", [">&-", "<&- >&- 2>&-"])
def test_a_server_that_is_started_from_closed_streams_is_well(tmp_path: Path, redirections: str) -> None:
    """Else its files and sockets get the numbers of standard streams, and what is printed goes there."""
    with command_line(tmp_path / "root") as fresh:
        in_shell(fresh, redirections, "run", "s", "echo out; echo err >&2")
        assert fresh.tell("logs", "s").split() in (["out", "err"], ["err", "out"])
        for file in ("catalog.sqlite3", "serve.lock", "serve.log"):
            assert b"out\n" not in (fresh.root / file).read_bytes()
        assert fresh.call("doctor").returncode == 0

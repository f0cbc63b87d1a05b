"""The door, with Nullspace's own command line, whose exit code is that of the remote command."""

from __future__ import annotations

import json
import os
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sdk_runs import Sdk
from user_terminal import UserTerminal

SDK = Sdk("nullspace")
CLI = SDK.python.with_name("nullspace")
pytestmark = SDK.needs_python


class Cli:
    """One machine, and the command line."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.machine = ""

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """The exit code of ``nullspace machine ...``, and what it says."""
        done = subprocess.run(
            [str(CLI), "machine", *arguments],
            env={**os.environ, **self.variables, "COLUMNS": "200"},
            cwd=self.variables["HOME"],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments: str) -> Any:
        code, out, err = self.run(*arguments)
        assert code == 0, out + err
        return json.loads(out)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with SDK.server(tmp_path_factory.mktemp("nullspace") / "root") as variables:
        cli = Cli(variables)
        cli.machine = cli.json("create", "--env", "WHO=me", "--json")["id"]
        yield cli
        assert cli.run("kill", cli.machine)[0] == 0
        assert cli.run("get", cli.machine)[0] == 3


def test_machines(cli: Cli) -> None:
    assert [item["id"] for item in cli.json("list", "--json")] == [cli.machine]
    assert cli.json("get", cli.machine)["status"] == "running"
    assert cli.json("timeout", "set", cli.machine, "--seconds", "600")["timeout_ms"] == 600_000
    assert cli.run("exec", "mch_nobody", "true")[0] == 3
    assert cli.json("hibernate", cli.machine)["machine_id"] == cli.machine
    assert cli.json("resume", cli.machine)["status"] == "running"


def test_exec(cli: Cli) -> None:
    assert cli.run(
        "exec", cli.machine, "--shell", "echo $WHO $A; pwd >&2; exit 3", "--env", "A=b", "--cwd", "/usr"
    ) == (
        3,
        "me b\n",
        "/usr\n",
    )
    assert cli.run("exec", cli.machine, "echo", "--", "a b", "*")[:2] == (0, "a b *\n")
    assert cli.run("exec", cli.machine, "nosuch")[0] == 127
    assert cli.run("exec", cli.machine, "--timeout", "1", "sleep", "--", "600")[0] == 8
    assert cli.run("exec", cli.machine, "--shell", "echo", "--", "x")[0] == 2
    shown = cli.json("exec", cli.machine, "--json", "echo", "--", "x")
    assert (shown["exit_code"], shown["stdout"]) == (0, "x\n")


def test_processes(cli: Cli) -> None:
    pid = str(cli.json("exec", cli.machine, "--background", "--json", "--shell", "read x; echo got $x; exit 4")["pid"])
    assert f"{pid}\trunning\tread x" in cli.run("process", "list", cli.machine)[1]
    assert cli.run("process", "stdin", cli.machine, pid, stdin="größe\n")[0] == 0
    assert cli.run("process", "attach", cli.machine, pid)[:2] == (4, "got größe\n")
    logs = cli.json("process", "logs", cli.machine, pid, "--json")
    assert logs == {"stdout": "got größe\n", "stderr": "", "output": "got größe\n", "exit_code": 4}
    pid = str(cli.json("exec", cli.machine, "--background", "--json", "sleep", "--", "600")["pid"])
    assert cli.run("process", "kill", cli.machine, pid)[0] == 0
    assert cli.json("process", "logs", cli.machine, pid, "--json")["exit_code"] == 137
    assert cli.run("process", "kill", cli.machine, "999")[0] == 3
    assert cli.run("process", "stdin", cli.machine, pid, stdin="late\n")[0] == 7
    assert cli.run("process", "code-run", cli.machine, "print(6 * 7)")[:2] == (0, "42\n")


def test_streams(cli: Cli) -> None:
    text = "echo out; echo err >&2; exit 4"
    assert cli.run("process", "stream", cli.machine, "--shell", text) == (4, "out\n", "err\n")
    assert cli.run("process", "stream", cli.machine, "--shell", "--timeout", "1", "echo x; sleep 600")[:2] == (
        124,
        "x\n",
    )
    assert cli.run("process", "stream", cli.machine, "nosuch")[0] == 127


def test_streams_are_live(cli: Cli) -> None:
    argv = [str(CLI), "machine", "process", "stream", cli.machine, "--shell", "echo up; sleep 600"]
    environment = {**os.environ, **cli.variables, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, env=environment, cwd=cli.variables["HOME"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 30)[0]
        assert os.read(process.stdout.fileno(), 100) == b"up\n"
        process.kill()
    assert "running\techo up; sleep 600" in cli.run("process", "list", cli.machine)[1]


def test_terminals(cli: Cli) -> None:
    made = cli.json("pty", "create", cli.machine, "--cols", "90", "--rows", "20", "--json")
    id = made["session_id"]
    assert [item["session_id"] for item in cli.json("pty", "list", cli.machine, "--json")] == [id]
    assert cli.run("pty", "resize", cli.machine, id, "--cols", "100", "--rows", "30")[0] == 0
    assert cli.json("pty", "get", cli.machine, id, "--json")["cols"] == 100
    assert cli.run("pty", "kill", cli.machine, id)[0] == 0
    assert cli.json("pty", "list", cli.machine, "--json") == []


def test_terminals_are_joined(cli: Cli) -> None:
    """Without a terminal of its own, it types all of its input, then shows what is drawn until the end."""
    made = cli.json("pty", "create", cli.machine, "--cwd", "/usr", "--env", "A=b", "--json")
    id, typed = made["session_id"], "echo $A:$PWD; stty size; echo gr\u00f6\u00dfe\n"
    code, drawn, _ = cli.run("pty", "connect", cli.machine, "--session-id", id, stdin=typed + "exit 5\n")
    assert code == 5
    for line in ("b:/usr", "30 120", "gr\u00f6\u00dfe"):
        assert line in drawn.splitlines()
    pid = str(cli.json("pty", "create", cli.machine, "--json")["pid"])
    code, shown, _ = cli.run("pty", "connect", cli.machine, pid, "--json", stdin="exit 6\n")
    assert (code, json.loads(shown)["exit_code"]) == (6, 6)


@contextmanager
def connected(cli: Cli, session_id: str, rows: int, columns: int) -> Iterator[UserTerminal]:
    """``pty connect`` on a terminal of its own, once it takes the keys."""
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    terminal = UserTerminal(rows, columns)
    terminal.process = subprocess.Popen(
        [str(CLI), "machine", "pty", "connect", cli.machine, "--session-id", session_id],
        env={**environ, **cli.variables},
        cwd=cli.variables["HOME"],
        start_new_session=True,
        preexec_fn=terminal.own,
        **dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs),
    )
    try:
        while termios.tcgetattr(terminal.theirs) == terminal.before:
            assert terminal.process.poll() is None, "it has ended before"
            time.sleep(0.01)
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()


def test_a_person_joins_a_terminal(cli: Cli) -> None:
    """Each key is handed on, and each new size; the person's own terminal is left as it was."""
    id = cli.json("pty", "create", cli.machine, "--json")["session_id"]
    with connected(cli, id, rows=33, columns=77) as terminal:
        terminal.type("stty -echo; PS1=; echo größe-$((6 * 7))\r".encode())
        terminal.see("größe-42\r\n".encode())
        terminal.type(b"stty size\r")
        terminal.see(b"33 77\r\n")
        # Bash may put off its trap until the next line if Ctrl-C comes just before it waits for keys: this one never waits.
        terminal.type(b"(trap 'echo caug$((0))ht; exit' INT; echo rea$((0))dy; while :; do :; done)\r")
        terminal.see(b"rea0dy")
        terminal.type(b"\x03")  # a key, and not the end of the command line
        terminal.see(b"caug0ht")
        terminal.resize(40, 100)
        while not terminal.see(b"\r\n").endswith(b"40 100\r\n"):  # it is told a moment later
            terminal.type(b"stty size\r")
        terminal.type(b"exit 5\r")
        terminal.rest()
        assert terminal.end() == 5
    assert cli.json("pty", "list", cli.machine, "--json") == []


def test_results_in_json(cli: Cli) -> None:
    options = ["--json", "--cwd", "/usr", "--env", "A=b", "--shell", "echo $A; pwd >&2; exit 4"]
    code, shown, _ = cli.run("process", "stream", cli.machine, *options)
    assert code == 4
    assert {"exit_code": 4, "stdout": "b\n", "stderr": "/usr\n"}.items() <= json.loads(shown).items()
    pid = str(cli.json("exec", cli.machine, "--background", "--json", "echo", "--", "x")["pid"])
    code, shown, _ = cli.run("process", "attach", cli.machine, pid, "--json")
    assert (code, json.loads(shown)["stdout"]) == (0, "x\n")


def test_strangers(cli: Cli) -> None:
    stranger = Cli({**cli.variables, "NULLSPACE_API_KEY": "wrong"})
    assert stranger.run("list")[0] == 4


def test_doctor(cli: Cli) -> None:
    done = subprocess.run(
        [str(CLI), "doctor"], env={**os.environ, **cli.variables}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "API key accepted" in done.stdout


def test_what_is_not_there(cli: Cli) -> None:
    code, out, err = cli.run("file", "read", cli.machine, "/x")
    assert (code, out) == (1, "")
    assert err.startswith("files are not there: ")


def test_quickstart(cli: Cli) -> None:
    """It gets as far as to its first file, says what is not there, and destroys its machine."""
    done = subprocess.run(
        [str(CLI), "quickstart", "--no-wait"],
        env={**os.environ, **cli.variables, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    created, ready, hello = done.stdout.splitlines()
    assert (created, hello) == ("Creating machine from template 'base'...", "hello from nullspace")
    assert "files are not there" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.run("get", ready.removeprefix("Machine ready: "))[0] == 3

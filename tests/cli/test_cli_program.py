"""The program as a whole: what it loads, its help, its completions, colours, `top` and `doctor`; and its documentation."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from command_line import PROGRAM, CommandLine, command_line

from sessions.cli.main import VERBS
from sessions.cli.main import cli as tree

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "cli.md"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One root and one server for the tests of this file, each in a session of its own."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(tmp_path / "root") as found:
        yield found


def modules_after(cli: CommandLine, *arguments: str) -> set[str]:
    """What is loaded when a call has ended."""
    program = (
        "import sys; from sessions.cli.main import main; code = main(sys.argv[1:]);"
        " print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], env=cli.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_loads_no_verb(cli: CommandLine) -> None:
    loaded = modules_after(cli, "--help")
    assert not {"trio", "attrs", "cattrs", "httpx", "rich", "psutil", "asyncio", "sessions.models"} & loaded
    assert {name for name in loaded if name.startswith("sessions.")} == {
        "sessions.cli", "sessions.cli.main", "sessions.cli.outlets", "sessions.cli.place", "sessions.roots",
    }  # fmt: skip


def test_run_loads_no_more_than_it_needs(cli: CommandLine) -> None:
    loaded = modules_after(cli, "run", "loading", "true")
    assert "httpx" in loaded
    assert (
        not {"rich", "pygments", "h2.connection", "psutil", "asyncio", "starlette", "hypercorn", "sessions.engine"}
        & loaded
    )


def test_every_verb_says_what_it_does() -> None:
    context = click.Context(tree)
    for name in VERBS:
        command = tree.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert command.get_short_help_str()
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help or option.name == "shell"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_and_option_is_documented(name: str) -> None:
    text = DOCUMENT.read_text()
    sections = re.split(r"^## ", text, flags=re.M)
    section = next(
        (
            part
            for part in sections
            if re.match(rf"`(?:\w+`, `)*{name}`", part) or f"`{name}`" in part.partition("\n")[0]
        ),
        None,
    )
    assert section is not None, f"no section for {name}"
    command = tree.get_command(click.Context(tree), name)
    assert command is not None
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("root", "url", "token"):
            for flag in option.opts:
                assert f"`{flag}" in section, f"{name} {flag}"


def test_the_options_for_all_and_the_exit_codes_are_documented() -> None:
    text = DOCUMENT.read_text()
    for flag in ("--root", "--url", "--token", "--version", "--help"):
        assert f"`{flag}" in text
    from sessions.cli import outcomes

    codes = set(re.findall(r"^(\d+) +\w", outcomes.__doc__ or "", re.M))
    assert codes == set(re.findall(r"^\| (\d+) \|", text, re.M))


def test_the_documented_verbs_are_those_there_are() -> None:
    examples = "".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S))
    used = set(re.findall(r"^sessions ([a-z]+)", examples, re.M))
    assert used <= set(VERBS)
    assert used >= set(VERBS)


def test_version_and_help(cli: CommandLine) -> None:
    assert re.fullmatch(r"sessions \d+\.\d+\.\d+", cli.tell("--version"))
    assert cli.tell("run", "-h").startswith("Usage: sessions run [OPTIONS] SESSION COMMAND...")
    bare = cli.call()
    assert (bare.returncode, bare.stdout) == (2, "")
    assert "Verbs:" in bare.stderr


# Completion


def complete(cli: CommandLine, shell: str, *words: str) -> list[str]:
    env = {
        "_SESSIONS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["sessions", *words]),
        "COMP_CWORD": str(len(words)),
    }
    if shell == "fish":
        env |= {"COMP_WORDS": " ".join(["sessions", *words]), "COMP_CWORD": words[-1]}
    done = cli.call(env=env)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_names_and_ids_complete(cli: CommandLine) -> None:
    cli.tell("run", "complete-me", "echo a text")
    identity = cli.tell("ps", "-q", "--session", "complete-me")
    assert complete(cli, "bash", "r") == ["plain,run", "plain,rm"]
    assert complete(cli, "bash", "ps", "--se") == ["plain,--session", "plain,--sessions"]
    assert complete(cli, "bash", "logs", "complete") == ["plain,complete-me"]
    assert complete(cli, "bash", "run", "complete") == ["plain,complete-me"]
    assert complete(cli, "bash", "ps", "--session", "complete") == ["plain,complete-me"]
    assert f"plain,{identity}" in complete(cli, "bash", "logs", identity[:6])
    zsh = complete(cli, "zsh", "kill", identity[:-1])
    assert identity in zsh
    assert any("a text" in line for line in zsh)
    assert any("complete-me" in line for line in complete(cli, "fish", "close", "complete"))


def test_completion_of_nothing_is_quiet(tmp_path: Path) -> None:
    with command_line(tmp_path / "none") as cli:
        assert complete(cli, "bash", "logs", "x") == []
        cli.root.mkdir()
        (cli.root / "catalog.sqlite3").write_text("no database")
        assert complete(cli, "bash", "logs", "x") == []
    for shell in ("bash", "zsh", "fish"):
        done = cli.call(env={"_SESSIONS_COMPLETE": f"{shell}_source"})
        assert "sessions" in done.stdout


# Terminals


def on_terminal(cli: CommandLine, *arguments: str, env: dict[str, str], until: bytes = b"") -> bytes:
    """What a call writes to a terminal of 100 columns; it is interrupted once `until` has come."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = cli.start(*arguments, env={"TERM": "xterm"} | env, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
            if until and until in told:
                process.send_signal(signal.SIGINT)
                until = b""
    except OSError:
        pass  # the terminal's other end is closed
    os.close(ours)
    process.wait()
    assert not until, told
    return told


def test_colours_on_terminals_only(cli: CommandLine) -> None:
    cli.call("run", "colours", "exit_() { return 3; }; exit_ " + "long " * 50)
    painted = on_terminal(cli, "ps", "--session", "colours", env={})
    assert b"\x1b[31m3\x1b[0m" in painted
    assert all(len(re.sub(rb"\x1b\[\d+m", b"", line).decode()) <= 100 for line in painted.splitlines())
    assert b"\x1b" not in on_terminal(cli, "ps", "--session", "colours", env={"NO_COLOR": "1"})
    assert "\x1b" not in cli.tell("ps", "--session", "colours")


def test_top(cli: CommandLine) -> None:
    cli.tell("start", "topped", "while :; do :; done")
    cli.tell("start", "topped", "echo a line; printf 'the last\\rone'; sleep 1000")
    (busy, idle) = cli.listing("top", "--session", "topped")
    assert (busy["session"], busy["processes"]) == ("topped", 1)
    assert busy["cpu_percent"] > 5
    assert idle["cpu_percent"] < 5
    assert idle["memory_bytes"] > 100_000
    assert idle["processes"] == 2
    assert idle["last_line"] == "one"
    assert idle["stdout_bytes"] == 19
    lines = cli.tell("top", "--session", "topped").splitlines()
    assert lines[0].split()[:3] == ["ID", "SESSION", "CPU%"]
    assert [line.split()[0] for line in lines[1:]] == [busy["id"], idle["id"]]
    narrow = {"COLUMNS": "80"}  # ids and numbers are whole there, too
    live = on_terminal(cli, "top", "--session", "topped", "-d", "100ms", env=narrow, until=b"one")
    assert busy["id"].encode() in live
    assert b"\x1b[?1049h" in live
    assert live.rstrip().endswith((b"\x1b[?25h", b"\x1b[?1049l")), "the screen is as it was"
    cli.tell("kill", busy["id"], idle["id"])
    assert cli.listing("top", "--session", "topped") == []


# Doctor


def test_doctor_finds_all_well(fresh: CommandLine) -> None:
    before = fresh.call("doctor")
    assert before.returncode == 0, before.stdout
    assert "can be made" in before.stdout
    assert not fresh.root.exists()
    fresh.tell("run", "s", "true")
    found = fresh.listing("doctor")
    assert {finding["state"] for finding in found} <= {"ok", "note"}
    assert any(finding["what"] == f"a server runs: process {fresh.server_pid}" for finding in found)
    remote = fresh.tell("--url", f"unix://{fresh.root}/serve.sock", "doctor")
    assert "answers; 0 commands run there" in remote


def test_doctor_finds_what_a_killed_server_left(fresh: CommandLine) -> None:
    fresh.tell("start", "s", "sleep 1000")
    fresh.wait_until_running("s")
    fresh.stop_server(signal.SIGKILL)
    done = fresh.call("doctor")
    assert "has left its socket" in done.stdout
    assert "has died and left 1 sessions open" in done.stdout
    assert fresh.command(fresh.tell("ps", "-q"))["reason"] == "lost"
    after = fresh.call("doctor")
    assert after.returncode == 0
    assert "died and left" not in after.stdout


def test_doctor_finds_what_is_wrong_with_a_root(fresh: CommandLine) -> None:
    fresh.root.mkdir(mode=0o755)
    fresh.root.chmod(0o755)
    (fresh.root / "catalog.sqlite3").write_text("this is no database, whatever its name says")
    done = fresh.call("doctor")
    assert done.returncode == 1
    assert f"WRONG the root {fresh.root} is open to other users (mode 755)\n      chmod 700 {fresh.root}" in done.stdout
    assert "catalog" in done.stdout
    assert [finding["state"] for finding in json.loads(fresh.call("doctor", "--json").stdout)].count("wrong") == 2


def test_the_module_is_the_program() -> None:
    assert PROGRAM[1:] == ["-m", "sessions"]
    script = Path(sys.executable).parent / "sessions"
    if script.exists():
        done = subprocess.run([script, "--version"], capture_output=True, text=True)
        assert done.returncode == 0

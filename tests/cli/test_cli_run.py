"""`sessions run`, `start` and `new`: real processes, a server that they start themselves, signals, closed pipes."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from command_line import PROGRAM, CommandLine, command_line, read_line


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One root and one server for the tests of this file, each in a session of its own."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(tmp_path / "root") as found:
        yield found


def test_streams_apart_and_the_exit_code(cli: CommandLine) -> None:
    done = cli.call("run", "streams", r"printf 'out\0\377\n'; echo err >&2; exit_with() { return 7; }; exit_with")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\0\ufffd\n", "err\n")


def test_output_is_exact(cli: CommandLine, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    process = cli.start("run", "exact", "cat", str(tmp_path / "data"))
    out, err = process.communicate()
    assert (out, err, process.returncode) == (data, b"", 0)


def test_a_session_keeps_its_state_and_begins_where_we_are(cli: CommandLine, tmp_path: Path) -> None:
    assert cli.tell("run", "state", "pwd", cwd=tmp_path) == str(tmp_path)
    cli.tell("run", "state", "cd /usr; export COLOUR=blue", cwd=tmp_path)
    assert cli.tell("run", "state", "echo $PWD $COLOUR", cwd=tmp_path) == "/usr blue"
    assert cli.tell("run", "state", "--cwd", "/tmp", "-e", "COLOUR=red", "echo $PWD $COLOUR") == "/tmp red"
    assert cli.tell("run", "state", "echo $PWD $COLOUR") == "/usr blue"


def test_a_directory_that_has_been_removed(cli: CommandLine, tmp_path: Path) -> None:
    cli.tell("run", "elsewhere", "cd /")
    gone = tmp_path / "gone"

    def call(*arguments: str, root: str = str(cli.root)) -> tuple[int, bytes, bytes]:
        gone.mkdir()
        script = 'cd "$0" && rmdir "$0" && exec "$@"'
        process = subprocess.run(
            ["sh", "-c", script, gone, *PROGRAM, *arguments],
            env=cli.environ | {"SESSIONS_HOME": root},
            capture_output=True,
        )
        return process.returncode, process.stdout, process.stderr

    told = b"error: the current directory has been removed: go to another one\n"
    assert call("run", "begins-here", "pwd") == (2, b"", told)
    assert call("ps", root="relative") == (2, b"", told)
    assert call("run", "elsewhere", "pwd") == (0, b"/\n", b"")


def test_options_stand_before_the_command(cli: CommandLine) -> None:
    assert cli.tell("run", "words", "echo", "a  b", "-t", "--json", "$HOME") == "a  b -t --json $HOME"
    assert cli.tell("run", "-e", "A=1", "words", "-e", "B=2", "echo $A$B") == "12"
    assert cli.tell("run", "words", "--", "echo", "--", "x") == "-- x"
    assert cli.tell("run", "--", "words", "echo", "-e") == ""
    for wrong in (("run",), ("run", "words"), ("run", "words", "--nope", "x"), ("run", "words", "-t")):
        assert cli.call(*wrong).returncode == 2


def test_output_comes_while_it_runs(cli: CommandLine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = cli.start("run", "live", f"echo first; echo warn >&2; cat {gate}; echo last")
    assert read_line(process) == b"first\n"
    assert read_line(process, "stderr") == b"warn\n"
    gate.write_text("through\n")
    assert process.communicate() == (b"through\nlast\n", b"")
    assert process.returncode == 0


def test_ctrl_c_interrupts_the_command_and_not_the_session(cli: CommandLine) -> None:
    cli.tell("run", "interrupted", "MINE=kept")
    process = cli.start("run", "interrupted", "echo on; sleep 1000; echo never")
    assert read_line(process) == b"on\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert out == b""
    assert b"interrupting command" in err
    assert process.returncode == 130
    assert cli.tell("run", "interrupted", "echo $MINE") == "kept"


def test_ctrl_c_twice_leaves_the_command_running(cli: CommandLine) -> None:
    process = cli.start("run", "stubborn", "trap '' INT; echo on; sleep 1000 & wait; sleep 1000")
    assert read_line(process) == b"on\n"
    process.send_signal(signal.SIGINT)
    assert b"Ctrl-C again leaves it running" in read_line(process, "stderr")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    identity = cli.wait_until_running("stubborn")
    assert f"sessions follow {identity}" in err.decode()
    cli.tell("kill", "--grace", "0", identity)
    assert cli.command(identity)["reason"] == "killed"


def test_who_reads_no_more_ends_the_command(cli: CommandLine) -> None:
    process = cli.start("run", "closed", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert cli.tell("run", "closed", "echo free") == "free"


def test_stdin_is_empty_unless_it_is_asked_for(cli: CommandLine) -> None:
    data = bytes(range(256)) * 2000
    assert cli.call("run", "input", "cat", stdin=b"not for it").stdout == ""
    assert cli.tell("run", "-i", "input", "sha256sum", stdin=data).split() == [
        hashlib.sha256(data).hexdigest(),
        "-",
    ]
    assert cli.tell("run", "-i", "input", "head -c 3", stdin=b"y\n" * 10_000_000) == "y\ny", "it need not read all"


def test_a_timeout_is_told(cli: CommandLine) -> None:
    done = cli.call("run", "--timeout", "200ms", "slow", "echo begun; sleep 1000")
    assert done.stdout == "begun\n"
    assert done.returncode > 128
    assert "its time was over" in done.stderr
    assert cli.call("run", "--idle-timeout", "0.2", "slow", "sleep 1000").returncode > 128


def test_a_shell_that_ended_is_replaced_and_that_is_told(cli: CommandLine) -> None:
    assert cli.call("run", "ended", "X=1; exit 3").returncode == 3
    done = cli.call("run", "ended", "echo x$X")
    assert (done.stdout, done.returncode) == ("x\n", 0)
    assert "a fresh one takes its place" in done.stderr


def test_a_shell_that_ended_for_good_says_what_to_do(cli: CommandLine) -> None:
    cli.tell("new", "for-good")
    assert cli.call("run", "for-good", "exit 3").returncode == 3
    for verb in ("run", "start"):
        done = cli.call(verb, "for-good", "true")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "`sessions close for-good`" in done.stderr
    cli.tell("close", "for-good")
    assert cli.tell("run", "for-good", "echo new") == "new"


def test_a_busy_shell_is_told(cli: CommandLine) -> None:
    cli.tell("start", "--in-shell", "busy", "sleep 1000")
    first = cli.wait_until_running("busy")
    process = cli.start("run", "busy", "echo mine")
    assert f"waits for its session's shell, which runs {first}" in read_line(process, "stderr").decode()
    cli.tell("interrupt", first)
    assert process.communicate()[0] == b"mine\n"


def test_start_prints_the_id(cli: CommandLine) -> None:
    cli.tell("run", "started", "greet() { echo hello $1; }")
    identity = cli.tell("start", "--label", "ci=42", "started", "greet you; exit 4")
    assert cli.call("wait", identity).returncode == 4
    assert cli.tell("logs", identity) == "hello you"
    told = cli.listing("start", "started", "true")
    assert (told["text"], told["session"]) == ("true", "started")


def test_new_sessions(cli: CommandLine, tmp_path: Path) -> None:
    made = cli.listing("new", "--shell", "sh", "-e", "A=1", "-l", "team=x", "made")
    assert (made["name"], made["shell"], made["env"], made["labels"]) == ("made", "sh", {"A": "1"}, {"team": "x"})
    assert made["cwd"] == os.getcwd()
    again = cli.call("new", "made")
    assert again.returncode == 2
    assert again.stderr.startswith("error: an open session is called 'made' already")
    identity = cli.tell("new", "--inherit-env", "--cwd", str(tmp_path), env={"MY_OWN": "value"})
    assert cli.tell("run", identity, "echo $PWD $MY_OWN") == f"{tmp_path} value"


def test_ten_at_once_start_one_server(fresh: CommandLine) -> None:
    calls = [fresh.start("run", f"s{number}", f"echo {number}") for number in range(9)]
    calls.append(fresh.start("run", "s0", "echo other"))
    told = [call.communicate() for call in calls]
    assert sorted(out for out, _ in told) == [b"0\n", *[b"%d\n" % n for n in range(1, 9)], b"other\n"]
    assert [call.returncode for call in calls] == [0] * 10, told
    servers = (fresh.root / "serve.log").read_text().count("INFO serving")
    assert servers == 1
    assert len(fresh.listing("ps", "--sessions")) == 9


def test_the_server_is_nobodys_child(fresh: CommandLine) -> None:
    """It is in no session of a terminal, keeps no stream of ours open, and carries no mark of a session."""
    assert fresh.tell("run", "s", "true", env={"SESSIONS_COMMAND_ID": "k3v9x2m4ab-1", "SESSIONS_TOKEN": "x"}) == ""
    pid = fresh.server_pid
    assert pid is not None
    assert os.getsid(pid) == pid
    server = psutil.Process(pid)
    assert "SESSIONS_COMMAND_ID" not in server.environ()
    streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
    assert streams == ["/dev/null", *[str(fresh.root / "serve.log")] * 2]
    assert fresh.root.stat().st_mode & 0o777 == 0o700


def test_a_server_that_can_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "catalog.sqlite3").write_text("this is no database, whatever its name says")
    with command_line(tmp_path / "other") as cli:
        done = cli.call("--root", str(tmp_path / "root"), "run", "s", "true")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "catalog" in done.stderr
    assert str(tmp_path / "root" / "serve.log") in done.stderr


def test_a_server_elsewhere_is_never_started(cli: CommandLine, tmp_path: Path) -> None:
    done = cli.call("--url", f"unix://{tmp_path}/nothing.sock", "run", "s", "true")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert done.stderr.startswith("error: no server answers at")
    assert list(tmp_path.iterdir()) == []


def test_a_word_that_is_a_path_with_blanks(cli: CommandLine, tmp_path: Path) -> None:
    odd = tmp_path / "a 'quoted' $name"
    odd.write_text("found")
    assert cli.tell("run", "odd", "cat", str(odd)) == "found"
    assert cli.tell("run", "odd", f"cat {shlex.quote(str(odd))}") == "found"

"""`sessions ps`, `logs`, `follow`, `wait`: with a server, without one, and with one elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from command_line import CommandLine, command_line, read_line

from sessions.cli import log_pieces
from sessions.cli.logs import print_logs
from sessions.cli.place import Place
from sessions.cli.telling import plain_or_stamped
from sessions.selection import Selection

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One root and one server for the tests of this file, each in a session of its own."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(tmp_path / "root") as found:
        yield found


def test_ps_shows_what_ran_and_what_runs(cli: CommandLine) -> None:
    cli.call("run", "ps", "echo 123; exit_() { return 3; }; exit_\n# a second line")
    cli.tell("start", "-l", "kind=long", "ps", "sleep 1000")
    identity = cli.wait_until_running("ps")
    head, failed, running = cli.tell("ps", "--session", "ps").splitlines()
    assert head.split() == ["ID", "SESSION", "STATE", "EXIT", "AGE", "DURATION", "BYTES", "COMMAND"]
    assert re.fullmatch(r"\w{10}-1 +ps +finished +3 +\S+ +\S+ms +4  echo 123; exit_.* # a second line", failed)
    assert re.fullmatch(r"\w{10}-2 +ps +running +\S+ +\S+ +0  sleep 1000", running)
    assert "\x1b" not in failed
    assert cli.tell("ps", "-q", "--label", "kind=long") == identity
    assert cli.tell("ps", "-q", "--session", "ps", "--state", "finished") == identity[:-1] + "1"
    found = cli.listing("ps", "--session", "ps")
    assert [(one["session"], one["state"], one["exit_code"]) for one in found] == [
        ("ps", "finished", 3),
        ("ps", "running", None),
    ]
    cli.tell("kill", identity)


def test_ps_keeps_old_commands_that_still_run(cli: CommandLine) -> None:
    cli.tell("start", "old", "sleep 1000")
    for number in range(3):
        cli.tell("run", "old", f"echo {number}")
    numbers = [one.rpartition("-")[2] for one in cli.tell("ps", "--session", "old", "-n", "1", "-q").splitlines()]
    assert numbers == ["1", "4"]
    assert len(cli.listing("ps", "--session", "old", "--all")) == 4
    cli.tell("kill", "old-1")


def test_ps_of_sessions(cli: CommandLine) -> None:
    cli.tell("new", "one-open", "-l", "team=ps")
    cli.tell("new", "one-closed", "-l", "team=ps")
    cli.tell("close", "one-closed")
    assert [one["name"] for one in cli.listing("ps", "--sessions", "-l", "team=ps")] == ["one-open"]
    every = cli.listing("ps", "--sessions", "-l", "team=ps", "--all")
    assert [(one["name"], one["state"]) for one in every] == [("one-open", "open"), ("one-closed", "closed")]
    assert [one["name"] for one in cli.listing("ps", "--sessions", "-l", "team=ps", "--state", "closed")] == [
        "one-closed"
    ]
    lines = cli.tell("ps", "--sessions", "-l", "team=ps").splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "AGE", "SHELL", "LABELS", "CWD"]
    assert "team=ps" in lines[1]
    assert cli.call("ps", "--sessions", "--state", "running").returncode == 2
    assert cli.call("ps", "--state", "open").returncode == 2


def test_logs_in_parts(cli: CommandLine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = cli.start("run", "parts", f"echo one; cat {gate}; echo two >&2; cat {gate}; printf three")
    assert read_line(process) == b"one\n"
    gate.write_text("")
    assert read_line(process, "stderr") == b"two\n"
    between = time.time()
    gate.write_text("late\n")
    process.communicate()
    assert cli.tell("logs", "parts") == "one\ntwo\nlate\nthree"
    assert cli.tell("logs", "parts", "--stdout") == "one\nlate\nthree"
    assert cli.tell("logs", "parts", "--stderr") == "two"
    assert cli.tell("logs", "parts", "-n", "2") == "late\nthree"
    assert cli.tell("logs", "parts", "-n", "0") == ""
    assert cli.tell("logs", "parts", "--since", f"@{between:.6f}") == "late\nthree"
    assert cli.tell("logs", "parts", "--since", "1h").startswith("one")
    assert cli.tell("logs", "parts", "--until", f"@{between:.6f}") == "one\ntwo"
    stamped = cli.tell("logs", "parts", "--timestamps").splitlines()
    assert [re.fullmatch(rf"{STAMP} (\w+) (\w+)", line).groups() for line in stamped] == [  # type: ignore[union-attr]
        ("stdout", "one"), ("stderr", "two"), ("stdout", "late"), ("stdout", "three"),
    ]  # fmt: skip
    assert cli.tell("logs", "parts", "-n", "1", "--since", "1h") == "three"
    assert cli.tell("logs", "parts", "-n", "9", "--since", f"@{between:.6f}") == "late\nthree"
    assert cli.tell("logs", "parts", "-n", "1", "--until", f"@{between:.6f}", "--stdout") == "one"
    assert cli.tell("logs", "parts", "-n", "1", "--since", f"@{between:.6f}", "-f") == "three"
    for wrong in (
        [],
        ["parts", "--session", "parts"],
        ["parts", "-f", "--until", "1m"],
        ["parts", "--stdout", "--stderr"],
    ):
        assert cli.call("logs", *wrong).returncode == 2


def test_logs_by_the_beginning_of_an_id(cli: CommandLine) -> None:
    identity = cli.tell("start", "beginnings", "echo first")
    cli.tell("run", "beginnings", "echo second")
    assert cli.tell("logs", "beginnings") == "second"
    assert cli.tell("logs", "beginnings-1") == cli.tell("logs", identity) == "first"
    assert cli.tell("logs", "beginn-1") == "first"
    assert cli.tell("logs", identity[:9] + "-1") == "first"
    assert cli.tell("logs", "--session", "beginnings") == "first\nsecond"
    unknown = cli.call("logs", "nothing-like-it")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert unknown.stderr.startswith("error: no command or session")


def test_logs_that_go_on(cli: CommandLine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    cli.tell("run", "going", "true")
    process = cli.start("run", "going", f"echo 1; echo 2; cat {gate}; echo 5")
    assert read_line(process) == b"1\n"
    assert read_line(process) == b"2\n"
    whole, tail = (cli.start("logs", "going", "-f", *more) for more in ((), ("-n", "1")))
    assert read_line(whole) == b"1\n"
    assert read_line(tail) == b"2\n"
    gate.write_text("3\n4\n")
    assert whole.communicate()[0] == b"2\n3\n4\n5\n"
    assert tail.communicate()[0] == b"3\n4\n5\n"
    assert process.communicate()[0] == b"3\n4\n5\n"


def test_logs_of_what_is_new(cli: CommandLine, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = cli.start("run", "new", f"echo old; until [ -e {seen} ]; do echo tick; sleep 0.02; done; echo last")
    assert read_line(process) == b"old\n"
    new = cli.start("logs", "new", "-f", "-n", "0", "--timestamps")
    told = [read_line(new).decode()]  # it follows now
    seen.touch()
    told += new.communicate()[0].decode().splitlines(keepends=True)
    assert all(re.fullmatch(rf"{STAMP} stdout (tick|last)\n", line) for line in told)
    assert [line.split()[-1] for line in told].index("last") == len(told) - 1
    process.communicate()


@pytest.mark.parametrize("only_new", [("since",), ("tail",), ("since", "tail")])
def test_what_comes_between_two_looks_is_not_lost(
    cli: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    only_new: tuple[str, ...],
) -> None:
    """Nothing of what is there is wanted, but what is written while that is found out."""
    identity = cli.tell("start", "--stdin", "looks", "echo old; read -r line; echo $line")
    assert read_line(cli.start("follow", identity)) == b"old\n"
    values = {"since": time.time(), "tail": 5 if "since" in only_new else 0}
    asked = Selection(**{name: values[name] for name in only_new})  # type: ignore[arg-type]
    original = log_pieces.read_pieces
    looks = 0

    async def look(*arguments: Any) -> int | None:
        nonlocal looks
        looks += 1
        found = await original(*arguments)
        if looks == 1:
            await trio.to_thread.run_sync(cli.tell, "send", identity, "meanwhile")
            await trio.to_thread.run_sync(cli.tell, "wait", identity)
        return found

    monkeypatch.setattr(log_pieces, "read_pieces", look)
    trio.run(print_logs, Place(str(cli.root)), identity, None, True, asked, plain_or_stamped(False))
    assert capfd.readouterr().out == "meanwhile\n"


def test_many_are_followed_as_lines(cli: CommandLine) -> None:
    for name in ("many-a", "many-b"):
        cli.tell("run", name, f"printf '{name} x\\n{name} y'; echo {name} err >&2")
    told = cli.tell("follow", "many-a", "many-b").splitlines()
    for name in ("many-a", "many-b"):
        assert sorted(line for line in told if line.startswith(f"{name}-1 | ")) == [
            f"{name}-1 | {name} {word}" for word in ("err", "x", "y")
        ]
    assert len(told) == 6
    both = cli.tell("follow", "--no-prefix", "--stderr", "many-a", "many-b").splitlines()
    assert sorted(both) == ["many-a err", "many-b err"]
    stamped = cli.tell("follow", "--timestamps", "--stderr", "many-a", "many-b").splitlines()
    assert all(re.fullmatch(rf"many-(.)-1 \| {STAMP} stderr many-\1 err", line) for line in stamped)
    assert cli.tell("follow", "--stdout", "many-a") == "many-a x\nmany-a y"


def test_follow_by_label_and_by_session(cli: CommandLine) -> None:
    cli.tell("start", "-l", "ci=42", "labelled", "echo one")
    cli.tell("start", "-l", "ci=42", "labelled", "echo two")
    cli.tell("start", "labelled", "echo three")
    cli.tell("wait", "labelled-1", "labelled-2", "labelled-3")
    told = cli.tell("follow", "--label", "ci=42").splitlines()
    assert sorted(told) == ["labelled-1 | one", "labelled-2 | two"]
    assert cli.tell("follow", "--session", "labelled", "--label", "ci=42", "--label", "no=1") == ""
    process = cli.start("follow", "--session", "labelled")
    assert sorted(read_line(process) for _ in range(3))[0] == b"labelled-1 | one\n"
    cli.tell("run", "labelled", "echo four")
    assert read_line(process) == b"labelled-4 | four\n", "commands that come later, too"
    cli.tell("close", "labelled")
    assert process.communicate() == (b"", b"")
    assert process.returncode == 0
    for wrong in (("follow",), ("follow", "labelled", "--label", "a=b"), ("follow", "--late", "--session", "labelled")):
        assert cli.call(*wrong).returncode == 2


def test_ctrl_c_ends_following_and_nothing_else(cli: CommandLine) -> None:
    identity = cli.tell("start", "left", "echo on; sleep 1000")
    process = cli.start("follow", identity)
    assert read_line(process) == b"on\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (out, err.strip(), process.returncode) == (b"", b"", 130)
    assert cli.command(identity)["state"] == "running"
    cli.tell("kill", identity)


def test_wait_exits_with_the_first_failure(cli: CommandLine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = cli.tell("start", "waited", f"cat {gate}; exit 3")
    quick = cli.tell("start", "waited", "exit 4")
    well = cli.tell("start", "waited", "true")
    assert cli.call("wait", "--any", slow, quick).returncode == 4
    assert cli.call("wait", well).returncode == 0
    timed = cli.call("wait", "--timeout", "100ms", slow, well)
    assert (timed.returncode, timed.stderr) == (124, f"error: not finished yet: {slow}; they go on\n")
    process = cli.start("wait", slow, quick, well, "--json")
    gate.write_text("")
    out, _ = process.communicate()
    assert process.returncode == 4, "the one that failed first, not the one that was named first"
    assert [one["id"] for one in json.loads(out)][-1] == slow
    killed = cli.tell("start", "waited", "sleep 1000")
    cli.tell("kill", killed)
    ended = cli.call("wait", killed)
    assert ended.returncode > 128
    assert ended.stderr == f"command {killed} killed\n"


def test_a_root_without_a_server_can_be_read(fresh: CommandLine) -> None:
    fresh.tell("run", "s", "echo one; echo two")
    fresh.call("run", "s", "exit 3")
    fresh.stop_server()
    assert not (fresh.root / "serve.sock").exists()
    assert [one["exit_code"] for one in fresh.listing("ps")] == [0, 3]
    assert fresh.listing("ps", "--sessions", "--all")[0]["state"] == "closed"
    assert fresh.tell("logs", "s-1") == "one\ntwo"
    assert fresh.tell("follow", "s-1", "s-2") == "s-1 | one\ns-1 | two"
    assert fresh.call("wait", "s-1", "s-2").returncode == 3
    assert fresh.server_pid is None, "reading starts no server"


def test_what_a_killed_server_left_is_lost(fresh: CommandLine) -> None:
    identity = fresh.tell("start", "s", "echo begun; sleep 1000")
    process = fresh.start("follow", identity)
    assert read_line(process) == b"begun\n"
    process.kill()
    process.communicate()
    fresh.stop_server(signal.SIGKILL)
    assert fresh.call("wait", identity).returncode == 125
    found = fresh.command(identity)
    assert (found["state"], found["reason"], found["exit_code"]) == ("finished", "lost", None)
    done = fresh.call("follow", identity)
    assert done.stdout == "begun\n"
    assert done.stderr == f"command {identity} lost: its engine vanished before it ended\n"


def test_an_empty_root(tmp_path: Path) -> None:
    with command_line(tmp_path / "none") as cli:
        assert cli.listing("ps") == []
        assert cli.listing("ps", "--sessions") == []
        assert cli.tell("ps").split()[0] == "ID"
        done = cli.call("logs", "x")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "nothing was ever stored" in done.stderr
    assert list(tmp_path.iterdir()) == [], "reading makes nothing"


def test_what_a_log_has_given_up_is_told_once(fresh: CommandLine) -> None:
    server = fresh.start("serve", "--log-bytes", "64K", "--json")
    assert read_line(server)
    fresh.tell("run", "s", "head -c 3000000 /dev/zero | tr '\\0' x")
    lost = fresh.command(fresh.tell("ps", "-q"))["dropped_bytes"]
    fresh.tell("run", "s", "true")
    told = rf"{lost} bytes of \w+-1 are no longer kept\n"
    for arguments in (["logs", "s-1"], ["logs", "-f", "s-1"], ["follow", "s-1"], ["follow", "s-1", "s-2"]):
        done = fresh.call(*arguments)
        assert re.fullmatch(told, done.stderr), arguments
        assert done.stdout.count("x") == 3_000_000 - lost
        assert done.stdout.count("are no longer kept") == (arguments[-1] == "s-2"), "in its place among many's lines"


def test_a_server_elsewhere(fresh: CommandLine, tmp_path: Path) -> None:
    server = fresh.start("serve", "--bind", "127.0.0.1:0", "--json", env={"SESSIONS_TOKEN": "secret"})
    try:
        addresses = json.loads(read_line(server))
        assert addresses["unix"] == str(fresh.root / "serve.sock")
        env = {
            "SESSIONS_URL": addresses["urls"][0],
            "SESSIONS_TOKEN": "secret",
            "SESSIONS_HOME": str(tmp_path / "other"),
        }
        assert fresh.call("run", "s", "echo one; echo two; echo three >&2", env=env).stdout == "one\ntwo\n"
        assert sorted(fresh.tell("logs", "s", env=env).split()) == ["one", "three", "two"]
        assert fresh.tell("logs", "s", "-n", "1", "--stdout", env=env) == "two"
        assert re.fullmatch(rf"{STAMP} stderr three", fresh.tell("logs", "s", "--stderr", "--timestamps", env=env))
        assert fresh.tell("logs", "s", "--stdout", "-f", "-n", "1", env=env) == "two"
        assert fresh.tell("follow", "--session", "s", "--label", "a=b", env=env) == ""
        assert fresh.tell("ps", "-q", env=env).endswith("-1")
        refused = fresh.call("ps", env=env | {"SESSIONS_TOKEN": "wrong"})
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert fresh.call("--token", "secret", "ps", env=env | {"SESSIONS_TOKEN": "wrong"}).returncode == 0
        second = fresh.call("serve")
        assert second.returncode == 2
        assert f"served already by process {server.pid}" in second.stderr
        assert not (tmp_path / "other").exists()
    finally:
        server.terminate()
        server.communicate()
    assert server.returncode == 0

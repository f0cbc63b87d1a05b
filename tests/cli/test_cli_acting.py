"""`sessions send`, `signal`, `interrupt`, `kill`, `close`, `rm`, `prune`, and how errors are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine, command_line


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One root and one server for the tests of this file, each in a session of its own."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(tmp_path / "root") as found:
        yield found


def test_send(cli: CommandLine) -> None:
    identity = cli.tell("start", "--stdin", "sent", "cat; echo the end")
    cli.tell("send", identity, "a line")
    cli.tell("send", "-n", "sent", "no newline")
    cli.tell("send", "--close", identity, stdin=b", then bytes \x00\xff\n")
    assert cli.call("wait", identity).returncode == 0
    assert cli.tell("logs", identity) == "a line\nno newline, then bytes \0\ufffd\nthe end"
    late = cli.call("send", identity, "x")
    assert (late.returncode, late.stderr.count("\n")) == (2, 1)
    deaf = cli.tell("start", "sent", "sleep 1000")
    refused = cli.call("send", deaf, "x")
    assert refused.returncode == 2
    assert "no stdin" in refused.stderr
    cli.tell("kill", deaf)


def test_signal(cli: CommandLine) -> None:
    identity = cli.tell("start", "signalled", "trap 'echo got it; exit 5' USR1; echo on; while :; do sleep 0.02; done")
    cli.start("follow", identity).stdout.readline()  # type: ignore[union-attr]
    cli.tell("signal", "USR1", identity)
    assert cli.call("wait", identity).returncode == 5
    assert cli.tell("logs", "--stdout", identity) == "on\ngot it"
    assert cli.call("signal", "NOPE", identity).returncode == 2
    number = cli.tell("start", "signalled", "exec sleep 1000")
    cli.wait_until_running("signalled")
    cli.tell("signal", "9", number)
    assert cli.call("wait", number).returncode == 137


def test_interrupt_and_kill_many(cli: CommandLine) -> None:
    identities = [cli.tell("start", "ended", "sleep 1000") for _ in range(3)]
    cli.tell("interrupt", identities[0])
    assert cli.call("wait", identities[0]).returncode == 130
    cli.tell("kill", "--grace", "1s", *identities)
    assert [cli.command(identity)["reason"] for identity in identities] == ["killed"] * 3
    done = cli.call("kill", identities[0], "nothing-like-it")
    assert done.returncode == 2
    assert cli.tell("run", "ended", "echo alive") == "alive"


def test_nothing_is_done_if_one_is_unknown(cli: CommandLine) -> None:
    identity = cli.tell("start", "kept", "sleep 1000")
    assert cli.call("kill", identity, "nothing-like-it").returncode == 2
    assert cli.call("close", "kept", "nothing-like-it").returncode == 2
    assert cli.call("rm", "-f", "kept", "nothing-like-it").returncode == 2
    assert cli.command(identity)["state"] == "running"
    cli.tell("kill", identity)


def test_close(cli: CommandLine) -> None:
    identity = cli.tell("start", "to-close", "sleep 1000")
    cli.tell("new", "to-close-2")
    cli.tell("close", "--grace", "1", "to-close", "to-close-2")
    assert cli.command(identity)["reason"] == "session_closed"
    assert cli.call("close", "to-cl").returncode == 2, "names in full"
    assert cli.tell("run", "to-close", "echo anew") == "anew", "its name is free again"


def test_rm(cli: CommandLine) -> None:
    identity = cli.tell("start", "to-remove", "sleep 1000")
    busy = cli.call("rm", "to-remove")
    assert busy.returncode == 2
    assert f"command {identity} is running" in busy.stderr
    cli.tell("rm", "--force", "to-remove")
    assert cli.call("logs", identity).returncode == 2
    assert not (cli.root / "sessions" / identity.partition("-")[0]).exists()
    cli.tell("run", "to-remove", "true")
    cli.tell("rm", "to-remove")
    assert cli.call("rm", "to-remove").returncode == 2


def test_prune_with_a_server_and_without(fresh: CommandLine) -> None:
    fresh.tell("run", "s", "echo 12345")
    kept = fresh.listing("prune", "--older-than", "1h", "--keep", "1K")
    assert kept == {"commands": 0, "sessions": 0, "freed_bytes": 0}
    assert fresh.tell("prune", "--keep", "0").startswith("removed 1 commands and 0 sessions: 6 freed")
    gone = fresh.call("logs", "s-1")
    assert gone.returncode == 2
    assert "expired" in gone.stderr
    fresh.tell("run", "s", "echo 123")
    fresh.stop_server()
    assert fresh.tell("prune", "--older-than", "0").startswith("removed 1 commands and 1 sessions")
    assert fresh.server_pid is None
    assert fresh.call("prune").returncode == 2
    assert fresh.call("prune", "--keep", "much").returncode == 2


def test_acting_without_a_server(fresh: CommandLine) -> None:
    identity = fresh.tell("start", "s", "sleep 1000")
    fresh.stop_server()
    fresh.tell("kill", identity)
    assert fresh.command(identity)["reason"] == "session_closed", "it was over before"
    fresh.tell("rm", "s")
    assert fresh.listing("ps", "--all") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-t", "soon", "s", "true"),
        ("run", "bad/name", "true"),
        ("run", "..", "true"),
        ("run", "-e", "novalue", "s", "true"),
        ("run", "-C", "/nowhere/at/all", "s", "true"),
        ("new", "--shell", "fish"),
        ("new", "-C", "/nowhere/at/all"),
        ("logs", "../../etc/passwd"),
        ("logs", "x", "--since", "whenever"),
        ("env",),
        ("follow", "k3v9x2m4ab-1"),
        ("ps", "--session", "nothing-like-it"),
        ("ps", "-n", "0"),
        ("wait", ""),
        ("nothing",),
        ("ps", "--nothing"),
        ("ps", "too", "much"),
        ("--root",),
    ],
)
def test_errors_are_one_line_and_code_2(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    done = cli.call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_root_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with command_line(tmp_path / "other") as cli:
        done = cli.call("--root", str(tmp_path / "file" / "root"), "run", "s", "true")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("error: ")


def test_a_root_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    with command_line(tmp_path / ("long" * 25)) as cli:
        done = cli.call("run", "s", "true")
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert "too long" in done.stderr
        doctor = cli.call("doctor")
        assert doctor.returncode == 1
        assert "choose a shorter root" in doctor.stdout

"""What is told of commands whose engine was killed: to who was following them, and to who comes later."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import SECONDS, CommandLine, command_line, read_line

from sessions.cli.run import QUEUE_SECONDS

IDS: dict[str, str] = {}
"""Of the commands in `cli`'s sessions."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A root whose server was killed while commands ran, one in each of two sessions."""
    with command_line(tmp_path_factory.mktemp("cli") / "root") as found:
        for name in ("one", "two"):
            IDS[name] = found.tell("start", name, f"echo begun {name}; exec sleep 1000")
            follower = found.start("follow", IDS[name])
            assert read_line(follower) == f"begun {name}\n".encode()
            follower.kill()
        found.stop_server(signal.SIGKILL)
        yield found


FOLLOWING = [
    (["logs", "-f", "one"], "begun one\n", "command {one} lost: its engine vanished before it ended\n"),
    (["logs", "-f", "--session", "one"], "begun one\n", "session one lost: its engine vanished\n"),
    (["follow", "one"], "begun one\n", "command {one} lost: its engine vanished before it ended\n"),
    (["follow", "--session", "one", "--no-prefix"], "begun one\n", "session one lost: its engine vanished\n"),
    (
        ["follow", "one", "two"],
        "one-1 | begun one\ntwo-1 | begun two\n",
        "command {one} lost: its engine vanished before it ended\ncommand {two} lost: its engine vanished before it ended\n",
    ),
]


@pytest.mark.parametrize(("arguments", "output", "told"), FOLLOWING)
def test_who_comes_later_is_told(cli: CommandLine, arguments: list[str], output: str, told: str) -> None:
    done = cli.call(*arguments)
    assert (done.returncode, "".join(sorted(done.stdout.splitlines(keepends=True)))) == (0, output)
    assert done.stderr == told.format(**IDS)


def test_without_following_a_log_is_what_there_is(cli: CommandLine) -> None:
    done = cli.call("logs", "one")
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun one\n", "")
    assert cli.call("wait", "one").returncode == 125


@pytest.mark.parametrize("arguments", [["logs", "-f"], ["follow", "--session"], ["run"]])
def test_who_follows_is_told_by_the_next_server(tmp_path: Path, arguments: list[str]) -> None:
    """The server is killed and another one started: who was following the one finds the end with the other."""
    with command_line(tmp_path / "root") as cli:
        seen = tmp_path / "seen"
        text = f"echo begun; until [ -e {seen} ]; do sleep 0.01; done; echo followed;"
        if arguments == ["run"]:
            follower = cli.start("run", "s", f"{text} read x < <(sleep 1000)")
        else:
            cli.tell("start", "s", f"{text} exec sleep 1000")
            follower = cli.start(*arguments, "s")
        assert read_line(follower).endswith(b"begun\n")
        seen.touch()
        assert read_line(follower).endswith(b"followed\n")  # which was not there yet when it looked at what there was
        cli.stop_server(signal.SIGKILL)
        if arguments == ["run"]:
            # It looks meanwhile whether its command still waits, and finds no server.
            time.sleep(1.2 * QUEUE_SECONDS)
        cli.tell("new", "other")
        out, told = follower.communicate(timeout=SECONDS)
        assert out == b""
        assert b"lost: its engine vanished" in told
        assert follower.returncode == (125 if arguments == ["run"] else 0)

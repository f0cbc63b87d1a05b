"""`sessions attach`, on a real terminal: typing, sizes, leaving and coming back, ends."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine, command_line
from user_terminal import attached

from sessions.cli.drawing import PLAIN, Modes, from_a_beginning, without_questions
from sessions.cli.keys import Keys

LEAVE = b"\x1cd"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    with command_line(tmp_path_factory.mktemp("cli") / "root") as cli:
        # Login shells read the startup files of whoever runs the tests, and are killed in the middle of them.
        cli.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
        yield cli


def test_a_new_one_is_typed_to_and_exits_with_the_programs_code(cli: CommandLine, tmp_path: Path) -> None:
    text = "stty -echo; echo $A $TERM $PWD; stty size; read line; echo got $line; exit 7"
    options = ("-e", "A=a b", "-C", str(tmp_path), "-l", "k=v")
    with attached(cli, "--new", "typed", *options, text, env={"TERM": "xterm"}) as user:
        assert b"Ctrl-\\ d" in user.see(b"leaves it running")
        user.see(f"a b xterm {tmp_path}\r\n30 100\r\n".encode())
        user.type("wörd\r".encode())
        user.see("got wörd\r\n".encode())
        assert user.end() == 7
    (found,) = cli.listing("ps", "--all", "--label", "k=v")
    assert (found["session"], found["exit_code"]) == ("typed", 7)
    with attached(cli, "typed") as user:
        user.see("got wörd\r\n".encode())
        assert user.end() == 7


def test_it_is_left_and_come_back_to(cli: CommandLine) -> None:
    text = 'stty -echo; echo on; while read -r line; do eval "$line"; done'
    with attached(cli, "--new", "left", text) as user:
        user.see(b"on\r\n")
        user.type(b"x=42\rprintf 'asked \\033[6n\\033]11;?\\007 \\033[?1049h\\033[?2004;1000h\\033[?25l'\r")
        user.see(b"\x1b[?25l")
        user.type(b"echo last" + LEAVE)
        assert b"sessions attach left" in user.see(b"comes back")
        assert user.end() == 0
    with attached(cli, "left", rows=20, columns=70) as user:
        assert b"asked  \x1b[?1049h" in user.see(b"\x1b[?25l")
        user.type(b" $x; stty size\r")
        assert user.see(b"20 70\r\n") == b"last 42\r\n20 70\r\n"
        with attached(cli, "left") as other:
            other.see(b"last 42\r\n")
            user.type(b"echo $((x * x))\r")
            user.see(b"1764\r\n")
            other.see(b"1764\r\n")
            other.type(LEAVE)
            assert other.end() == 0
            undone = other.rest().partition(PLAIN)[2].partition(b"\r")[0]
            assert undone == b"\x1b[?25h\x1b[?1000l\x1b[?2004l\x1b[?1049l"
        user.type(b"exit\r")
        assert user.end() == 0


def test_its_size_follows_the_window(cli: CommandLine) -> None:
    # Without a trap, a shell takes no notice of a Ctrl-C that comes just when the program it waits for ends by itself.
    traps = "trap 'stty size' WINCH; trap 'echo caught; trap - INT; kill -INT $$' INT"
    with attached(cli, "--new", "sized", f"{traps}; echo on; while :; do sleep 0.05; done") as user:
        user.see(b"on\r\n")
        user.resize(41, 131)
        user.see(b"41 131\r\n")
        user.type(b"\x03")
        user.see(b"caught")
        assert user.end() == 130


def test_a_screen_of_the_same_size_is_drawn_again(cli: CommandLine) -> None:
    text = "stty -echo; trap 'echo drawn' WINCH; trap 'exit 5' INT; echo on; while :; do sleep 0.05; done"
    with attached(cli, "--new", "screen", text) as user:
        user.see(b"on\r\n")
        user.type(LEAVE)
        assert user.end() == 0
    with attached(cli, "screen") as user:
        user.see(b"on\r\n")
        user.see(b"drawn\r\n")
        user.type(b"\x03")
        assert user.end() == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_us_alone(cli: CommandLine, number: int) -> None:
    name = f"signal-{number}"
    with attached(cli, "--new", name, "stty -echo; echo on; read line; echo $line") as user:
        user.see(b"on\r\n")
        assert termios.tcgetattr(user.theirs) != user.before
        user.process.send_signal(number)
        assert user.end() == 128 + number
    with attached(cli, name) as user:
        user.see(b"on\r\n")
        user.type(b"still\r")
        user.see(b"still\r\n")
        assert user.end() == 0


def test_a_terminal_that_is_closed_ends_us_alone(cli: CommandLine) -> None:
    with attached(cli, "--new", "closed", "stty -echo; echo on; read line; exit 3") as user:
        user.see(b"on\r\n")
        os.close(user.theirs)
        os.close(user.ours)
        user.ours = user.theirs = -1
        assert user.process.wait(60) == 128 + signal.SIGHUP
    cli.tell("send", "closed", "line")
    assert cli.call("wait", "closed").returncode == 3


def test_a_program_that_does_not_read_is_left_and_killed(cli: CommandLine) -> None:
    with attached(cli, "--new", "deaf", "stty raw -echo; echo on; exec sleep 600") as user:
        user.see(b"on\n")
        for _ in range(10):
            user.type(b"x" * 4000)
        user.type(LEAVE)
        assert user.end() == 0
    with attached(cli, "deaf") as user:
        user.see(b"on\n")
        cli.tell("kill", "deaf")
        assert b"killed" in user.rest()
        assert user.end() != 0


def test_what_is_refused(cli: CommandLine) -> None:
    cli.tell("run", "plain", "true")
    refused = cli.call("attach", "plain")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no terminal" in refused.stderr
    for arguments, message in (
        (["plain"], "no terminal"),
        (["nobody"], "nobody"),
        (["plain", "ls"], "--new"),
        (["plain", "-e", "A=b"], "--new"),
        (["--new", "plain"], "plain"),
    ):
        with attached(cli, *arguments) as user:
            assert message.encode() in user.rest()
            assert user.end() == 2
    with attached(cli, "--new", "mirror") as user:
        user.see(b"running")
        session = next(found for found in cli.listing("ps", "--sessions") if found["name"] == "mirror")
        with attached(cli, "mirror", env={"SESSIONS_SESSION_ID": session["id"]}) as other:
            assert b"itself" in other.rest()
            assert other.end() == 2
        user.type(b"exit\r")
        assert user.end() == 0


# What it decides


@pytest.mark.parametrize(
    ("typed", "goes", "leaves"),
    [
        (b"abc", b"abc", False),
        (b"a\x1cdb", b"a", True),
        (b"a\x1c\x1cb", b"a\x1cb", False),
        (b"a\x1cxb", b"a\x1cxb", False),
        (b"\x1c\x1c\x1cd", b"\x1c", True),
        (b"\x1b[92;5ud", b"", True),
        (b"\x1c\x1b[92;5u", b"\x1c", False),
        (b"\x1c", b"", False),
    ],
)
def test_keys(typed: bytes, goes: bytes, leaves: bool) -> None:
    assert Keys().feed(typed) == (goes, leaves)
    keys, found = Keys(), b""
    if b"\x1b" not in typed:  # a terminal writes what a key sends at once
        for begin in range(len(typed)):
            more, left = keys.feed(typed[begin : begin + 1])
            found += more
            if left:
                break
        assert (found, left) == (goes, leaves)


def test_what_a_terminal_would_answer_is_not_drawn_again() -> None:
    questions = rb"[c [0c [>c [=c [5n [6n [?6n [>q [?2026$p [?u [18t [21t [x P+q544e\ P$qm\ ]11;?\ ]4;1;?\ ]52;c;?\ "
    for question in questions.split():
        assert without_questions(b"a\x1b" + question.replace(b"\\", b"\x1b\\") + b"b") == b"ab", question
    for harmless in (b"[1;31m", b"[2J", b"[?25l", b"[>4;2m", b"[>1u", b"[8;24;80t", b"]0;title\x07", b"[3 q", b"c"):
        assert without_questions(b"\x1b" + harmless) == b"\x1b" + harmless
    assert from_a_beginning(b"31mred\r\nnext") == b"\r\nnext"
    assert from_a_beginning(b"\xa9 plain") == b"\xa9 plain"


def test_modes_are_undone() -> None:
    drawn = b"\x1b[?1049;25;2004h\x1b[?25l\x1b[?7l\x1b[?7h\x1b=\x1b[>1u\x1b[>4;2m\x1b[2;20rx\x1b[?2004l"
    whole, pieces = Modes(), Modes()
    whole.feed(drawn)
    for begin in range(len(drawn)):
        pieces.feed(drawn[begin : begin + 1])
    expected = PLAIN + b"\x1b[<u\x1b[>4m\x1b>\x1b[?25h\x1b[?1049l\x1b7\x1b[r\x1b8"
    assert whole.undo() == pieces.undo() == expected
    whole.feed(b"\x1bc")
    assert whole.undo() == PLAIN
    assert Modes().undo() == b""

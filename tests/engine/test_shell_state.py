"""A session is one shell: what a command changes stays, what is meant for one command doesn't, and nothing of ours shows in it."""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions

IN_SHELL = pytest.mark.parametrize("in_shell", [True, False], ids=["in the shell", "beside it"])

# What stays


def changes(directory: Path, shell: str) -> dict[str, Callable[[str], str]]:
    """Texts that set something to a value, by what the probe calls it."""
    for value in "abcd":
        (directory / value).mkdir(exist_ok=True)
    return {
        "directory": lambda value: f"cd {directory}/{value}",
        "exported": lambda value: f"export EXPORTED={value}",
        "variable": lambda value: f"variable={value}",
        "function": lambda value: f"f() {{ echo {value}; }}",
        "alias": lambda value: f"alias hello='echo {value}'",
        "mask": lambda value: f"umask 00{'abcd'.index(value)}2",
        "option": lambda value: f"set {'-' if value in 'ab' else '+'}f",
        "arguments": lambda value: f"set -- {value} 'x y'",
        "venv": lambda value: f". {directory}/venv/bin/activate" if value in "ab" else "deactivate 2>/dev/null || :",
        "pipefail": lambda value: f"set {'-' if value in 'ab' else '+'}o pipefail" if shell != "sh" else ":",
    }


PROBE = """
echo "directory ${PWD##*/}"
echo "exported $(/usr/bin/env printenv EXPORTED)"
echo "variable $variable"
echo "function $(f)"
echo "alias $(eval hello)"
echo "mask $(umask)"
case $- in *f*|*F*) echo "option on" ;; *) echo "option off" ;; esac
echo "arguments $*"
echo "venv $(command -v python)"
false | true
echo "pipefail $?"
"""


def shown(what: str, value: str, directory: Path, shell: str) -> str:
    on = value in "ab"
    return {
        "mask": f"{'0' if shell != 'zsh' else ''}0{'abcd'.index(value)}2",
        "option": "on" if on else "off",
        "arguments": f"{value} x y",
        "venv": f"{directory}/venv/bin/python" if on else shutil.which("python") or "",
        "pipefail": "1" if on and shell != "sh" else "0",
    }.get(what, value)


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_hundred_changes_stay_and_are_seen_beside_the_shell_too(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    await trio.run_process([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
    session = await engine.create_session(shell=shell)
    chosen = random.Random(23)
    verbs = changes(tmp_path, shell)
    expected = {}
    for what, verb in verbs.items():
        await session.run(verb("d"), check=True)
        expected[what] = shown(what, "d", tmp_path, shell)
    for number in range(100):
        what, value = chosen.choice(list(verbs)), chosen.choice("abcd")
        await session.run(verbs[what](value), check=True)
        expected[what] = shown(what, value, tmp_path, shell)
        probe = await (await session.run_async(PROBE, in_shell=number % 2 == 0)).wait()
        found = dict(line.split(" ", 1) for line in (await probe.logs()).output.decode().splitlines())
        assert found == expected


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_command_beside_the_shell_changes_nothing_in_it(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    session = await engine.create_session(shell=shell, cwd=tmp_path)
    probe = (
        "pwd; umask; echo $-; echo \"[$new][$#]\"; alias; set | grep -v -e '^_' -e SECONDS -e LINENO -e RANDOM -e EPOCH"
    )
    await session.run("first=1")
    before = (await session.run(probe)).output
    text = "cd /; umask 0; new=1; export NEW=1; f() { :; }; alias x=y; set -f; set -- 1 2; exit 3"
    command = await (await session.run_async(text)).wait()
    assert command.exit_code == 3
    after = (await session.run(probe)).output
    assert differing(before, after) == []


def differing(before: str, after: str) -> list[str]:
    """Lines that only one of two listings of variables has; without those that count commands and processes."""
    own = re.compile(
        r"SESSIONS_COMMAND_ID|^(0|PIPESTATUS|pipestatus|BASH_(LINENO|SOURCE|ARGV|ARGC)|TTYIDLE|HISTCMD|SRANDOM)="
    )
    lines = set(before.splitlines()) ^ set(after.splitlines())
    return sorted(line for line in lines if not own.search(line))


# $?


@pytest.mark.parametrize("shell", SHELLS)
async def test_the_status_of_the_command_before(engine: sessions.Engine, tmp_path: Path, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    ask = 'echo "$?"'
    assert (await session.run(ask)).stdout == "0\n"
    for status in (7, 0, 1, 255):
        assert (await session.run(f"(exit {status})")).exit_code == status
        beside = await (await session.run_async(f"{ask}; exit 9")).wait()
        assert (await beside.logs()).output == b"%d\n" % status
        beside = await (await session.run_async(f"{ask}; exit 9", env={"A": "1"}, cwd=tmp_path)).wait()
        assert (await beside.logs()).output == b"%d\n" % status
        assert (await session.run(ask)).stdout == f"{status}\n"
        await session.run(f"(exit {status})", env={"A": "1"}, cwd=tmp_path)
        assert (await session.run(f"{ask}; (exit {status})", env={"A": "1"}, cwd=tmp_path)).stdout == f"{status}\n"
        assert (await session.run(f"{ask}; (exit {status})", stdin=b"input")).stdout == f"{status}\n"
        assert (await session.run(ask)).stdout == f"{status}\n"


async def test_the_status_of_a_command_that_was_stopped(session: sessions.Session) -> None:
    result = await session.run("sleep 60", timeout=0.2)
    assert result.reason == "timeout"
    assert (await session.run("echo $?")).stdout == f"{result.exit_code}\n"


# For one command only

ODD_VALUES = ["", "two words", 'it\'s "quoted" $HOME `date` \\', "line one\nline two\n", "naïve 漢字 🎉", "a" * 10_000]


@pytest.mark.parametrize("shell", SHELLS)
@IN_SHELL
async def test_env_and_cwd_hold_for_one_command_and_change_nothing_in_the_shell(
    engine: sessions.Engine, tmp_path: Path, shell: str, in_shell: bool
) -> None:
    (tmp_path / "one dir's").mkdir()
    session = await engine.create_session(shell=shell, env={"INHERITED": "from the session"})
    await session.run("cd /usr; cd /; plain='a  b'; export EXPORTED='c  d'; export EMPTY=; other=x; unset NEW")
    listing = "set | grep -v -e '^_' -e SECONDS -e LINENO -e RANDOM -e EPOCH; export -p"
    await session.run(listing)
    before = (await session.run(listing)).output
    names = ("INHERITED", "plain", "EXPORTED", "EMPTY", "NEW", "other")
    for value in ODD_VALUES:
        text = (
            "printf '%s|' \"$(pwd)\"; for n in "
            + " ".join(names)
            + "; do printenv $n; printf '|'; done; unset n; (exit 6)"
        )
        command = await session.run_async(
            text, in_shell=in_shell, env=dict.fromkeys(names, value), cwd=tmp_path / "one dir's"
        )
        await command.wait()
        assert (await command.logs()).output.decode() == f"{tmp_path}/one dir's|" + f"{value}\n|" * len(names)
        assert command.exit_code == 6
        assert (await session.run('echo "$PWD $OLDPWD"')).stdout == "/ /usr\n"
    await session.run(":")
    assert differing(before, (await session.run(listing)).output) == []
    assert (await session.run("cd -; printenv plain NEW other; printenv EXPORTED")).stdout == "/usr\nc  d\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_relative_cwd_begins_where_the_shell_is_and_not_where_a_command_is_for_once(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    (tmp_path / "home" / "below").mkdir(parents=True)
    (tmp_path / "away").mkdir()
    session = await engine.create_session(shell=shell, cwd=tmp_path / "home")
    text = "echo on; read x"
    visitor = await session.run_async(text, in_shell=True, cwd=tmp_path / "away", stdin=True)
    await visitor.wait_for("on")
    behind = [await session.run_async("pwd", in_shell=in_shell, cwd="below") for in_shell in (True, False)]
    await visitor.send_input("\n")
    for command in behind:
        await command.wait()
        assert (await command.logs()).stdout.decode() == f"{tmp_path}/home/below\n"
    for _ in range(50):
        assert (await session.run("pwd", cwd="below")).stdout == f"{tmp_path}/home/below\n"
    mover = await session.run_async(f"cd {tmp_path}; {text}", in_shell=True, stdin=True)
    await mover.wait_for("on")
    command = await session.run_async("pwd", in_shell=True, cwd="away")
    await mover.send_input("\n")
    await command.wait()
    assert (await command.logs()).stdout.decode() == f"{tmp_path}/away\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_shell_that_is_back_is_where_its_directory_is_now(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    (tmp_path / "home" / "below").mkdir(parents=True)
    session = await engine.create_session(shell=shell, cwd=tmp_path / "home")
    await session.run("true", cwd="/")
    now = session.archive.live[session.id].shells.now
    assert now is not None
    with trio.fail_after(30):
        while not now.is_idle():
            await trio.sleep(0.001)
    (tmp_path / "home").rename(tmp_path / "moved")
    assert (await session.run("pwd", cwd="below")).stdout == f"{tmp_path}/moved/below\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_env_and_cwd_are_undone_whatever_the_command_does(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    session = await engine.create_session(shell=shell)
    await session.run("cd /usr; export A=before")
    texts = [
        "cd /; export A=within B=within",
        "unset A B",
        "false",
        "return 3",
        "if then",
        "cd() { echo mine; }; export() { echo mine; }; unset() { echo mine; }",
        "IFS=/be",
        "set -f -u",
        "rmdir .",
    ]
    for text in texts:
        (tmp_path / "dir").mkdir(exist_ok=True)
        await session.run(text, env={"A": "one", "B": "two"}, cwd=tmp_path / "dir")
        assert (text, (await session.run('echo "$PWD $A ${B-unset}"')).stdout) == (text, "/usr before unset\n")
    (tmp_path / "dir").mkdir(exist_ok=True)
    stopped = await session.run("sleep 60", env={"A": "one", "B": "two"}, cwd=tmp_path / "dir", timeout=0.2)
    assert stopped.reason == "timeout"
    assert (await session.run('echo "$PWD $A ${B-unset}"')).stdout == "/usr before unset\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_cwd_is_undone_though_the_directory_before_is_gone(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "now").mkdir()
    session = await engine.create_session(shell=shell)
    await session.run(f"cd {tmp_path}/old; cd {tmp_path}/now; rmdir {tmp_path}/old; set -e")
    assert (await session.run("pwd; (exit 0)", cwd="/usr")).output == "/usr\n"
    assert (await session.run('echo "$PWD"; pwd')).output == f"{tmp_path}/now\n" * 2
    assert session.state == "open"


@IN_SHELL
async def test_env_leaves_attributes_of_variables(session: sessions.Session, in_shell: bool) -> None:
    await session.run(
        "declare -a list=(1 'two words' 3); declare -A map=([k]='v w'); declare -i number=5; declare -x X=x"
    )
    listing = "declare -p list map number X"
    before = (await session.run(listing)).stdout
    env = {"list": "a", "map": "b", "number": "7", "X": "d"}
    await (await session.run_async(":", in_shell=in_shell, env=env)).wait()
    assert (await session.run(listing)).stdout == before


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is NOT INSTALLED")
async def test_env_leaves_the_tied_arrays_of_zsh(engine: sessions.Engine) -> None:
    session = await engine.create_session(shell="zsh")
    await session.run("export PATH=/usr/bin:/bin; typeset -T LIBS libs; export LIBS=/a:/b")
    await session.run(":", env={"PATH": "/nowhere", "LIBS": "/c"})
    result = await session.run("path+=(/added); libs+=(/more); echo $PATH $LIBS; printenv PATH LIBS")
    assert result.output == "/usr/bin:/bin:/added /a:/b:/more\n/usr/bin:/bin:/added\n/a:/b:/more\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_env_and_cwd_under_settings(engine: sessions.Engine, tmp_path: Path, shell: str) -> None:
    strict = "set -eu" if shell == "sh" else "set -euo pipefail"
    keyword = ("set -k",) if shell == "bash" else ()
    for setting in ("set -e", "set -u", strict, "set -f", "set -C", "set -x", "IFS=:/ab", *keyword):
        session = await engine.create_session(shell=shell, env={"B": "before"})
        await session.run(f"{setting}; cd /usr")
        for in_shell in (True, False):
            text = "pwd; printenv A B SESSIONS_COMMAND_ID"
            env = {"A": "a/b:c", "B": "while"}
            command = await session.run_async(text, in_shell=in_shell, env=env, cwd=tmp_path)
            await command.wait()
            expected = f"{tmp_path}\na/b:c\nwhile\n{command.id}\n"
            assert (setting, (await command.logs()).stdout.decode()) == (setting, expected)
            assert (await session.run('pwd; echo "${A-unset}"; printenv B')).stdout == "/usr\nunset\nbefore\n"
        assert session.state == "open"


# Jobs


@pytest.mark.parametrize("shell", SHELLS)
async def test_jobs_and_wait_of_the_user_know_nothing_of_commands_beside_the_shell(
    engine: sessions.Engine, shell: str
) -> None:
    session = await engine.create_session(shell=shell)
    before = [await session.run_async("sleep 60") for _ in range(3)]
    assert (await session.run("jobs")).output == ""
    assert (await session.run('echo "[$!]"')).stdout in ("[]\n", "[0]\n")
    with trio.fail_after(30):
        assert (await session.run("wait; echo waited")).output == "waited\n"
        assert (await session.run("(exit 5) & wait $!; echo $?")).output == "5\n"
        own = (await session.run("sleep 60 & echo $!")).stdout
        after = [await session.run_async("sleep 60") for _ in range(3)]
        assert (await session.run("echo $!")).stdout == own
        listed = (await session.run("jobs -l")).stdout
        assert (listed.count("\n"), own.strip() in listed) == (1, True)
        await session.run("kill $!; wait $!")
        assert (await session.run("wait; echo waited")).output == "waited\n"
    assert [command.state for command in before + after] == ["running"] * 6


async def test_a_job_of_a_command_beside_the_shell_is_killed_by_its_number_alone(session: sessions.Session) -> None:
    text = "sleep 60 & sleep 60 | cat & kill %1; wait %1; echo $?; kill -STOP %2; kill -KILL %2; wait %2; echo $?"
    for in_shell in (True, False):
        command = await (await session.run_async(text, in_shell=in_shell, timeout=30)).wait()
        assert (command.exit_code, command.reason) == (0, "exit")
        assert (await command.logs()).stdout.split() == [b"143", b"137"]

"""What the program around an engine brings along: no trio, blocked signals, an environment that shells take for settings."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions


def test_an_engine_without_trio_is_refused_and_leaves_nothing(root: Path) -> None:
    async def main() -> None:
        async with sessions.open_engine(root):
            pass

    with pytest.raises(sessions.Conflict, match=r"trio.*blocking.*connect"):
        asyncio.run(main())
    assert not root.exists()


@pytest.mark.parametrize("shell", SHELLS)
async def test_signals_that_the_program_blocks_are_not_blocked_in_its_shells(root: Path, shell: str) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1})
    try:
        with trio.fail_after(60):
            async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
                session = await engine.create_session(shell=shell)
                for in_shell in (True, False):
                    command = await session.run_async("grep ^SigBlk: /proc/self/status", in_shell=in_shell)
                    await command.wait()
                    assert int((await command.logs()).stdout.split()[1], 16) == 0
                result = await session.run("sleep 60", timeout=0.1)
                assert (result.reason, result.shell_ended) == ("timeout", False)
                assert (await session.run("exit 3")).exit_code == 3
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("shell", SHELLS)
async def test_variables_that_shells_take_for_settings_are_kept(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """``ENV`` names a startup file to a shell, and is a common name for "production"."""
    startup = tmp_path / "it's a startup file"
    startup.write_text("echo read; STARTED=yes")
    monkeypatch.setenv("ENV", str(startup))
    for env, expected in (({"MAIL": "me"}, str(startup)), ({"ENV": "o'clock", "MAIL": "me"}, "o'clock")):
        session = await engine.create_session(shell=shell, env=env)
        for in_shell in (True, False):
            text = """sh -c 'echo "$ENV $MAIL"'; echo "[$STARTED]\""""
            command = await (await session.run_async(text, in_shell=in_shell)).wait()
            assert (await command.logs()).stdout.decode() == f"{expected} me\n[]\n"
        await session.restart()
        assert (await session.run("echo $ENV")).stdout == f"{expected}\n"


async def test_what_its_user_has_typed_is_not_in_a_shells_history(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interactive bash reads it before its first line of input."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HISTFILE", raising=False)
    (tmp_path / ".bash_history").write_text("login --password hunter2\n")
    session = await engine.create_session()
    result = await session.run('set -o history\nhistory; echo "${HISTFILE-unset}"')
    assert (result.exit_code, "hunter2" in result.output, result.stdout[-6:]) == (0, False, "unset\n")


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_path_without_the_shell_itself(engine: sessions.Engine, tmp_path: Path, shell: str) -> None:
    """Whoever wants only a few programs to be found still gets a shell; one of that name on the path is taken."""
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "hello").symlink_to("/bin/echo")
    (tmp_path / "only" / shell).mkdir()  # no program, though of that name
    session = await engine.create_session(shell=shell, env={"PATH": str(tmp_path / "only")})
    result = await session.run("hello $PATH; ls")
    assert (result.stdout, result.exit_code) == (f"{tmp_path}/only\n", 127)
    program = shutil.which(shell)
    assert program is not None
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / shell).write_text(f'#!/bin/sh\nexport MINE=yes; exec {shlex.quote(program)} "$@"\n')
    (tmp_path / "own" / shell).chmod(0o755)
    session = await engine.create_session(shell=shell, env={"PATH": f"{tmp_path}/own:/usr/bin:/bin"})
    assert (await session.run("echo $MINE")).stdout == "yes\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_relative_path_begins_where_the_shell_does(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """And not where this program is."""
    program = shutil.which(shell)
    assert program is not None
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "own").mkdir(parents=True)
    there.mkdir()
    (here / "own" / shell).write_text(f'#!/bin/sh\nexport MINE=yes; exec {shlex.quote(program)} "$@"\n')
    (here / "own" / shell).chmod(0o755)
    for directory, expected in ((here, "yes\n"), (there, "\n")):
        monkeypatch.chdir(there if directory is here else here)
        session = await engine.create_session(shell=shell, cwd=directory, env={"PATH": "own"})
        assert (await session.run("echo $MINE")).stdout == expected


KEPT = {
    "bash": r"declare -p | sed -nE 's/^declare -[a-zA-Z]*r[a-zA-Z]* (\w+)=.*/\1/p'",
    "sh": "for name in UID EUID PPID LINENO; do (export $name=1) 2>/dev/null || echo $name; done",
    "zsh": """
        zmodload zsh/parameter zsh/terminfo zsh/termcap zsh/zleparameter zsh/sched zsh/system
        for name kind in ${(kv)parameters}; do
            case $kind in *readonly*|array*|association*) print -r -- $name ;; esac
        done
        print UID EUID GID EGID USERNAME  # it would become somebody else's process
    """,
}
"""Prints, in a fresh shell, the names of what can't be set to a text."""


@pytest.mark.parametrize("in_shell", [True, False])
@pytest.mark.parametrize("shell", SHELLS)
async def test_variables_that_a_shell_keeps_for_itself(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    """They may well be in an environment that is passed on as a whole."""
    session = await engine.create_session(shell=shell)
    names = [name for name in (await session.run(KEPT[shell])).stdout.split() if name.isidentifier()]
    assert ("PPID" in names) == (shell != "sh")
    text = 'echo "$PPID $PATH $(id -u) $MINE."'
    before = (await session.run(text)).stdout
    command = await session.run_async(text, env={**dict.fromkeys(names, "7"), "MINE": "yes"}, in_shell=in_shell)
    await command.wait()
    told = await command.logs()
    assert (told.stdout.decode(), told.stderr) == (before.removesuffix(".\n") + "yes.\n", b"")
    assert (await session.run(text)).stdout == before


async def test_variables_for_who_runs_no_commands(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("sleep 600")
    session = await engine.get_session(terminal.session_id)
    with pytest.raises(sessions.Conflict, match="is a terminal"):
        await session.run("true", env={"A": "1"})


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_status_that_stays_for_a_command_with_stdin(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    await session.run("(exit 3)")
    command = await session.run_async("echo $?; cat", stdin="in")
    await command.wait()
    assert (await command.logs()).stdout == b"3\nin"

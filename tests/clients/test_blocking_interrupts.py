"""Ctrl-C in blocking programs: what it ends, what it leaves alone, and that a second one need not wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from blocking_program import Leftovers, Program, gone, until_there
from server_thread import serving

import sessions
from sessions import blocking

LIMITS = sessions.Limits(kill_grace_seconds=1.0)

RUN_AND_CATCH = """
    session.run("cd /usr; x=kept")
    try:
        session.run("echo ready; sleep 1000", on_stdout=lambda text: tell("ready"))
    except KeyboardInterrupt:
        command = session.list_commands()[-1]
        tell(command.state, command.reason, command.logs().stdout.decode(), session.run("echo $x $PWD").stdout)
"""


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_kills_the_command_and_not_the_shell(root: Path, group: bool) -> None:
    """Also if the whole process group gets the signal, as it does in a terminal."""
    body = "with blocking.open_engine(root) as engine, engine.open_session() as session:" + RUN_AND_CATCH
    with Program(body, root, group=group) as program:
        assert program.hear() == ["ready"]
        (os.killpg if group else os.kill)(program.process.pid, signal.SIGINT)
        assert program.hear() == ["finished", "killed", "ready\n", "kept /usr\n"]
        program.end()


def test_ctrl_c_kills_a_servers_command_and_not_the_shell(root: Path) -> None:
    body = "with blocking.connect(root) as client, client.open_session() as session:" + RUN_AND_CATCH
    with serving(root, LIMITS) as url, Program(body, url) as program:
        assert program.hear() == ["ready"]
        program.process.send_signal(signal.SIGINT)
        assert program.hear() == ["finished", "killed", "ready\n", "kept /usr\n"]
        program.end()


def test_ctrl_c_that_nobody_catches_ends_the_program(root: Path, processes_of: Leftovers) -> None:
    body = """
with blocking.open_engine(root) as engine:
    session = engine.create_session()
    other = session.run_async("sleep 1000")
    session.run("echo ready; sleep 1000", on_stdout=lambda text: tell(session.id, other.id))
"""
    with Program(body, root) as program:
        session_id, other = program.hear()
        program.process.send_signal(signal.SIGINT)
        program.end(-signal.SIGINT, "KeyboardInterrupt")
    assert processes_of({session_id}) == []
    with blocking.open_engine(root) as engine:
        assert engine.get_command(other).reason == "session_closed"


def test_second_ctrl_c_does_not_wait_for_a_stubborn_command(
    root: Path, tmp_path: Path, processes_of: Leftovers
) -> None:
    body = """
engine = blocking.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1000))
session = engine.create_session()
try:
    text = "bash -c 'trap \\"echo >> deaf\\" INT TERM; echo ready; while :; do sleep 0.05; done'"
    session.run(text, cwd=os.path.dirname(root), on_stdout=lambda text: tell(session.id))
except KeyboardInterrupt:
    tell(session.list_commands()[-1].state)
    os._exit(0)
"""
    with Program(body, root) as program:
        (session_id,) = program.hear()
        program.process.send_signal(signal.SIGINT)
        until_there(tmp_path / "deaf", program)
        program.process.send_signal(signal.SIGINT)
        assert program.hear() == ["running"]
        program.end()
    assert gone(processes_of, session_id)


def test_ctrl_c_while_closing_does_not_wait_for_a_stubborn_command(
    root: Path, tmp_path: Path, processes_of: Leftovers
) -> None:
    body = """
engine = blocking.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1000))
session = engine.create_session()
text = "trap 'echo >> deaf' TERM; echo ready; while :; do sleep 0.05; done"
session.run_async(text, cwd=os.path.dirname(root)).wait_for("ready")
tell(session.id)
engine.close()
"""
    with Program(body, root) as program:
        (session_id,) = program.hear()
        until_there(tmp_path / "deaf", program)
        program.process.send_signal(signal.SIGINT)
        program.end(-signal.SIGINT, "KeyboardInterrupt")
    assert gone(processes_of, session_id)


def test_ctrl_c_while_following_leaves_the_command_alone(root: Path) -> None:
    body = """
with blocking.open_engine(root) as engine:
    command = engine.create_session().run_async("echo ready; sleep 1000")
    try:
        for record in command.follow():
            tell("ready")
    except KeyboardInterrupt:
        while command.refresh().state == "queued":  # its first output may come before the word that it has started
            time.sleep(0.01)
        tell(command.state)
"""
    with Program(body, root) as program:
        assert program.hear() == ["ready"]
        program.process.send_signal(signal.SIGINT)
        assert program.hear() == ["running"]
        program.end()


def test_signal_handler_may_close(root: Path) -> None:
    body = """
with blocking.open_engine(root) as engine:
    signal.signal(signal.SIGTERM, lambda *_: engine.close())
    session = engine.create_session()
    result = session.run("echo ready; sleep 1000", on_stdout=lambda text: tell("ready"))
    tell(result.reason, result.stdout, session.state)
"""
    with Program(body, root) as program:
        assert program.hear() == ["ready"]
        program.process.terminate()
        assert program.hear() == ["session_closed", "ready\n", "closed"]
        program.end()


def test_interrupts_at_any_moment(root: Path) -> None:
    """Wherever a signal handler raises, every call is over then, and the next one works."""
    body = """
import random

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

signal.signal(signal.SIGALRM, interrupt)
moments = random.Random(7)
interrupts = 0
with blocking.open_engine(root) as engine:
    session = engine.create_session()
    session.run("x=kept")
    command = session.run_async("seq 100000").wait()
    verbs = [lambda: session.run("true"), lambda: list(command.follow()), command.wait, session.list_commands]
    for round in range(600):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + moments.random() * 1e-3)
            verbs[round % len(verbs)]()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    tell(interrupts > 10, session.run("echo $x").stdout, len(list(command.follow())) > 0)
os._exit(0)  # without what Python says of an interrupt in a finalizer
"""
    with Program(body, root) as program:
        assert program.hear() == [True, "kept\n", True]
        assert program.process.wait(30) == 0

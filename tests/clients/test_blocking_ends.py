"""How blocking programs end: without closing, by SIGKILL, with a dead engine, as the child of a fork."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocking_program import Leftovers, Program, gone
from server_thread import serving

import sessions
from sessions import blocking


def reason(root: Path, command_id: str) -> str | None:
    """What a later engine says of a command."""
    with blocking.open_engine(root) as engine:
        return engine.get_command(command_id).reason


@pytest.mark.parametrize(
    ("last", "code", "stderr"),
    [
        ("", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("raise ValueError('mine')", 1, "ValueError: mine"),
        ("session.run('exit 3'); session.run('')", 1, "sessions.errors.Closed"),
    ],
)
def test_program_that_forgets_to_close(root: Path, processes_of: Leftovers, last: str, code: int, stderr: str) -> None:
    body = f"""
engine = blocking.open_engine(root)
session = engine.create_session()
command = session.run_async("sleep 1000")
threading.Thread(target=command.wait, daemon=True).start()
stream = command.follow()
events = iter(engine.watch())
tell(session.id, command.id)
{last}
"""
    with Program(body, root) as program:
        session_id, command_id = program.hear()
        program.end(code, stderr)
    assert processes_of({session_id}) == []
    assert reason(root, command_id) == "session_closed"


def test_client_that_is_forgotten(root: Path) -> None:
    body = """
client = blocking.connect(root)
command = client.create_session().run_async("sleep 1000")
records = iter(command.follow())
tell(command.id)
"""
    with serving(root, sessions.Limits(kill_grace_seconds=1.0)) as url, Program(body, url) as program:
        (command_id,) = program.hear()
        program.end()
        with blocking.connect(url) as client:
            assert client.get_command(command_id).state == "running"


def test_program_that_is_killed_leaves_nothing(root: Path, processes_of: Leftovers) -> None:
    body = """
engine = blocking.open_engine(root)
session = engine.create_session()
tell(session.id, session.run_async("sleep 1000").id)
session.run("sleep 1000")
"""
    with Program(body, root) as program:
        session_id, command_id = program.hear()
        program.process.kill()
        assert gone(processes_of, session_id)
    assert reason(root, command_id) == "lost"


@pytest.mark.parametrize("act", ["post(fail)", "post(spawn, later)"])
def test_thread_that_dies(root: Path, processes_of: Leftovers, act: str) -> None:
    """Whoever waits, and whoever comes later, gets Broken: when trio itself fails, and when a task of the engine does."""
    body = f"""
def fail():
    raise MemoryError("as it were")

async def later():
    fail()

engine = blocking.open_engine(root)
session = engine.create_session()
command = session.run_async("sleep 1000")
spawn = engine._inner.workshop.nursery.start_soon
post = engine._portal.post

def attempt(verb):
    try:
        verb()
    except sessions.Broken as error:
        cause = error.__cause__
        return [str(error).partition(":")[0], "as it were" in repr(cause) + repr(cause.__cause__)]

answers = []
threads = [threading.Thread(target=lambda verb=verb: answers.append(attempt(verb)))
    for verb in (command.wait, lambda: list(command.follow()), lambda: command.wait_for("never"))]
for thread in threads:
    thread.start()
while len(engine._portal._calls) < 3:
    pass
{act}
for thread in threads:
    thread.join()
answers += [attempt(command.wait), attempt(lambda: session.run("true")), attempt(engine.close)]
tell(session.id, answers)
engine.close()
"""
    with Program(body, root) as program:
        session_id, answers = program.hear()
        failed = ["the engine has failed", True]
        # Who waited for the command may be told first that it is lost.
        assert all(answer in (None, failed) for answer in answers[:3])
        assert answers[3:] == [failed] * 3
        program.end()
    assert gone(processes_of, session_id)


def test_child_of_a_fork(root: Path) -> None:
    body = """
with blocking.open_engine(root) as engine:
    session = engine.create_session()
    command = session.run_async("sleep 1000")
    pid = os.fork()
    if pid == 0:
        for verb in (lambda: session.run("true"), lambda: next(command.follow())):
            try:
                verb()
            except sessions.Broken as error:
                tell(str(error))
        engine.close()
        with blocking.open_engine(root) as own:
            tell(own.create_session().run("echo own").stdout)
        sys.exit(0)
    tell(os.waitpid(pid, 0)[1], command.state, session.run("echo mine").stdout)
"""
    refusal = "the engine belongs to the process that this one was forked from: open another one"
    with Program(body, root) as program:
        assert [program.hear() for _ in range(3)] == [[refusal], [refusal], ["own\n"]]
        assert program.hear() == [0, "running", "mine\n"]
        program.end()

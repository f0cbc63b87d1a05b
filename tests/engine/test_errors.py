"""Errors: their kinds, and that each says what is wrong, with which id, and what to do next, and leaves nothing behind."""

from __future__ import annotations

import copy
import errno
import pickle
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import open_descriptors
from inventory import inventory, processes

import sessions
from sessions import Closed, Conflict, Invalid, NotFound, errors


def test_every_error_has_a_code_and_a_status_of_its_own_kind() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {value.__name__ for value in classes} == {
        *("SessionsError", "Invalid", "NotFound", "Expired", "Conflict", "Busy", "Closed", "CommandFailed"),
        *("EndedFirst", "TimedOut", "Broken", "Corrupt"),
    }
    for value in classes:
        assert issubclass(value, sessions.SessionsError)
        assert getattr(sessions, value.__name__) is value
        assert {"code", "status"} <= set(vars(value))
        assert re.fullmatch(r"[a-z_]+", value.code)
        assert 400 <= value.status < 600
        assert value.__doc__
    assert len({value.code for value in classes}) == len(classes)


def test_errors_are_what_programs_expect_of_their_kind() -> None:
    assert issubclass(sessions.Expired, NotFound)
    assert issubclass(sessions.TimedOut, TimeoutError)
    assert issubclass(Invalid, ValueError)
    assert issubclass(NotFound, LookupError)
    assert all(error.status < 500 for error in (Invalid, NotFound, Conflict, sessions.Busy, Closed))
    assert all(error.status >= 500 for error in (sessions.Broken, sessions.Corrupt))


async def test_a_shell_that_is_not_installed(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inventory(engine)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sessions.Broken, match=r"'bash' is not installed here: install it or choose another"):
        await engine.create_session()
    assert inventory(engine) == before
    assert processes() == set()


async def test_a_shell_that_cannot_be_started(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await engine.create_session("warm")).close()  # what the first session makes, stays: the keeper
    before, processes_before = inventory(engine), processes()
    (tmp_path / "bash").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bash").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sessions.Broken, match="'bash' can't be started"):
        await engine.create_session("x")
    after = inventory(engine)
    assert [after[key] for key in ("sessions", "files", "descriptors")] == [
        before[key] for key in ("sessions", "files", "descriptors")
    ]
    assert processes() <= processes_before


@pytest.mark.parametrize("verb", ["run", "run_async"])
async def test_a_closed_session_refuses(engine: sessions.Engine, session: sessions.Session, verb: str) -> None:
    await session.close()
    before = inventory(engine)
    for one in (session, await engine.get_session("test")):
        with pytest.raises(Closed, match=f"{session.id}.* is closed: create another one; its logs stay"):
            await getattr(one, verb)("true")
        with pytest.raises(Closed, match=f"{session.id}.* is closed: create another one"):
            await one.restart()
        await one.close()
    assert inventory(engine) == before


async def test_a_session_without_a_shell_says_who_ended_it_and_how_to_go_on(session: sessions.Session) -> None:
    culprit = (await session.run("exit 3")).command
    with pytest.raises(Closed, match=rf"'test' has no shell: command {culprit.id} ended it; call restart\(\)"):
        await session.run("true")
    await session.restart()
    assert (await session.run("echo on")).stdout == "on\n"


async def test_limits_are_told_by_name(root: Path) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(sessions=1, queued_commands=1)) as engine:
        session = await engine.create_session("one")
        with pytest.raises(sessions.Busy, match=r"1 sessions are open: close some, or raise Limits\.sessions"):
            await engine.create_session("two")
        blocker = await session.run_async("sleep 600", in_shell=True)
        await session.run_async("true", in_shell=True)
        before = inventory(engine)
        with pytest.raises(sessions.Busy, match=r"'one'.*Limits\.queued_commands"):
            await session.run_async("true", in_shell=True)
        assert inventory(engine) == before
        await blocker.kill()


async def test_a_failed_check_carries_the_result_and_shows_the_end(session: sessions.Session) -> None:
    with pytest.raises(sessions.CommandFailed) as caught:
        await session.run("seq 5000; echo the end >&2; exit 7", check=True)
    result = caught.value.result
    assert (result.exit_code, result.stdout[:4]) == (7, "1\n2\n")
    assert re.search(rf"{result.command.id}.*exit code 7(.|\n)*5000\nthe end$", str(caught.value))
    assert len(str(caught.value)) < 5000


async def test_errors_and_results_reach_other_processes(session: sessions.Session, tmp_path: Path) -> None:
    """As a pool of processes sends them: pickled. What belongs to this process stays behind, the facts come along."""
    with pytest.raises(sessions.CommandFailed) as caught:
        await session.run("echo out; echo err >&2; exit 7", check=True)
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == str(caught.value)
    assert (sent.result.exit_code, sent.result.stdout, sent.result.stderr) == (7, "out\n", "err\n")
    assert sent.result.logs == caught.value.result.logs
    assert sent.result.command == caught.value.result.command
    assert sent.result.command.text == "echo out; echo err >&2; exit 7"
    assert copy.copy(caught.value).result is caught.value.result
    assert copy.deepcopy(caught.value.result).command is caught.value.result.command
    with pytest.raises(Invalid) as refused:
        await session.restart()
        await session.run("true", cwd=tmp_path / "nowhere")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


async def test_waiting_in_vain_names_the_command_and_does_not_stop_it(session: sessions.Session) -> None:
    command = await session.run_async("echo hello; exec sleep 600")
    with pytest.raises(sessions.TimedOut, match=rf"{command.id}.*b'bye'.*kill\(\) it or wait longer"):
        await command.wait_for("bye", timeout=0.01)
    assert command.state == "running"
    await command.send_signal(signal.SIGKILL)
    with pytest.raises(sessions.EndedFirst, match=rf"{command.id} ended .*137.*b'bye'"):
        await command.wait_for("bye")


async def test_after_the_engine_everything_says_that_it_is_closed(root: Path) -> None:
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("test")
        command = (await session.run("echo hi")).command
    verbs: dict[str, Callable[[], Awaitable[Any]]] = {
        "create_session": engine.create_session,
        "get_session": lambda: engine.get_session("test"),
        "list_sessions": engine.list_sessions,
        "get_command": lambda: engine.get_command(command.id),
        "list_commands": engine.list_commands,
        "delete_session": lambda: engine.delete_session("test"),
        "prune": lambda: engine.prune(keep_bytes=0),
        "run": lambda: session.run("true"),
        "restart": session.restart,
        "logs": command.logs,
    }
    raised = {}
    for name, verb in verbs.items():
        with pytest.raises(Exception) as caught:
            await verb()
        raised[name] = caught.type.__name__
    assert raised == dict.fromkeys(verbs, "Closed")


@pytest.mark.parametrize("value", ["a file", 5, "a\0b"])
async def test_a_root_that_can_not_be_used(tmp_path: Path, value: object) -> None:
    (tmp_path / "a file").write_text("")
    root: Any = str(tmp_path / value) if isinstance(value, str) else value
    descriptors = open_descriptors()
    with pytest.raises((sessions.Broken, Invalid), match=re.escape(str(value).split("\0")[0])):
        async with sessions.open_engine(root):
            pass
    assert open_descriptors() == descriptors


@pytest.mark.parametrize(
    "what", ["sessions.opening.make_run_directory", "sessions.opening.claim", "os.rename", "sessions.opening.Poller"]
)
async def test_an_engine_that_can_not_be_opened_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with sessions.open_engine(root):
        pass
    descriptors = open_descriptors()
    monkeypatch.setattr(what, none_left)
    with pytest.raises(sessions.Broken, match="none left") as kept:
        await sessions.open_engine(root).__aenter__()
    assert open_descriptors() == descriptors, kept
    assert [*(root / "engines").iterdir(), *(tmp_path / "sessions").iterdir()] == []


@pytest.mark.parametrize("limits", [{"log_bytes": 1000}, {"kill_grace_seconds": -1}, {"sessions": True}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(sessions.Invalid, match=next(iter(limits))):
        sessions.Limits(**limits)

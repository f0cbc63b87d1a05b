"""Blocking programs: the verbs without ``async``, callbacks in the caller's thread, iterating, several threads, closing."""

from __future__ import annotations

import gc
import inspect
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_thread import serving

import sessions
from sessions import blocking
from sessions.client.command import RemoteCommand
from sessions.client.session import RemoteSession

LIMITS = sessions.Limits(kill_grace_seconds=1.0)


@pytest.fixture(params=["engine", "server"])
def host(request: pytest.FixtureRequest, root: Path) -> Iterator[blocking.Host]:
    if request.param == "engine":
        with blocking.open_engine(root, limits=LIMITS) as engine:
            yield engine
    else:
        with serving(root, LIMITS) as url, blocking.connect(url) as client:
            yield client


@pytest.fixture
def shell(host: blocking.Host) -> blocking.Session:
    return host.create_session("test", labels={"a": "b"})


def portal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sessions: ")]


def test_facts_and_results(host: blocking.Host, shell: blocking.Session) -> None:
    assert (shell.name, shell.state, shell.labels) == ("test", "open", {"a": "b"})
    shell.run("cd /usr; x=kept")
    result = shell.run("echo $x $PWD; echo err >&2; (exit 3)")
    assert (result.stdout, result.stderr, result.exit_code, result.reason) == ("kept /usr\n", "err\n", 3, "exit")
    assert isinstance(result, sessions.Result)
    assert isinstance(result.command, blocking.Command)
    assert result.command.logs().stdout == b"kept /usr\n"
    sent = pickle.loads(pickle.dumps(result))  # to another process
    assert (sent.stdout, sent.exit_code, sent.command) == (result.stdout, 3, result.command)
    assert host.get_command(result.command.id).exit_code == 3
    assert host.get_session("test").id == shell.id
    assert [command.id for command in host.list_commands(session=shell, limit=1)] == [result.command.id]
    assert [found.name for found in host.list_sessions(state="open")] == ["test"]


def test_commands_beside_the_shell(shell: blocking.Session) -> None:
    command = shell.run_async("read line; echo got $line; sleep 1000", stdin=True)
    command.send_input("this\n")
    match = command.wait_for(r"got (\w+)", timeout=30)
    assert match[1] == b"this"
    with pytest.raises(sessions.TimedOut, match=r"not finished after 0\.01 s"):
        command.wait(timeout=0.01)
    with pytest.raises(sessions.Invalid):
        command.wait(timeout=-1)
    assert command.kill() is command
    assert (command.wait().reason, command.refresh().state) == ("killed", "finished")


def test_check_raises_with_a_blocking_result(shell: blocking.Session) -> None:
    with pytest.raises(sessions.CommandFailed, match="exit code 7") as caught:
        shell.run("echo why; (exit 7)", check=True)
    assert isinstance(caught.value.result, blocking.Result)
    assert caught.value.result.command.logs().output == b"why\n"


def test_open_session_closes_it(host: blocking.Host) -> None:
    with host.open_session("scratch", cwd="/usr") as session:
        assert session.run("pwd").stdout == "/usr\n"
    assert session.state == "closed"
    host.delete_session(session.id)
    with pytest.raises(sessions.NotFound):
        host.get_session("scratch")


def test_callbacks_are_called_in_the_calling_thread(shell: blocking.Session) -> None:
    heard: list[tuple[str, str, threading.Thread]] = []
    result = shell.run(
        "printf 'a\\303'; sleep 0.1; printf '\\244\\n'; echo e >&2",
        on_stdout=lambda text: heard.append(("out", text, threading.current_thread())),
        on_stderr=lambda text: heard.append(("err", text, threading.current_thread())),
    )
    assert "".join(text for name, text, _ in heard if name == "out") == result.stdout == "aä\n"
    assert "".join(text for name, text, _ in heard if name == "err") == "e\n"
    assert {thread for _, _, thread in heard} == {threading.current_thread()}


def test_callback_may_make_blocking_calls(shell: blocking.Session) -> None:
    seen: list[str] = []
    shell.run("echo x", on_stdout=lambda _: seen.extend(command.state for command in shell.list_commands()))
    assert len(seen) == 1


def test_callback_that_raises_ends_the_command_and_not_the_shell(shell: blocking.Session) -> None:
    def refuse(text: str) -> None:
        raise ZeroDivisionError(text)

    shell.run("x=kept")
    with pytest.raises(ZeroDivisionError, match="go"):
        shell.run("echo go; sleep 1000", on_stdout=refuse)
    assert (shell.list_commands()[-1].reason, shell.run("echo $x").stdout) == ("killed", "kept\n")


def test_async_callbacks_are_refused(shell: blocking.Session) -> None:
    async def later(text: str) -> None:
        raise AssertionError(text)

    with pytest.raises(sessions.Invalid, match=r"on_stdout=.* is async: pass a plain function"):
        shell.run("echo x", on_stdout=later)
    with pytest.raises(sessions.Invalid, match="is async"):
        shell.run("echo x", on_stdout=lambda text: later(text))
    with pytest.raises(sessions.Invalid, match="can't be called"):
        shell.follow(on_stderr="no")  # type: ignore[arg-type]
    assert [command.text for command in shell.list_commands()] == ["echo x"]


def test_follow(shell: blocking.Session) -> None:
    command = shell.run_async("for n in 1 2 3; do echo $n; echo e$n >&2; sleep 0.05; done")
    heard: list[str] = []
    records = list(command.follow(stream="stdout", on_stdout=heard.append))
    assert b"".join(record.data for record in records) == b"1\n2\n3\n"
    assert "".join(heard) == "1\n2\n3\n"
    assert command.state == "finished"
    with command.follow(after=records[0].seq, stream="stdout") as rest:
        assert b"".join(record.data for record in rest) == b"2\n3\n"
    assert list(rest) == []
    with pytest.raises(sessions.Invalid, match="stream"):
        list(command.follow(stream="both"))


def test_stream_that_was_left_early(host: blocking.Host, shell: blocking.Session) -> None:
    command = shell.run_async("echo x; sleep 1000")
    with command.follow() as records:
        assert next(records).data == b"x\n"
    with pytest.raises(sessions.Closed, match="closed before its end"):
        next(records)
    for record in command.follow():
        assert record.data == b"x\n"
        break
    gc.collect()
    shell.run("true")  # a round through the portal, behind the cancellation
    assert host._portal._calls == set()
    assert command.refresh().state == "running"


def test_stream_waits_for_a_slow_reader(shell: blocking.Session) -> None:
    """Much more is written than a stream may hold, also as tiny records; nothing of it is lost."""
    command = shell.run_async("for ((n = 0; n < 20000; n++)); do echo $n; done; yes | head -c 50000000")
    with command.follow() as records:
        first = next(records)
        command.wait()
        (call,) = records._running
        assert call._ahead_bytes < 4_000_000
        output = first.data + b"".join(record.data for record in records)
    assert output == command.logs().output


def test_follow_all_of_two_hosts(shell: blocking.Session, tmp_path: Path) -> None:
    with blocking.open_engine(tmp_path / "other", limits=LIMITS) as other:
        commands = [
            session.run_async(f"for n in 1 2 3; do echo {name}$n; sleep 0.05; done")
            for name, session in (("a", shell), ("b", shell), ("c", other.create_session()))
        ]
        outputs = dict.fromkeys(commands, b"")
        with blocking.follow_all(commands) as pairs:
            for command, record in pairs:
                outputs[command] += record.data
        assert list(outputs.values()) == [b"a1\na2\na3\n", b"b1\nb2\nb3\n", b"c1\nc2\nc3\n"]
    assert list(blocking.follow_all([])) == []


def test_watch_begins_when_it_is_opened(host: blocking.Host, shell: blocking.Session) -> None:
    with host.watch() as events:
        command = shell.run("true").command
        types = [next(events).type for _ in range(3)]
    assert sorted(types[:2]) == ["command_queued", "command_started"]
    assert types[2] == "command_finished"
    again = next(iter(host.watch(after=0)))
    assert (again.type, again.seq) == ("session_created", 1)
    assert command.session_id == again.session_id


def test_many_threads_call_at_once(host: blocking.Host, shell: blocking.Session) -> None:
    forever = shell.run_async("sleep 1000")
    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(forever.wait)

        def work(number: int) -> list[str]:
            with host.open_session(f"thread{number}") as session:
                return [session.run(f"echo {number} {turn}").stdout for turn in range(10)]

        outputs = list(pool.map(work, range(8)))
        assert outputs == [[f"{number} {turn}\n" for turn in range(10)] for number in range(8)]
        assert not waiting.done()
        forever.kill()
        assert waiting.result().reason == "killed"


def test_closing_answers_those_who_wait(root: Path) -> None:
    engine = blocking.open_engine(root, limits=LIMITS)
    assert (engine.root, engine.limits) == (root, LIMITS)
    session = engine.create_session()
    command = session.run_async("echo x; sleep 1000")
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(session.run, "sleep 1000")
        following = pool.submit(lambda: [record.data for record in command.follow()])
        waiting = pool.submit(command.wait)
        events = engine.watch()
        watching = pool.submit(list, events)
        command.wait_for("x")
        while len(session.list_commands(state="running")) < 2 or not events._opened:
            pass
        engine.close()
        assert running.result().reason == "session_closed"
        assert following.result() == [b"x\n"]
        assert waiting.result().reason == "session_closed"
        with pytest.raises(sessions.Closed, match="the engine is closed"):
            watching.result()


def test_after_the_end(root: Path) -> None:
    with blocking.open_engine(root, limits=LIMITS) as engine:
        session = engine.create_session()
        command = session.run("echo x").command
    engine.close()
    assert (command.exit_code, session.state) == (0, "closed")
    for verb in (
        command.logs,
        session.refresh,
        engine.list_sessions,
        lambda: next(command.follow()),
        engine.watch().__enter__,
    ):
        with pytest.raises(sessions.Closed, match="the engine is closed: open another one"):
            verb()
    assert portal_threads() == []


def test_closing_a_client_leaves_the_command_alone(root: Path) -> None:
    with serving(root, LIMITS) as url, blocking.connect(url) as other:
        client = blocking.connect(url)
        command = client.create_session().run_async("echo x; sleep 1000")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(command.wait)
            with command.follow() as records:
                next(records)
                client.close()
                with pytest.raises(sessions.Closed, match="the client is closed"):
                    next(records)
            with pytest.raises(sessions.Closed, match="the client is closed"):
                waiting.result()
        assert other.get_command(command.id).state == "running"


def test_server_that_is_not_there(tmp_path: Path) -> None:
    with blocking.connect(f"unix://{tmp_path}/serve.sock") as client:
        assert client.url == f"unix://{tmp_path}/serve.sock"
        with pytest.raises(sessions.Broken):
            client.list_sessions()
    with pytest.raises(sessions.Invalid):
        blocking.connect("ftp://here")
    assert portal_threads() == []


def test_engine_that_can_not_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(sessions.Broken, match="can't be used"):
        blocking.open_engine(tmp_path / "file" / "root")
    with pytest.raises(sessions.Invalid):
        blocking.open_engine("a\0b")
    assert portal_threads() == []


@pytest.mark.parametrize(
    ("ours", "embedded", "remote"),
    [
        (blocking.Engine, sessions.Engine, sessions.Client),
        (blocking.Session, sessions.Session, RemoteSession),
        (blocking.Command, sessions.Command, RemoteCommand),
    ],
)
def test_verbs_and_facts_are_those_of_engines_and_clients(ours: type, embedded: type, remote: type) -> None:
    for name in [name for name in dir(embedded) if hasattr(remote, name) and not name.startswith("_")]:
        verb = getattr(embedded, name)
        if inspect.isfunction(verb):
            expected = inspect.signature(verb).parameters
            found = dict(inspect.signature(getattr(ours, name)).parameters)
            if name == "wait":
                assert found.pop("timeout").default is None
            assert list(found) == list(expected), name
            assert [one.default for one in found.values()] == [one.default for one in expected.values()], name
        else:
            assert isinstance(getattr(ours, name), property), name


def test_functions_have_the_arguments_of_the_async_ones() -> None:
    for name in ("open_engine", "connect", "follow_all"):
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (blocking, sessions))
        assert [(one.name, one.kind, one.default) for one in ours.values()] == [
            (one.name, one.kind, one.default) for one in theirs.values()
        ]

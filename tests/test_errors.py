"""What is refused: the tree of errors, and bad input, which is refused at once, by name, and leaves nothing behind."""

from __future__ import annotations

import json
import math
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import psutil
import pytest
import trio
from conftest import open_descriptors

import sessions
from sessions import errors

NAN, INFINITY = math.nan, math.inf
SURROGATE = "\ud800"
"""In a str, but in no text that can be written."""


def test_every_error_has_a_code_and_a_status_of_its_own_kind() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {value.__name__ for value in classes} == {
        *("SessionsError", "Invalid", "NotFound", "Expired", "Conflict", "Busy", "Closed", "CommandFailed"),
        *("EndedFirst", "TimedOut", "Broken", "Corrupt"),
    }
    for value in classes:
        assert issubclass(value, sessions.SessionsError)
        assert getattr(sessions, value.__name__) is value
        assert "code" in vars(value)
        assert re.fullmatch(r"[a-z_]+", value.code)
        assert 400 <= value.status < 600
        assert value.__doc__
    assert len({value.code for value in classes}) == len(classes)


def test_errors_are_what_programs_expect_of_their_kind() -> None:
    assert issubclass(sessions.Expired, sessions.NotFound)
    assert issubclass(sessions.TimedOut, TimeoutError)
    assert issubclass(sessions.Invalid, ValueError)
    assert issubclass(sessions.NotFound, LookupError)
    yours = [sessions.Invalid, sessions.NotFound, sessions.Conflict, sessions.Busy, sessions.Closed]
    assert all(error.status < 500 for error in yours)
    assert all(error.status >= 500 for error in (sessions.Broken, sessions.Corrupt))


# Bad input


@attrs.frozen
class Things:
    engine: sessions.Engine
    session: sessions.Session
    running: sessions.Command
    finished: sessions.Command


@attrs.frozen
class Case:
    do: Callable[[Things], Awaitable[object]]
    error: type[sessions.SessionsError]
    told: tuple[str, ...]
    """What the message must say: what is wrong, which value it is, what to do."""


CASES: dict[str, Case] = {}


def add(name: str, error: type[sessions.SessionsError], do: Callable[[Things], Awaitable[object]], *told: str) -> None:
    assert name not in CASES
    CASES[name] = Case(do, error, told)


def add_all() -> None:
    for name in ("", "-x", "a b", "a/b", "a\0b", "é", "x" * 101, 5, b"x"):
        add(
            f"name {name!r:.20}",
            sessions.Invalid,
            lambda t, name=name: t.engine.create_session(name),
            repr(name),
            "give",
        )
    add("taken name", sessions.Conflict, lambda t: t.engine.create_session("test"), "'test'", "choose another name")
    add("id as name", sessions.Conflict, lambda t: t.engine.create_session(t.session.id), "another name")
    for shell in ("fish", "", None, 5, ["bash"]):
        add(
            f"shell {shell!r}",
            sessions.Invalid,
            lambda t, shell=shell: t.engine.create_session(shell=shell),
            repr(shell),
            "bash, sh, zsh",
        )
    add("restart", sessions.Invalid, lambda t: t.engine.create_session(restart="yes"), "restart", "'yes'")

    # These are the same for a session and for a command.
    makers: dict[str, Callable[..., Awaitable[object]]] = {
        "create_session": lambda t, **options: t.engine.create_session(**options),
        "run": lambda t, **options: t.session.run("true", **options),
        "run_async": lambda t, **options: t.session.run_async("true", **options),
        "run_async in_shell": lambda t, **options: t.session.run_async("true", in_shell=True, **options),
    }
    for maker, make in makers.items():
        for option, value, *told in (
            ("cwd", "/no/such/place", "'/no/such/place'", "create it"),
            ("cwd", "no-such-place", "no-such-place'", "create it"),
            ("cwd", "/etc/passwd", "'/etc/passwd'", "not a directory"),
            ("cwd", "/tmp\0", "cwd", "NUL", "remove it"),
            ("cwd", 5, "cwd", "int"),
            ("env", {"A=B": "x"}, "env", "'A=B'", "use letters"),
            ("env", {"1A": "x"}, "env", "'1A'"),
            ("env", {"": "x"}, "env", "''"),
            ("env", {"A B": "x"}, "env", "'A B'"),
            ("env", {"A\n": "x"}, "env", r"'A\n'"),
            ("env", {5: "x"}, "env", "5"),
            ("env", {"A": 1}, "env", "A is int", "convert"),
            ("env", {"A": "a\0b"}, "env", "A ", "NUL", "remove it"),
            ("env", {"A": SURROGATE}, "env", "A "),
            ("env", ["A"], "env", "list"),
            ("labels", {"a": 1}, "labels", "'a': 1", "str"),
            ("labels", {1: "a"}, "labels", "1: 'a'", "str"),
            ("labels", {"": "a"}, "labels", "empty"),
            ("labels", 5, "labels", "int"),
        ):  # fmt: skip
            options = {option: value}
            add(f"{maker} {options}", sessions.Invalid, lambda t, make=make, options=options: make(t, **options), *told)
        if maker == "create_session":
            continue
        for option in ("timeout", "idle_timeout"):
            for value in (0, -1, NAN, -INFINITY, "5", True):
                options = {option: value}
                add(
                    f"{maker} {options}",
                    sessions.Invalid,
                    lambda t, make=make, options=options: make(t, **options),
                    f"{option}={value!r}",
                    "pass",
                )
        for stdin in (5, None, ["x"]):
            add(
                f"{maker} stdin {stdin}",
                sessions.Invalid,
                lambda t, make=make, stdin=stdin: make(t, stdin=stdin),
                type(stdin).__name__,
                "pass bytes or str",
            )

    for text, *told in (
        ("", "empty", "pass"), (" \n\t", "empty", "pass"), ("echo a\0b", "NUL", "position 6", "remove it"),
        (5, "int", "str"), (None, "NoneType"), (b"ls", "bytes"), (["ls"], "list", "shlex.join"), (f"echo {SURROGATE}", "position 5"),
    ):  # fmt: skip
        add(f"run {text!r}", sessions.Invalid, lambda t, text=text: t.session.run(text), *told)
        add(f"run_async {text!r}", sessions.Invalid, lambda t, text=text: t.session.run_async(text), *told)
    add(
        "detach in_shell",
        sessions.Conflict,
        lambda t: t.session.run_async("true", detach=True, in_shell=True),
        "detach",
        "in_shell",
        "leave out",
    )
    for callback in ("on_stdout", "on_stderr"):
        add(
            callback,
            sessions.Invalid,
            lambda t, name=callback: t.session.run("echo a; echo b >&2", **{name: 5}),
            callback,
            "5",
        )
        add(
            f"follow {callback}",
            sessions.Invalid,
            lambda t, name=callback: t.finished.follow(**{name: 5}),
            callback,
            "5",
        )

    # Ids
    for unknown in ("nobody", "", "0000000000", "a/b", 5, None):
        add(
            f"get_session {unknown!r}",
            sessions.NotFound,
            lambda t, u=unknown: t.engine.get_session(u),
            repr(unknown),
            "list_sessions()",
        )
        add(
            f"delete_session {unknown!r}",
            sessions.NotFound,
            lambda t, u=unknown: t.engine.delete_session(u),
            repr(unknown),
            "list_sessions()",
        )
    for unknown in ("nobody-1", "", "0000000000-1", "1", 5, None):
        add(
            f"get_command {unknown!r}",
            sessions.NotFound,
            lambda t, u=unknown: t.engine.get_command(u),
            repr(unknown),
            "list_commands()",
        )
    add("get_command 0", sessions.NotFound, lambda t: t.engine.get_command(f"{t.session.id}-0"), "-0'")
    add("get_command 99", sessions.NotFound, lambda t: t.engine.get_command(f"{t.session.id}-99"), "-99'")

    # Questions
    for state in ("bogus", "open", 5):
        add(
            f"list_commands {state}",
            sessions.Invalid,
            lambda t, state=state: t.engine.list_commands(state=state),
            repr(state),
            "'running'",
        )
    add("list_sessions state", sessions.Invalid, lambda t: t.engine.list_sessions(state="bogus"), "'bogus'", "'open'")
    add("list_commands of nobody", sessions.NotFound, lambda t: t.engine.list_commands(session="nobody"), "'nobody'")
    for limit in (-1, 1.5, "5", True):
        add(
            f"limit {limit!r}",
            sessions.Invalid,
            lambda t, limit=limit: t.engine.list_commands(limit=limit),
            f"limit={limit!r}",
            "pass",
        )
    for after in (-1, "x", 1.5, True):
        add(
            f"watch {after!r}",
            sessions.Invalid,
            lambda t, after=after: t.engine.watch(after=after),
            f"after={after!r}",
            "pass",
        )
    add("prune nothing", sessions.Invalid, lambda t: t.engine.prune(), "older_than", "keep_bytes", "pass")
    for value in (-1, NAN, INFINITY, "5"):
        add(
            f"older_than {value!r}",
            sessions.Invalid,
            lambda t, v=value: t.engine.prune(older_than=v),
            f"older_than={value!r}",
            "pass",
        )
        add(
            f"keep_bytes {value!r}",
            sessions.Invalid,
            lambda t, v=value: t.engine.prune(keep_bytes=v),
            f"keep_bytes={value!r}",
            "pass",
        )

    # Logs
    for options in (
        {"tail": -1}, {"tail": 1.5}, {"tail": "5"}, {"start": -1}, {"stop": -1}, {"stop": 1.5}, {"since": NAN}, {"until": INFINITY},
        {"since": "now"}, {"after": "x"}, {"after": 1.5},
    ):  # fmt: skip
        ((option, value),) = options.items()
        for of in ("finished", "session"):
            add(
                f"{of} logs {options}",
                sessions.Invalid,
                lambda t, of=of, o=options: getattr(t, of).logs(**o),
                f"{option}={value!r}",
                "pass",
            )
    add("tail and start", sessions.Invalid, lambda t: t.finished.logs(tail=1, start=2), "tail", "leave out")
    for of in ("finished", "session"):
        add(
            f"{of} logs stream",
            sessions.Invalid,
            lambda t, of=of: getattr(t, of).logs(stream="both"),
            "'both'",
            "'stdout'",
            "leave it out",
        )
        add(
            f"{of} follow stream",
            sessions.Invalid,
            lambda t, of=of: getattr(t, of).follow(stream="both"),
            "'both'",
            "leave it out",
        )
        for after in (-2, "x", 1.5):
            add(
                f"{of} follow after {after!r}",
                sessions.Invalid,
                lambda t, of=of, after=after: getattr(t, of).follow(after=after),
                f"after={after!r}",
                "pass",
            )
    add(
        "follow_all stream",
        sessions.Invalid,
        lambda t: sessions.follow_all([t.finished], stream="both"),
        "'both'",
        "leave it out",
    )
    for size in (0, -1, "5", 1.5, True):
        add(
            f"excerpt {size!r}",
            sessions.Invalid,
            lambda t, size=size: t.finished.excerpt(size),
            f"max_bytes={size!r}",
            "pass",
        )

    # Acting
    for number in ("NOPE", "", "SIG", 0, -1, 999, 1.5, None, True, "TERM\0"):
        add(f"signal {number!r}", sessions.Invalid, lambda t, n=number: t.running.send_signal(n), repr(number), "pass")
    for grace in (-1, NAN, "5", True):
        add(
            f"kill grace {grace!r}",
            sessions.Invalid,
            lambda t, g=grace: t.running.kill(grace=g),
            f"grace={grace!r}",
            "pass",
        )
        add(
            f"close grace {grace!r}",
            sessions.Invalid,
            lambda t, g=grace: t.session.close(grace=g),
            f"grace={grace!r}",
            "pass",
        )
    add("input", sessions.Invalid, lambda t: t.running.send_input(5), "int", "pass bytes or str")
    add("no stdin", sessions.Conflict, lambda t: t.running.send_input("x"), "no stdin", "stdin=True")
    add("no stdin to close", sessions.Conflict, lambda t: t.running.close_input(), "no stdin", "stdin=True")
    for timeout in (0, -1, NAN, "5"):
        add(
            f"wait_for {timeout!r}",
            sessions.Invalid,
            lambda t, s=timeout: t.running.wait_for("x", timeout=s),
            f"timeout={timeout!r}",
            "pass",
        )
    add("pattern", sessions.Invalid, lambda t: t.running.wait_for("(", timeout=1), "'('")
    add("wait_for stream", sessions.Invalid, lambda t: t.running.wait_for("x", stream="both"), "'both'", "leave it out")


add_all()


@pytest.fixture
async def things(engine: sessions.Engine, session: sessions.Session) -> Things:
    running = await session.run_async("echo up; exec sleep 600")
    await running.wait_for("up")
    return Things(engine, session, running, (await session.run("echo done")).command)


def run_directory(engine: sessions.Engine) -> Path:
    return Path(json.loads((engine.root / "engines" / engine.id).read_text())["run_directory"])


def inventory(engine: sessions.Engine) -> dict[str, object]:
    """All that an engine holds: rows, files and their sizes, descriptors."""
    database = sqlite3.connect(f"file:{engine.root}/catalog.sqlite3?mode=ro", uri=True)
    try:
        rows = {
            table: database.execute(f"SELECT * FROM {table}").fetchall() for table in ("sessions", "commands", "events")
        }
    finally:
        database.close()
    files = {
        str(path): path.stat().st_size
        for top in (engine.root, run_directory(engine))
        for path in top.rglob("*")
        if not path.name.startswith("catalog.sqlite3-")
    }
    return {"rows": rows, "files": files, "descriptors": open_descriptors()}


def processes() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_is_refused_by_name_and_leaves_nothing(things: Things, name: str) -> None:
    case = CASES[name]
    before, running_before = inventory(things.engine), processes()
    with pytest.raises(sessions.SessionsError) as caught, trio.fail_after(10):
        await case.do(things)
    assert type(caught.value) is case.error
    for words in case.told:
        assert words in str(caught.value)
    assert inventory(things.engine) == before
    assert processes() <= running_before
    assert (things.running.state, things.session.state) == ("running", "open")
    assert (await things.session.run("echo on")).stdout == "on\n"


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
    before, running_before = inventory(engine), processes()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bash").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bin" / "bash").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(sessions.Broken, match="bash"):
        await engine.create_session("x")
    after = inventory(engine)
    assert {**after, "rows": None} == {**before, "rows": None}
    assert len(await engine.list_sessions()) == 1
    assert processes() <= running_before


@pytest.mark.parametrize("verb", ["run", "run_async"])
async def test_a_closed_session_refuses(engine: sessions.Engine, session: sessions.Session, verb: str) -> None:
    await session.close()
    before = inventory(engine)
    for one in (session, await engine.get_session("test")):
        with pytest.raises(sessions.Closed, match=f"{session.id}.* is closed: create another one; its logs stay"):
            await getattr(one, verb)("true")
        with pytest.raises(sessions.Closed, match=f"{session.id}.* is closed: create another one"):
            await one.restart()
        await one.close()
    assert inventory(engine) == before


async def test_a_session_without_a_shell_says_who_ended_it_and_how_to_go_on(session: sessions.Session) -> None:
    culprit = (await session.run("exit 3")).command
    with pytest.raises(sessions.Closed, match=rf"'test' has no shell: command {culprit.id} ended it; call restart\(\)"):
        await session.run("true")
    await session.restart()
    assert (await session.run("echo on")).stdout == "on\n"


async def test_a_finished_command_reads_no_input(session: sessions.Session) -> None:
    command = await (await session.run_async("true", stdin=True)).wait()
    with pytest.raises(sessions.Closed, match=command.id):
        await command.send_input("x")


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
    assert caught.value.result.exit_code == 7
    assert caught.value.result.stdout.startswith("1\n2\n")
    assert re.search(rf"{caught.value.result.command.id}.*exit code 7(.|\n)*5000\nthe end$", str(caught.value))
    assert len(str(caught.value)) < 5000


async def test_waiting_in_vain_names_the_command_and_does_not_stop_it(session: sessions.Session) -> None:
    command = await session.run_async("echo hello; exec sleep 600")
    with pytest.raises(sessions.TimedOut, match=rf"{command.id}.*b'bye'.*kill\(\) it or wait longer"):
        await command.wait_for("bye", timeout=0.01)
    assert command.state == "running"
    await command.send_signal(signal.SIGKILL)
    with pytest.raises(sessions.EndedFirst, match=rf"{command.id} ended .*137.*b'bye'"):
        await command.wait_for("bye")


@pytest.fixture
async def relics(root: Path) -> AsyncIterator[Things]:
    """What a program still holds when its engine's block is over."""
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("test")
        command = (await session.run("echo hi")).command
    yield Things(engine, session, command, command)


@pytest.mark.parametrize(
    "do",
    [
        lambda t: t.engine.create_session(),
        lambda t: t.engine.get_session("test"),
        lambda t: t.engine.list_sessions(),
        lambda t: t.engine.get_command(t.finished.id),
        lambda t: t.engine.list_commands(),
        lambda t: t.engine.prune(keep_bytes=0),
        lambda t: t.engine.delete_session("test"),
        lambda t: t.session.run("true"),
        lambda t: t.session.restart(),
        lambda t: t.session.logs(),
        lambda t: t.finished.logs(),
    ],
)
async def test_after_the_engine_everything_says_that_it_is_closed(
    relics: Things, do: Callable[[Things], Awaitable[object]]
) -> None:
    with pytest.raises(sessions.Closed):
        await do(relics)


@pytest.mark.parametrize("value", ["a file", 5, "a\0b"])
async def test_a_root_that_can_not_be_used(tmp_path: Path, value: object) -> None:
    (tmp_path / "a file").write_text("")
    root = str(tmp_path / value) if isinstance(value, str) else value
    descriptors = open_descriptors()
    with pytest.raises((sessions.Broken, sessions.Invalid), match=re.escape(str(value).split("\0")[0])):
        async with sessions.open_engine(root):  # type: ignore[arg-type]
            pass
    assert open_descriptors() == descriptors

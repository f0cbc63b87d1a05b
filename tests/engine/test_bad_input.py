"""Bad input is refused at once, by name, and leaves nothing behind."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import attrs
import pytest
import trio
from inventory import inventory, processes

import sessions
from sessions import Conflict, Invalid, NotFound

NAN, INFINITY = math.nan, math.inf


@attrs.frozen
class Things:
    engine: sessions.Engine
    session: sessions.Session
    running: sessions.Command
    finished: sessions.Command


Verb = Callable[..., Awaitable[object]]
Case = tuple[str, type[sessions.SessionsError], Verb, tuple[object, ...], Mapping[str, object], tuple[str, ...]]
"""A name, the error, a verb with its arguments, and what the message must say: what is wrong, which, what to do."""

# fmt: off
BAD_NAMES = ["", "-x", "a b", "a/b", "a\0b", "é", "x" * 101, 5, b"x"]
BAD_SHELLS = ["fish", "", None, 5, ["bash"]]
BAD_TEXTS: list[tuple[object, tuple[str, ...]]] = [
    ("", ("empty", "pass")), (" \n\t", ("empty", "pass")), ("echo a\0b", ("NUL", "position 6", "remove it")),
    (5, ("int", "str")), (None, ("NoneType",)), (b"ls", ("bytes",)), (["ls"], ("list", "shlex.join")),
]
BAD_SURROUNDINGS: list[tuple[str, object, tuple[str, ...]]] = [
    ("cwd", "/no/such/place", ("'/no/such/place'", "create it")), ("cwd", "no-such-place", ("/no-such-place'", "create it")),
    ("cwd", "/etc/passwd", ("'/etc/passwd'", "not a directory")), ("cwd", "/tmp\0", ("NUL", "remove it")), ("cwd", 5, ("int",)),
    ("env", {"A=B": "x"}, ("'A=B'", "use letters")), ("env", {"1A": "x"}, ("'1A'",)), ("env", {"": "x"}, ("''",)),
    ("env", {"A\n": "x"}, (r"'A\n'",)), ("env", {5: "x"}, ("5",)), ("env", {"A": 1}, ("A is int", "convert")),
    ("env", {"A": "a\0b"}, ("A ", "NUL", "remove it")), ("env", ["A"], ("list",)),
    ("labels", {"a": 1}, ("'a': 1", "str")), ("labels", {1: "a"}, ("1: 'a'", "str")), ("labels", {"": "a"}, ("empty",)),
    ("labels", {"a": "\0"}, ("NUL", "remove it")), ("labels", {"a\0b": "c"}, ("NUL", "remove it")), ("labels", 5, ("int",)),
]
BAD_TIMES = [0, -1, NAN, -INFINITY, "5", True]
UNKNOWN = ["nobody", "", "0000000000", "nobody-1", "0000000000-1", "a/b", "\udc80", 5, None]
BAD_PARTS: list[tuple[str, object]] = [
    ("tail", -1), ("tail", 1.5), ("tail", "5"), ("start", -1), ("stop", -1), ("stop", 1.5), ("since", NAN), ("since", "now"),
    ("until", INFINITY), ("until", 10**400), ("after", "x"), ("after", 1.5),
]
BAD_SIGNALS = ["NOPE", "", "SIG", "TERM\0", 0, -1, 999, 1.5, None, True]


def creating(things: Things) -> Iterator[Case]:
    create = things.engine.create_session
    for name in BAD_NAMES:
        yield f"name {name!r}", Invalid, create, (name,), {}, (repr(name), "give")
    yield "taken name", Conflict, create, ("test",), {}, ("'test'", "choose another name")
    yield "an id as name", Conflict, create, (things.session.id,), {}, ("another name",)
    for shell in BAD_SHELLS:
        yield f"shell {shell!r}", Invalid, create, (), {"shell": shell}, (repr(shell), "bash, sh, zsh")
    yield "restart", Invalid, create, (), {"restart": "yes"}, ("restart", "'yes'")
    for option, value, told in BAD_SURROUNDINGS:
        yield f"{option} {value!r}", Invalid, create, (), {option: value}, (option, *told)


def running(things: Things) -> Iterator[Case]:
    run, run_async = things.session.run, things.session.run_async
    verbs: list[tuple[Verb, dict[str, object]]] = [(run, {}), (run_async, {}), (run_async, {"in_shell": True})]
    for verb, how in verbs:
        name = verb.__name__ + (" in_shell" if how else "")
        for text, told in BAD_TEXTS:
            yield f"{name} {text!r}", Invalid, verb, (text,), how, told
        for option, value, told in BAD_SURROUNDINGS:
            yield f"{name} {option} {value!r}", Invalid, verb, ("true",), {option: value, **how}, (option, *told)
        for option in ("timeout", "idle_timeout"):
            for value in BAD_TIMES:
                yield f"{name} {option} {value!r}", Invalid, verb, ("true",), {option: value, **how}, (f"{option}={value!r}", "pass")
        for value in (5, None, ["x"]):
            yield f"{name} stdin {value!r}", Invalid, verb, ("true",), {"stdin": value, **how}, (type(value).__name__, "pass bytes or str")
    for flag in ("in_shell", "detach"):
        yield f"run_async {flag}", Invalid, run_async, ("true",), {flag: "no"}, (f"{flag}='no'", "True or False")
    yield "run check", Invalid, run, ("true",), {"check": "no"}, ("check='no'", "True or False")
    yield "detach in_shell", Conflict, run_async, ("true",), {"detach": True, "in_shell": True}, ("detach", "in_shell", "leave out")
    for callback in ("on_stdout", "on_stderr"):
        yield f"run {callback}", Invalid, run, ("echo a; echo b >&2",), {callback: 5}, (callback, "5")


def finding(things: Things) -> Iterator[Case]:
    engine = things.engine
    for unknown in UNKNOWN:
        yield f"get_session {unknown!r}", NotFound, engine.get_session, (unknown,), {}, (repr(unknown), "a list of the sessions")
        yield f"delete_session {unknown!r}", NotFound, engine.delete_session, (unknown,), {}, (repr(unknown), "a list of the sessions")
        yield f"get_command {unknown!r}", NotFound, engine.get_command, (unknown,), {}, (repr(unknown), "a list of the commands")
    for number in (0, 99):
        yield f"get_command {number}", NotFound, engine.get_command, (f"{things.session.id}-{number}",), {}, (f"-{number}'",)
    for state in ("bogus", "open", 5):
        yield f"list_commands {state!r}", Invalid, engine.list_commands, (), {"state": state}, (repr(state), "'running'")
    yield "list_sessions", Invalid, engine.list_sessions, (), {"state": "bogus"}, ("'bogus'", "'open'")
    for unknown in ("nobody", "\udc80"):
        yield f"list_commands of {unknown!r}", NotFound, engine.list_commands, (), {"session": unknown}, (repr(unknown),)
    for limit in (-1, 1.5, "5", True):
        yield f"limit {limit!r}", Invalid, engine.list_commands, (), {"limit": limit}, (f"limit={limit!r}", "pass")
    for name, verb, option in (("list_commands", engine.list_commands, "limit"), ("watch", engine.watch, "after")):
        yield f"{name} 10**30", Invalid, verb, (), {option: 10**30}, (option, "below 2**63")  # type: ignore[misc]
    for after in (-1, "x", 1.5, True):
        yield f"watch {after!r}", Invalid, engine.watch, (), {"after": after}, (f"after={after!r}", "pass")  # type: ignore[misc]
    yield "prune nothing", Invalid, engine.prune, (), {}, ("older_than", "keep_bytes", "pass")
    for option in ("older_than", "keep_bytes"):
        for value in (10**400, -1, NAN, INFINITY, "5", True):
            yield f"{option} {value!r}", Invalid, engine.prune, (), {option: value}, (f"{option}={value!r}", "pass")


def reading(things: Things) -> Iterator[Case]:
    for thing in (things.finished, things.running, things.session):
        name, follow = type(thing).__name__, thing.follow
        for option, value in BAD_PARTS:
            yield f"{name} {option} {value!r}", Invalid, thing.logs, (), {option: value}, (f"{option}={value!r}", "pass")
        yield f"{name} tail and start", Invalid, thing.logs, (), {"tail": 1, "start": 2}, ("tail", "leave out")
        yield f"{name} logs stream", Invalid, thing.logs, (), {"stream": "both"}, ("'both'", "'stdout'", "leave it out")
        yield f"{name} follow stream", Invalid, follow, (), {"stream": "both"}, ("'both'", "leave it out")
        for after in (-2, "x", 1.5):
            yield f"{name} follow {after!r}", Invalid, follow, (), {"after": after}, (f"after={after!r}", "pass")
        for callback in ("on_stdout", "on_stderr"):
            yield f"{name} follow {callback}", Invalid, follow, (), {callback: 5}, (callback, "5")
    yield "follow_all", Invalid, sessions.follow_all, (things.finished,), {}, ("list", "not Command")  # type: ignore[call-overload,misc]
    yield "follow_all", Invalid, sessions.follow_all, ([things.finished],), {"stream": "both"}, ("'both'", "leave it out")  # type: ignore[misc]
    for positions in (3, [(things.session.id, 3)], {things.finished.id: 3}, {"test": 3}, {3: 3}, {things.session.id: -2}):
        told = ("after", "pass")
        yield f"follow_all {positions!r}", Invalid, sessions.follow_all, ([things.finished],), {"after": positions}, told  # type: ignore[misc]
    for size in (0, -1, "5", 1.5, True):
        yield f"excerpt {size!r}", Invalid, things.finished.excerpt, (size,), {}, (f"max_bytes={size!r}", "pass")


def acting(things: Things) -> Iterator[Case]:
    command = things.running
    for number in BAD_SIGNALS:
        yield f"signal {number!r}", Invalid, command.send_signal, (number,), {}, (repr(number), "pass")
    for grace in (-1, NAN, "5", True):
        yield f"kill {grace!r}", Invalid, command.kill, (), {"grace": grace}, (f"grace={grace!r}", "pass")
        yield f"close {grace!r}", Invalid, things.session.close, (), {"grace": grace}, (f"grace={grace!r}", "pass")
    yield "input", Invalid, command.send_input, (5,), {}, ("int", "pass bytes or str")
    yield "no stdin", Conflict, command.send_input, ("x",), {}, (command.id, "no stdin", "stdin=True")
    yield "no stdin to close", Conflict, command.close_input, (), {}, (command.id, "no stdin", "stdin=True")
    for timeout in (0, -1, NAN, "5"):
        yield f"wait_for {timeout!r}", Invalid, command.wait_for, ("x",), {"timeout": timeout}, (f"timeout={timeout!r}", "pass")
    for pattern in ("(", "a{99999999999}", "\udc80"):
        yield f"pattern {pattern!r}", Invalid, command.wait_for, (pattern,), {"timeout": 1}, (repr(pattern), "no regular expression")
    yield "wait_for stream", Invalid, command.wait_for, ("x",), {"stream": "both"}, ("'both'", "leave it out")
# fmt: on


async def complaint(things: Things, case: Case) -> str | None:
    """What is wrong with how a case was refused."""
    _, error, verb, arguments, options, told = case
    before, processes_before = inventory(things.engine), processes()
    try:
        with trio.fail_after(10):
            answer = await verb(*arguments, **options)
    except Exception as caught:
        if not isinstance(caught, error) or caught.code != error.code:  # the code tells Expired from NotFound
            return f"raised {caught!r}, not {error.__name__}"
        if missing := [words for words in told if words not in str(caught)]:
            return f"says {str(caught)!r}, not {missing}"
    else:
        return f"was not refused but returned {answer!r}"
    if (after := inventory(things.engine)) != before:
        return f"left {[(key, after[key], before[key]) for key in before if after[key] != before[key]]}"
    if more := processes() - processes_before:
        return f"left {more}"
    if (things.running.state, things.session.state) != ("running", "open"):
        return f"left {things.running} in {things.session}"
    return None


@pytest.fixture
async def things(engine: sessions.Engine, session: sessions.Session) -> Things:
    running = await session.run_async("echo up; exec sleep 600")
    await running.wait_for("up")
    return Things(engine, session, running, (await session.run("echo done")).command)


@pytest.mark.parametrize("cases", [creating, running, finding, reading, acting])
async def test_bad_input_is_refused_by_name_and_leaves_nothing(
    things: Things, cases: Callable[[Things], Iterator[Case]]
) -> None:
    complaints = []
    for case in cases(things):
        if text := await complaint(things, case):
            complaints.append(f"{case[0]}: {text}")
            if text.startswith("left"):
                break
    assert not complaints, "\n".join(complaints)
    assert (await things.session.run("echo on")).stdout == "on\n"


UNWRITABLE = """
import sys, trio, sessions

async def main():
    async with sessions.open_engine(sys.argv[1]) as engine, engine.open_session() as session:
        for verb in (session.run, session.run_async):
            for text, options in (("echo \\ud800", {}), ("true", {"env": {"A": "\\ud800"}}), ("cat", {"stdin": "\\ud800"})):
                try:
                    await verb(text, **options)
                except Exception as error:
                    print(verb.__name__, text.split()[0], type(error).__name__, len(await session.list_commands()))
        print((await session.run("echo on")).stdout)

trio.run(main)
"""


def test_a_str_that_no_text_can_hold_is_refused_and_the_session_goes_on(root: Path) -> None:
    # In a program of its own: a session that took half of it could not be closed any more.
    done = subprocess.run(
        [sys.executable, "-c", UNWRITABLE, root], capture_output=True, text=True, timeout=20, check=True
    )
    verbs = [f"{verb} {text} Invalid 0" for verb in ("run", "run_async") for text in ("echo", "true", "cat")]
    assert done.stdout.split("\n") == [*verbs, "on", "", ""]

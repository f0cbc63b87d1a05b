"""What mypy makes of a blocking program: each verb's arguments and answers are typed, though most are made from the async ones."""

from __future__ import annotations

import re
import sys

import pytest
from mypy import api

PROGRAM = """
from sessions import Limits, blocking

with blocking.open_engine("root", limits=Limits()) as engine:
    reveal_type(engine)  # Engine
    session = engine.create_session("build", labels={"a": "b"})
    reveal_type(session)  # Session
    result = session.run("make", timeout=600, on_stdout=print)
    reveal_type(result.stdout)  # str
    reveal_type(result.command)  # Command
    command = session.run_async("make", detach=True)
    reveal_type(command)  # Command
    reveal_type(command.wait(timeout=1))  # Command
    reveal_type(command.refresh())  # Command
    reveal_type(command.kill(grace=1))  # Command
    reveal_type(command.logs(tail=3))  # Logs
    reveal_type(command.excerpt(1000))  # Excerpt
    reveal_type(command.wait_for("ready", timeout=1))  # Match[bytes]
    reveal_type(command.exit_code)  # int | None
    for record in command.follow(after=3):
        reveal_type(record)  # Record
    with session.follow() as records:
        reveal_type(next(records))  # Record
    for one, record in blocking.follow_all([command]):
        reveal_type(one)  # Command
        reveal_type(record.data)  # bytes
    for event in engine.watch():
        reveal_type(event)  # Event
    reveal_type(engine.list_commands(session=session))  # list[Command]
    reveal_type(session.list_commands())  # list[Command]
    reveal_type(engine.list_sessions())  # list[Session]
    reveal_type(engine.get_command("x"))  # Command
    reveal_type(engine.prune(older_than=1))  # Pruned
    terminal = engine.create_terminal("python3", rows=40)
    reveal_type(terminal)  # Terminal
    reveal_type(terminal.resize(40, 132))  # None
    reveal_type(terminal.redraw_after())  # int | None
    reveal_type(terminal.kill())  # Terminal
    reveal_type(engine.get_terminal("x").wait())  # Terminal
    with engine.open_session() as scratch:
        reveal_type(scratch)  # Session
    with blocking.connect("http://localhost", token="x") as client:
        reveal_type(client.get_session("build").run("true").exit_code)  # int | None
    command.logs(tale=3)  # error: Unexpected keyword argument "tale"
    command.send_input(3)  # error: incompatible type "int"
    session.run_async("true", cwd=3)  # error: incompatible type "int"
    terminal.resize(40)  # error: Too few arguments
    command.wait_for()  # error: Too few arguments
    command.follow().data  # error: has no attribute "data"
"""


def bare(revealed: str) -> str:
    """A type without the modules of its names."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says, by line."""
    directory = tmp_path_factory.mktemp("types")
    file = directory / "program.py"
    file.write_text(PROGRAM)
    config = directory / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\n")
    output, errors, _ = api.run(
        ["--config-file", str(config), "--cache-dir", str(directory), "--python-executable", sys.executable, str(file)]
    )
    assert errors == ""
    return {int(match[1]): match[2] for match in re.finditer(r"program\.py:(\d+): (?:note|error): (.*)", output)}


def test_types(said: dict[int, str]) -> None:
    wrong = []
    for number, line in enumerate(PROGRAM.splitlines(), 1):
        code, _, expected = line.partition("  # ")
        message = said.pop(number, "nothing")
        if expected.startswith("error: "):
            right = expected.removeprefix("error: ") in message
        elif "reveal_type" in code:
            right = bare(message) == f'Revealed type is "{expected}"'
        else:
            right = message == "nothing"
        if not right:
            wrong.append((line, message))
    assert wrong == []
    assert said == {}

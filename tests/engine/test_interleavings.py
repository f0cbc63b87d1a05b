"""Whatever is done to a session at the same time, in whatever order: in the end nothing is left of it but its history.

Hypothesis draws the programs: a few tasks, each of which runs, starts, kills, interrupts, restarts and closes, on a real shell.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from pathlib import Path

import attrs
import trio
from conftest import leftovers, open_descriptors
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import sessions
from sessions.store.reading import TranscriptReader

SHORT = ["true", "echo hi", "echo hi; (exit 3)", "seq 2000", "cd /; export X=1", "sleep 0.01; echo hi"]
LASTING = [
    "sleep 600",
    "while :; do :; done",
    "while :; do sleep 0.001; done",
    "trap '' INT TERM; sleep 600; trap - INT TERM",
    "sleep 600 | cat",
    "yes",
]
LEAVING = ["sleep 600 &", "(setsid sleep 600 &)", "nohup sleep 600 >/dev/null 2>&1 &", "trap 'sleep 0.05' EXIT"]
KILLS_KEEPER = "kill -9 $PPID"
FATAL = ["exit 3", "exec true", "kill -9 $$", KILLS_KEEPER, "set -e; false", "kill -STOP $$", "kill -STOP $PPID"]
GRACE_SECONDS = 0.2
EXPECTED = {"echo hi": b"hi\n", "seq 2000": b"".join(b"%d\n" % number for number in range(1, 2001))}


@attrs.frozen
class Step:
    """One thing that a task does."""

    verb: str
    text: str = ""
    seconds: float | None = None
    """run: its timeout, or when its caller is cancelled; pause: how long."""
    which: int = 0
    """Which of the commands so far is acted on, from the newest."""


seconds = st.sampled_from([0.001, 0.01, 0.05])
texts = st.sampled_from([*SHORT, *SHORT, *LASTING, *LEAVING, *FATAL])
steps = st.one_of(
    st.builds(Step, st.just("run"), texts, seconds),
    st.builds(Step, st.just("run"), st.sampled_from(SHORT), st.none()),
    st.builds(Step, st.just("cancelled run"), texts, seconds),
    st.builds(Step, st.sampled_from(["run_async", "run_async in_shell", "run_async stdin"]), texts),
    st.builds(Step, st.sampled_from(["kill", "interrupt", "signal", "feed", "follow"]), which=st.integers(0, 3)),
    st.builds(Step, st.just("restart")),
    st.builds(Step, st.just("pause"), seconds=seconds),
)
tasks = st.lists(steps, min_size=1, max_size=5)
programs = st.tuples(
    st.lists(tasks, min_size=1, max_size=4), st.sampled_from(["wait", "close", "delete", "leave"]), seconds
)


async def take(step: Step, session: sessions.Session, commands: list[sessions.Command]) -> None:
    chosen = commands[-1 - step.which % len(commands)] if commands else None
    match step.verb, chosen:
        case "run", _:
            await session.run(step.text, timeout=step.seconds)
        case "cancelled run", _:
            assert step.seconds is not None
            with trio.move_on_after(step.seconds):
                await session.run(step.text)
        case "run_async", _:
            commands.append(await session.run_async(step.text))
        case "run_async in_shell", _:
            commands.append(await session.run_async(step.text, in_shell=True))
        case "run_async stdin", _:
            commands.append(await session.run_async("read -r x; " + step.text, stdin=True))
        case "restart", _:
            await session.restart()
        case "pause", _:
            assert step.seconds is not None
            await trio.sleep(step.seconds)
        case "kill", sessions.Command() as command:
            await command.kill()
            assert command.state == "finished"
        case "interrupt", sessions.Command() as command:
            await command.interrupt()
        case "signal", sessions.Command() as command:
            await command.send_signal("TERM")
        case "feed", sessions.Command() as command:
            await command.send_input("x\n")
        case "follow", sessions.Command() as command:
            with trio.move_on_after(0.01):
                async with command.follow() as records:
                    async for _ in records:
                        pass


async def work(
    program: list[list[Step]], task: list[Step], session: sessions.Session, commands: list[sessions.Command]
) -> None:
    for step in task:
        try:
            await take(step, session, commands)
        except (sessions.Closed, sessions.Conflict, sessions.NotFound):
            pass  # it came too late
        except sessions.Broken as error:  # whatever else is raised is a failure
            # The keeper may be killed just as it is asked for a shell, or before that shell has answered.
            killed = any(other.text == KILLS_KEEPER for others in program for other in others)
            expected = killed and step.verb == "restart" and re.search("keeper process|exit code 137", str(error))
            if not expected:
                raise


async def play(root: Path, program: list[list[Step]], ending: str, after: float) -> tuple[str, Path]:
    """Run a program to its end; the session's id, and where the engine's run directory was."""
    commands: list[sessions.Command] = []
    limits = sessions.Limits(kill_grace_seconds=GRACE_SECONDS)
    with trio.fail_after(90):
        async with sessions.open_engine(root, limits=limits) as engine:
            owner = root / "engines" / engine.id
            run_directory = Path(json.loads(owner.read_text())["run_directory"])
            session = await engine.create_session("test")
            async with trio.open_nursery() as nursery:
                for task in program:
                    nursery.start_soon(work, program, task, session, commands)
                await trio.sleep(after)
                match ending:
                    case "wait":
                        nursery.cancel_scope.deadline = trio.current_time() + 1
                    case "leave":
                        nursery.cancel_scope.cancel()
                    case "close":
                        await session.close()
                        assert leftovers({session.id}) == []
                        assert list(run_directory.rglob("*")) == []
                    case "delete":
                        await engine.delete_session("test")
                        assert leftovers({session.id}) == []
    return session.id, run_directory


async def check_history(root: Path, session_id: str) -> None:
    """Everything has one end, in the log, in the catalog and among the events."""
    async with sessions.open_engine(root) as engine:
        session = await engine.get_session(session_id)
        commands = await session.list_commands()
        assert session.state == "closed"
        for command in commands:
            logs = await command.logs()
            assert command.state == "finished"
            assert (command.exit_code is None) <= (command.reason in ("session_closed", "shell_died", "killed"))
            assert (command.stdout_bytes, command.stderr_bytes) == (len(logs.stdout), len(logs.stderr))
            if command.reason == "exit" and command.exit_code == 0 and command.text in EXPECTED:
                assert logs.stdout == EXPECTED[command.text]
            if command.started_at is not None and command.finished_at is not None:
                assert command.queued_at <= command.started_at <= command.finished_at
        assert sum(command.size_bytes for command in commands) == len((await session.logs()).output)
        expected = {("session_created", None): 1, ("session_closed", None): 1}
        for command in commands:
            expected["command_queued", command.id] = expected["command_finished", command.id] = 1
            if command.started_at is not None:
                expected["command_started", command.id] = 1
        last = await engine.create_session()
        told: Counter[tuple[str, str | None]] = Counter()
        async with engine.watch(after=0) as events:
            async for event in events:
                if event.session_id == last.id:
                    break
                told[event.type, event.command_id] += 1
        assert told == expected
    reader = TranscriptReader.open(session_id, root / "sessions" / session_id)
    try:
        marks = Counter(span.number for span in reader.spans(0, reader.count()[0]) if span.is_finish)
    finally:
        reader.close()
    assert marks == {command.info.number: 1 for command in commands}


@settings(
    max_examples=25,
    deadline=None,
    # With real shells, making a failing program smaller would take longer than reading it.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(programs)
def test_in_the_end_nothing_is_left_but_history(drawn: tuple[list[list[Step]], str, float]) -> None:
    program, ending, after = drawn
    descriptors = open_descriptors()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        session_id, run_directory = trio.run(play, root, program, ending, after)
        assert leftovers({session_id}) == []
        assert not run_directory.exists()
        assert open_descriptors() == descriptors
        if ending == "delete":
            assert not (root / "sessions" / session_id).exists()
        else:
            trio.run(check_history, root, session_id)
        assert list((root / "engines").iterdir()) == []

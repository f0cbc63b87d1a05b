"""Stdin: at its end unless asked for, fed at once or piece by piece, and never a terminal that nobody sits at."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys

import pytest
import trio
from conftest import SHELLS

import sessions

AT_ONCE_SECONDS = 10
"""Far more than a busy machine needs."""
PYTHON = shlex.quote(sys.executable)


async def finish(command: sessions.Command) -> tuple[int | None, bytes]:
    """Wait for it, but not long; its exit code and stdout."""
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait()
    return command.exit_code, (await command.logs()).stdout


# Without stdin


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_without_stdin_a_reader_is_at_its_end_at_once(
    engine: sessions.Engine, shell: str, in_shell: bool
) -> None:
    session = await engine.create_session(shell=shell)
    command = await session.run_async('cat; read x; echo "rc=$? x=$x"; sh -c cat; (cat) | cat', in_shell=in_shell)
    assert await finish(command) == (0, b"rc=1 x=\n")


async def test_a_reader_does_not_take_the_next_command_for_input(session: sessions.Session) -> None:
    commands = [await session.run_async("cat; read line; echo $line", in_shell=True) for _ in range(10)]
    commands.append(await session.run_async("echo end", in_shell=True))
    assert [await finish(command) for command in commands] == [(0, b"\n")] * 10 + [(0, b"end\n")]


@pytest.mark.parametrize("in_shell", [True, False])
async def test_input_to_a_command_without_stdin_is_refused(session: sessions.Session, in_shell: bool) -> None:
    command = await session.run_async("sleep 600", in_shell=in_shell)
    with pytest.raises(sessions.Conflict, match="stdin=True"):
        await command.send_input("x")
    with pytest.raises(sessions.Conflict, match="stdin=True"):
        await command.close_input()
    await command.kill()


# No terminal


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_question_at_the_terminal_fails_at_once(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell)
    command = await session.run_async("(read x </dev/tty) || echo no terminal; tty", in_shell=in_shell)
    assert await finish(command) == (1, b"no terminal\nnot a tty\n")


async def test_a_program_that_asks_for_a_password_fails_at_once(session: sessions.Session) -> None:
    program = "import os; os.open('/dev/tty', os.O_RDWR)"
    with trio.fail_after(AT_ONCE_SECONDS):
        result = await session.run(f"{PYTHON} -c {shlex.quote(program)}")
    assert result.exit_code == 1
    assert "/dev/tty" in result.stderr


async def test_a_program_can_not_get_at_our_terminal(session: sessions.Session) -> None:
    result = await session.run("ps -o sid=,tty= -p $$; echo $$")
    sid, terminal, pid = result.stdout.split()
    assert sid == pid != str(os.getsid(0))
    assert terminal == "?"


# Given as a whole


@pytest.mark.parametrize("shell", SHELLS)
async def test_input_given_at_the_start_is_read_to_its_end(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    with trio.fail_after(AT_ONCE_SECONDS):
        assert (await session.run("cat", stdin=b"a\0b\n\xff")).logs.stdout == b"a\0b\n\xff"
        assert (await session.run("cat", stdin="é\n")).stdout == "é\n"
        assert (await session.run("cat; echo end", stdin=b"")).stdout == "end\n"
        assert (await session.run("read a; read b; echo $b $a", stdin="1\n2\n")).stdout == "2 1\n"
    assert await finish(await session.run_async("cat", stdin=b"beside")) == (0, b"beside")


@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_megabyte_goes_through(session: sessions.Session, in_shell: bool) -> None:
    data = os.urandom(1 << 20)
    command = await session.run_async("sha256sum", stdin=data, in_shell=in_shell)
    assert await finish(command) == (0, f"{hashlib.sha256(data).hexdigest()}  -\n".encode())
    command = await session.run_async("cat", stdin=data, in_shell=in_shell)
    exit_code, output = await finish(command)
    assert (exit_code, len(output), output == data) == (0, len(data), True)


@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_command_that_reads_only_a_part(session: sessions.Session, in_shell: bool) -> None:
    for text in ("head -c 3", "exec <&-; printf abc"):
        if not (in_shell and "exec" in text):
            command = await session.run_async(text, stdin=b"abc" * 1_000_000, in_shell=in_shell)
            assert await finish(command) == (0, b"abc")
    assert (await session.run("cat; echo untouched")).stdout == "untouched\n"


async def test_input_is_not_left_for_the_next_command(session: sessions.Session) -> None:
    await session.run("read x", stdin="one\ntwo\nthree\n")
    assert (await session.run("cat; echo end")).stdout == "end\n"
    assert (await session.run("cat", stdin="four\n")).stdout == "four\n"


# Piece by piece


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_conversation(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell)
    text = "echo 'name?'; read name; echo hello $name; cat; echo end"
    command = await session.run_async(text, stdin=True, in_shell=in_shell)
    await command.wait_for(r"name\?")
    await command.send_input(b"you\n")
    await command.wait_for("hello you")
    await command.send_input("more")
    await command.wait_for("more")
    assert command.state == "running"
    await command.close_input()
    await command.close_input()
    assert await finish(command) == (0, b"name?\nhello you\nmoreend\n")


async def test_input_sent_at_once_waits_for_the_command(session: sessions.Session) -> None:
    first = await session.run_async("read x", in_shell=True, stdin=True)
    queued = await session.run_async("cat", in_shell=True, stdin=True)
    await queued.send_input("early\n")
    await queued.close_input()
    assert queued.state == "queued"
    await first.close_input()
    assert await finish(queued) == (0, b"early\n")


async def test_more_input_than_a_pipe_holds_waits_for_the_reader(session: sessions.Session) -> None:
    data = os.urandom(1 << 20)
    command = await session.run_async("read go; sha256sum", stdin=True)
    async with trio.open_nursery() as nursery:
        sent = trio.Event()

        async def send() -> None:
            await command.send_input(b"go\n" + data)
            sent.set()

        nursery.start_soon(send)
        with trio.fail_after(AT_ONCE_SECONDS):
            await sent.wait()
    await command.close_input()
    assert await finish(command) == (0, f"{hashlib.sha256(data).hexdigest()}  -\n".encode())


async def test_a_sender_that_waits_for_a_reader_can_be_cancelled(session: sessions.Session) -> None:
    command = await session.run_async("sleep 600", stdin=True)
    with trio.move_on_after(0.2) as scope:
        await command.send_input(bytes(8 << 20))
    assert scope.cancelled_caught
    await command.kill()


async def test_a_sender_is_told_when_the_command_ends_without_reading(session: sessions.Session) -> None:
    command = await session.run_async("sleep 600", stdin=True)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(sessions.Closed, match=command.id):
                    await command.send_input(bytes(8 << 20))

            nursery.start_soon(send)
            await command.kill()


async def test_senders_at_the_same_time_do_not_mix_their_pieces(session: sessions.Session) -> None:
    command = await session.run_async("cat", stdin=True)
    pieces = [bytes([number]) * 200_000 for number in range(10)]
    async with trio.open_nursery() as nursery:
        for piece in pieces:
            nursery.start_soon(command.send_input, piece)
    await command.close_input()
    _, output = await finish(command)
    assert (
        sorted(output[start : start + 200_000] == pieces[output[start]] for start in range(0, 2_000_000, 200_000))
        == [True] * 10
    )


# Closed


@pytest.mark.parametrize("in_shell", [True, False])
async def test_closed_input_takes_no_more(session: sessions.Session, in_shell: bool) -> None:
    command = await session.run_async("cat; sleep 600", stdin=True, in_shell=in_shell)
    await command.close_input()
    with pytest.raises(sessions.Closed, match=command.id):
        await command.send_input("late")
    await command.kill()


async def test_input_of_a_command_that_closed_it_raises(session: sessions.Session) -> None:
    command = await session.run_async("exec <&-; echo closed; exec sleep 600", stdin=True)
    await command.wait_for("closed")
    with pytest.raises(sessions.Closed, match=command.id):
        for _ in range(2):
            await command.send_input("late")
    await command.kill()


async def test_input_of_a_finished_command_raises(session: sessions.Session) -> None:
    command = await session.run_async("read x", stdin=True)
    await command.send_input("x\n")
    await command.wait()
    with pytest.raises(sessions.Closed, match=command.id):
        await command.send_input("late")
    await command.close_input()


async def test_input_that_is_no_text_and_no_bytes_is_refused(session: sessions.Session) -> None:
    with pytest.raises(sessions.Invalid):
        await session.run_async("cat", stdin=3)  # type: ignore[arg-type]
    assert await session.list_commands() == []

"""Checks of processes with a stdin (stdio) and of terminals (pty): ``python declaw_terminals.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any

import httpx
from declaw import PtySize
from declaw_clients import Check, Client, run_checks, until

BYTES = bytes(range(256))


class Heard:
    """What the callbacks of a process or of a terminal were told."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""

    def on_stdout(self, data: bytes) -> None:
        self.out += data

    def on_stderr(self, data: bytes) -> None:
        self.err += data

    async def until(self, text: bytes) -> None:
        await asyncio.wait_for(until(lambda: text in self.out), 20)


async def stdio_carries_bytes(client: Client) -> None:
    heard = Heard()
    process = await client.call(client.sandbox.stdio.start, "cat; echo end >&2; exit 4", on_stdout=heard.on_stdout,
                                on_stderr=heard.on_stderr)  # fmt: skip
    await client.call(process.send_stdin, BYTES)
    await heard.until(BYTES)
    await client.call(process.send_stdin, "text ü")
    await heard.until("text ü".encode())
    await client.call(process.close_stdin)
    assert (await client.call(process.wait)).exit_code == 4
    assert (heard.out, heard.err) == (BYTES + "text ü".encode(), b"end\n")
    assert process.exit_code == 4
    await client.refused("ConflictException", process.send_stdin, b"late")
    assert not await client.call(process.kill)


async def stdio_is_read_from_its_start_and_once(client: Client) -> None:
    text = "echo $A; pwd; read a; echo got $a; echo err >&2; exit 2"
    process = await client.call(client.sandbox.stdio.start, text, envs={"A": "b"}, cwd="/usr")
    await client.call(process.send_stdin, b"in\n")
    heard = Heard()
    result = await client.call(process.stream, on_stdout=heard.on_stdout, on_stderr=heard.on_stderr)
    assert (int(result), heard.out, heard.err) == (2, b"b\n/usr\ngot in\n", b"err\n")
    assert await client.iterate(process) == []  # all that has been read, and it said how far


async def stdio_may_be_large(client: Client) -> None:
    process = await client.call(client.sandbox.stdio.start, "head -c 3000000 /dev/urandom | tee copy; cksum copy >&2")
    heard = Heard()
    await client.call(process.stream, on_stdout=heard.on_stdout, on_stderr=heard.on_stderr)
    assert len(heard.out) == 3000000
    assert heard.err.split()[1] == b"3000000"
    process = await client.call(client.sandbox.stdio.start, "cksum")
    for begin in range(0, 3000000, 1000000):
        await client.call(process.send_stdin, heard.out[begin : begin + 1000000])
    await client.call(process.close_stdin)
    ((stream, told),) = await client.iterate(process)
    assert (stream, told.split()[0]) == ("stdout", heard.err.split()[0])


async def stdio_is_killed(client: Client) -> None:
    process = await client.call(client.sandbox.stdio.start, "trap '' TERM; cat; sleep 1000")
    reading = asyncio.ensure_future(client.iterate(process))
    assert str(process.cmd_id) in [str(item.pid) for item in await client.list()]
    other = await client.call(client.sandbox.stdio.start, "read a")
    assert await client.call(other.kill)
    assert not await client.call(other.kill)
    assert await client.call(client.method("kill", "kill_command"), int(process.cmd_id))
    assert await reading == []
    assert process.exit_code == 137


async def terminal_is_used_by_a_person(client: Client) -> None:
    heard = Heard()
    options: Any = {"envs": {"PV": "a b"}, "cwd": "/usr", "on_data": heard.on_stdout}
    terminal = await client.call(client.sandbox.pty.create, PtySize(cols=100, rows=30), **options)
    await client.call(terminal.send_stdin, "stty -echo; PS1=; echo $PV $PWD $TERM $((6 * 7)); stty size\n")
    await heard.until(b"a b /usr xterm-256color 42\r\n30 100\r\n")
    await client.call(terminal.resize, PtySize(cols=70, rows=20))
    await client.call(terminal.send_stdin, b"stty size; echo \xc3\xbc; shopt -q login_shell && echo login\n")
    await heard.until("20 70\r\nü\r\nlogin\r\n".encode())
    (listed,) = [item for item in await client.list() if item.is_pty]
    assert (listed.pid, listed.cmd) == (terminal.pid, "bash -l")
    await client.call(terminal.send_stdin, "exit 6\n")
    assert (await client.call(terminal.wait)).exit_code == 6
    assert terminal.exit_code == 6
    assert terminal.pid not in [item.pid for item in await client.list()]


async def terminal_keeps_what_it_draws_for_its_first_client(client: Client) -> None:
    terminal = await client.call(client.sandbox.pty.create)
    await client.call(client.sandbox.pty.send_stdin, terminal.pid, "stty -echo; PS1=; echo first $((6 * 7)); exit 3\n")
    drawn = b"".join(await client.iterate(terminal))
    assert b"first 42\r\n" in drawn
    assert terminal.exit_code == 3
    again = client.sandbox.pty.connect(terminal.pid)
    assert (await client.iterate(again), again.exit_code) == ([], 3)


async def terminal_is_seen_by_several(client: Client) -> None:
    first, second = Heard(), Heard()
    terminal = await client.call(client.sandbox.pty.create, on_data=first.on_stdout)
    await client.call(terminal.send_stdin, "stty -echo; PS1=; echo be$((1))gun\n")
    await first.until(b"be1gun\r\n")
    other = client.sandbox.pty.connect(terminal.pid, on_data=second.on_stdout)
    while b"tick" not in second.out:  # it sees what comes once it is there
        await client.call(other.send_stdin, "echo tick\n")
        await asyncio.sleep(0.05)
    assert b"be1gun" not in second.out
    with suppress(asyncio.CancelledError):  # the async client lets its own cancellation out
        await client.call(terminal.disconnect)
    await client.call(client.sandbox.pty.resize, terminal.pid, PtySize(cols=77, rows=11))
    await client.call(other.send_stdin, "stty size\n")
    await second.until(b"11 77\r\n")
    await client.call(other.send_stdin, "exit\n")
    assert (await client.call(other.wait)).exit_code == 0


async def terminal_is_its_users(client: Client) -> None:
    own = (await client.run("id -un")).stdout.strip()
    for user, name in (("no-such-account", own), ("nobody", own if os.getuid() else "nobody")):
        heard = Heard()
        terminal = await client.call(client.sandbox.pty.create, user=user, envs={"PV": "a b"}, on_data=heard.on_stdout)
        text = (
            "stty -echo; PS1=; echo $(id -un) $PV >$(tty); stty size; shopt -q login_shell && echo login; sleep 1000\n"
        )
        await client.call(terminal.send_stdin, text)
        await heard.until(f"{name} a b\r\n24 80\r\nlogin\r\n".encode())
        await client.call(terminal.send_stdin, b"\x03")  # which needs a terminal that it may control
        await client.call(terminal.send_stdin, "echo $?; exit 5\n")
        await heard.until(b"130\r\n")
        assert (await client.call(terminal.wait)).exit_code == 5


async def terminal_is_killed(client: Client) -> None:
    terminal = await client.call(client.sandbox.pty.create)
    await client.call(terminal.send_stdin, f"sleep {client.long} & trap '' HUP TERM; sleep {client.long}\n")
    assert await client.call(client.sandbox.pty.kill, terminal.pid)
    assert not await client.call(client.sandbox.pty.kill, terminal.pid)
    assert (await client.call(terminal.wait)).exit_code == 137
    assert await client.sleepers() == ""
    await client.refused("NotFoundException", client.sandbox.pty.kill, 10**6)


async def unknown_ones_are_refused(client: Client) -> None:
    process = await client.call(client.sandbox.stdio.start, "cat")
    cmd_id, process._cmd_id = process._cmd_id, "1000000"
    for method in (process.kill, process.close_stdin):
        await client.refused("NotFoundException", method)
    await client.refused("NotFoundException", process.send_stdin, b"x")
    pty = client.sandbox.pty
    await client.refused("NotFoundException", pty.send_stdin, 10**6, "x")
    await client.refused("NotFoundException", pty.resize, 10**6, PtySize(cols=70, rows=20))
    for reader in (process, pty.connect(10**6)):  # their errors have no type of the SDK's
        try:
            raise AssertionError(await client.iterate(reader))
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 404
    process._cmd_id = cmd_id
    assert await client.call(process.kill)


async def terminal_ends_in_time(client: Client) -> None:
    terminal = await client.call(client.sandbox.pty.create, timeout=0.5)
    assert (await client.call(terminal.wait)).exit_code == 124
    again = client.sandbox.pty.connect(terminal.pid)
    assert (await client.call(again.wait)).exit_code == 124


CHECKS: list[Check] = [
    stdio_carries_bytes,
    stdio_is_read_from_its_start_and_once,
    stdio_may_be_large,
    stdio_is_killed,
    terminal_is_used_by_a_person,
    terminal_keeps_what_it_draws_for_its_first_client,
    terminal_is_seen_by_several,
    terminal_is_its_users,
    terminal_is_killed,
    unknown_ones_are_refused,
    terminal_ends_in_time,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

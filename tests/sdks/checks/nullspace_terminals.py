"""Checks of terminals: ``python nullspace_terminals.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from nullspace_clients import Check, Client, run_checks


class Screen:
    """One client of a terminal, and what it was shown."""

    def __init__(self, client: Client, session: Any) -> None:
        self._client = client
        self.session = session
        self.drawn = b""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> Any:
        return await self._client.call(self.session.wait, on_data=self._draw)

    def _draw(self, data: bytes) -> None:
        self.drawn += data

    async def type(self, keys: str | bytes) -> None:
        await self._client.call(self.session.send_input, keys)

    async def see(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.drawn:
                await asyncio.sleep(0.01)

    async def end(self) -> Any:
        async with asyncio.timeout(30):
            return await self._reading


async def open_screen(client: Client, **options: Any) -> Screen:
    screen = Screen(client, await client.call(client.machine.pty.create_session, **options))
    await screen.type("stty -echo; PS1=; echo o$((0))n\n")
    await screen.see(b"o0n")
    return screen


async def terminal_is_used_by_a_person(client: Client) -> None:
    pty = client.machine.pty
    screen = await open_screen(client, cols=100, rows=20, cwd="/usr", envs={"A": "x y"})
    await screen.type("echo $A $PWD; stty size\n")
    await screen.see(b"20 100\r\n")
    assert b"x y /usr\r\n" in screen.drawn
    await client.call(screen.session.resize, 132, 40)
    await screen.type(b"stty size\n")
    await screen.see(b"40 132\r\n")
    await client.call(pty.resize_session, screen.session.session_id, 90, 10)
    await screen.type("stty size; echo gr\u00f6\u00dfe; printf '\\xff\\0|'\n")
    await screen.see(b"10 90\r\n")
    await screen.see("gr\u00f6\u00dfe\r\n".encode())
    await screen.see(b"\xff\0|")
    info = await client.call(pty.get_session_info, screen.session.session_id)
    assert (info.session_id, info.pid, info.cols, info.rows) == (screen.session.session_id, screen.session.pid, 90, 10)
    assert [item.session_id for item in await client.call(pty.list_sessions)] == [info.session_id]
    await screen.type("exit 3\n")
    found = await screen.end()
    assert (found.exit_code, found.error, found.timed_out) == (3, None, False)
    assert await client.call(pty.list_sessions) == []
    error = await client.refused("NotFoundError", pty.get_session_info, info.session_id)
    assert error.code == "pty_session_not_found"
    error = await client.refused("MachineError", pty.connect, session_id=info.session_id)
    assert error.code == "pty_session_not_found"


async def terminal_is_left_and_joined_again(client: Client) -> None:
    pty = client.machine.pty
    screen = await open_screen(client)
    await screen.type("echo first-$((1 + 1))\n")
    await screen.see(b"first-2")
    await client.call(screen.session.disconnect)
    await asyncio.wait([screen._reading])
    screen._reading.exception()
    id, pid = screen.session.session_id, screen.session.pid
    by_id = Screen(client, await client.call(pty.connect, session_id=id))
    by_pid = Screen(client, await client.call(pty.connect, pid))
    assert by_pid.session.session_id == id
    await by_id.see(b"first-2")
    await by_id.type("echo both-$((6 * 7))\n")
    await by_id.see(b"both-42")
    await by_pid.see(b"both-42")
    await by_pid.type("exit\n")
    assert (await by_id.end()).exit_code == (await by_pid.end()).exit_code == 0


async def terminal_is_waited_for_in_vain(client: Client) -> None:
    session = await client.call(client.machine.pty.create_session)
    found = await client.call(session.wait, timeout=1)
    assert (found.exit_code, found.timed_out) == (124, True)
    assert [item.session_id for item in await client.call(client.machine.pty.list_sessions)] == [session.session_id]
    await client.call(client.machine.pty.kill_session, session.session_id)
    assert await client.call(client.machine.pty.list_sessions) == []
    await client.refused("NotFoundError", client.machine.pty.kill_session, session.session_id)


async def terminal_is_killed(client: Client) -> None:
    nap = client.nap()
    screen = await open_screen(client)
    await screen.type(f"trap '' HUP TERM; ({nap} &); echo s$((0))t; {nap}\n")
    await screen.see(b"s0t")
    await client.call(screen.session.kill)
    assert (await screen.end()).exit_code == 137
    assert not await client.runs(nap)


async def terminal_is_told_control_keys(client: Client) -> None:
    screen = await open_screen(client)
    # At a prompt, bash may put off its trap if Ctrl-C comes just before it waits for keys.
    await screen.type("(trap 'echo caug$((0))ht; exit' INT; echo s$((0))t; while :; do :; done); cat; exit 4\n")
    await screen.see(b"s0t")
    await screen.type(b"\x03")
    await screen.see(b"caug0ht")
    await screen.type(b"\x04")
    assert (await screen.end()).exit_code == 4


async def terminal_that_cannot_be_opened(client: Client) -> None:
    error = await client.refused("MachineError", client.machine.pty.create_session, cwd="/nowhere")
    assert error.code == "invalid_request"
    assert "/nowhere" in str(error)


CHECKS: list[Check] = [
    terminal_is_used_by_a_person,
    terminal_is_left_and_joined_again,
    terminal_is_waited_for_in_vain,
    terminal_is_killed,
    terminal_is_told_control_keys,
    terminal_that_cannot_be_opened,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

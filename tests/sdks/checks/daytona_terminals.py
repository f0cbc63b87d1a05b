"""Checks of terminals (PTY sessions): ``python daytona_terminals.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from daytona import PtySize
from daytona_clients import Check, Client, run_checks


class Screen:
    """A terminal's handle of either client, and all that it has drawn."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.drawn = b""
        self.handle: Any = None
        self._reading: asyncio.Future[Any] | None = None

    def _draw(self, data: bytes) -> None:
        self.drawn += data

    async def create(self, name: str, **options: Any) -> Screen:
        return await self._open(self.client.process.create_pty_session, name, **options)

    async def connect(self, name: str) -> Screen:
        return await self._open(self.client.process.connect_pty_session, name)

    async def _open(self, method: Any, name: str, **options: Any) -> Screen:
        if self.client.kind == "sync":
            self.handle = await self.client.call(method, name, **options)
            self._reading = asyncio.ensure_future(asyncio.to_thread(self.handle.wait, on_data=self._draw))
        else:
            self.handle = await self.client.call(method, name, on_data=self._draw, **options)
        return self

    async def type(self, text: str) -> None:
        await self.client.call(self.handle.send_input, text)

    async def see(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.drawn:
                await asyncio.sleep(0.02)

    async def end(self) -> tuple[int | None, str | None]:
        result = await (self._reading if self._reading is not None else self.handle.wait())
        return result.exit_code, result.error


async def terminal_is_used_by_a_person(client: Client) -> None:
    size = PtySize(rows=30, cols=100)
    screen = await Screen(client).create("t1", cwd="/usr", envs={"PV": "a b"}, pty_size=size)
    await screen.type("stty -echo; PS1=; echo $PV $PWD $TERM $((6 * 7)); stty size\n")
    await screen.see(b"a b /usr xterm-256color 42")
    await screen.see(b"30 100")
    info = await client.call(client.process.get_pty_session_info, "t1")
    assert (info.id, info.cwd, info.cols, info.rows, info.active) == ("t1", "/usr", 100, 30, True)
    assert [found.id for found in await client.call(client.process.list_pty_sessions)] == ["t1"]
    resized = await client.call(client.process.resize_pty_session, "t1", PtySize(rows=40, cols=132))
    assert (resized.cols, resized.rows) == (132, 40)
    await screen.type("stty size; printf 'gr\\303\\274n\\n'\n")
    await screen.see(b"40 132")
    await screen.see("grün".encode())
    await client.refused("DaytonaConflictError", partial(create, client), "t1")
    await screen.type("exit 3\n")
    assert await screen.end() == (3, "non-zero exit")
    assert await client.call(client.process.list_pty_sessions) == []
    await client.refused("DaytonaNotFoundError", client.process.get_pty_session_info, "t1")


def create(client: Client, name: str) -> Any:
    if client.kind == "sync":
        return client.process.create_pty_session(name)
    return client.process.create_pty_session(name, on_data=lambda data: None)


def connect(client: Client, name: str) -> Any:
    if client.kind == "sync":
        return client.process.connect_pty_session(name)
    return client.process.connect_pty_session(name, on_data=lambda data: None)


async def terminal_has_several_clients(client: Client) -> None:
    first = await Screen(client).create("t2")
    await first.type("stty -echo; PS1=; echo o$((0))n\n")
    await first.see(b"o0n")
    second = await Screen(client).connect("t2")
    await second.type("echo $((6 * 7)) from second\n")
    await first.see(b"42 from second")
    await second.see(b"42 from second")
    assert b"o0n" not in second.drawn
    third = await client.call(partial(connect, client), "t2")
    await client.call(third.disconnect)
    await first.type("echo still $((1 + 1))\nexit\n")
    assert await first.end() == await second.end() == (0, None)
    assert b"still 2" in first.drawn


async def terminal_is_killed(client: Client) -> None:
    screen = await Screen(client).create("t3")
    await screen.type("trap '' HUP TERM; echo o$((0))n; sleep 600\n")
    await screen.see(b"o0n")
    await client.call(client.process.kill_pty_session, "t3")
    assert await screen.end() == (137, "SIGKILL")
    await client.refused("DaytonaNotFoundError", client.process.kill_pty_session, "t3")


async def terminal_is_told_control_keys(client: Client) -> None:
    screen = await Screen(client).create("t4")
    await screen.type("trap 'echo caug$((0))ht' INT; echo o$((0))n\n")
    await screen.see(b"o0n")
    await screen.type("\x03")
    await screen.see(b"caug0ht")
    await screen.type("\x04")
    await screen.end()


async def unknown_terminal_is_told_of(client: Client) -> None:
    try:
        screen = await Screen(client).connect("nobody")
        await screen.end()
    except Exception as error:
        assert type(error).__name__ == "DaytonaConnectionError", repr(error)
        assert "nobody" in str(error)
    else:
        raise AssertionError("there is no such terminal")


CHECKS: list[Check] = [
    terminal_is_used_by_a_person,
    terminal_has_several_clients,
    terminal_is_killed,
    terminal_is_told_control_keys,
    unknown_terminal_is_told_of,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

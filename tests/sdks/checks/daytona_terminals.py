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


def create(client: Client, name: str, **options: Any) -> Any:
    if client.kind == "sync":
        return client.process.create_pty_session(name, **options)
    return client.process.create_pty_session(name, on_data=lambda data: None, **options)


def connect(client: Client, name: str) -> Any:
    if client.kind == "sync":
        return client.process.connect_pty_session(name)
    return client.process.connect_pty_session(name, on_data=lambda data: None)


async def terminal_has_several_clients(client: Client) -> None:
    name = "t 2/ü?%"
    first = await Screen(client).create(name)
    await first.type("stty -echo; PS1=; echo o$((0))n\n")
    await first.see(b"o0n")
    second = await Screen(client).connect(name)
    await second.type("echo $((6 * 7)) from second\n")
    await first.see(b"42 from second")
    await second.see(b"42 from second")
    assert b"o0n" not in second.drawn
    third = await client.call(partial(connect, client), name)
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
    # At a prompt, bash may put off its trap if Ctrl-C comes just before it waits for keys.
    await screen.type("(trap 'echo caug$((0))ht; exit' INT; echo o$((0))n; while :; do :; done); cat; exit 4\n")
    await screen.see(b"o0n")
    await screen.type("\x03")
    await screen.see(b"caug0ht")
    await screen.type("\x04")
    assert await screen.end() == (4, "non-zero exit")


async def unknown_terminal_is_told_of(client: Client) -> None:
    try:
        screen = await Screen(client).connect("nobody")
        await screen.end()
    except Exception as error:
        assert type(error).__name__ == "DaytonaConnectionError", repr(error)
        assert "nobody" in str(error)
    else:
        raise AssertionError("there is no such terminal")


async def terminal_is_a_login_shell(client: Client) -> None:
    work = await client.call(client.sandbox.get_work_dir)
    screen = await Screen(client).create("t5", envs={"TERM": "vt100"})
    await screen.type("stty -echo; PS1=; shopt -q login_shell && echo log$((0))in $- $TERM $PWD $(tty)\n")
    await screen.see(b"/dev/pts/")
    (line,) = [line for line in screen.drawn.splitlines() if line.startswith(b"log0in")]
    _, flags, term, directory, _ = line.decode().split()
    assert "i" in flags
    assert (term, directory) == ("vt100", work)
    info = await client.call(client.process.get_pty_session_info, "t5")
    assert (info.cwd, info.cols, info.rows, info.envs["TERM"], info.lazy_start) == (work, 80, 24, "vt100", False)
    await screen.type("exit\n")
    assert await screen.end() == (0, None)


async def terminal_tells_how_it_ended(client: Client) -> None:
    for code, reason in ((1, "non-zero exit"), (130, "Ctrl+C"), (143, "SIGTERM"), (139, "signal 11")):
        screen = await Screen(client).create("t6")
        await screen.type(f"exit {code}\n")
        assert await screen.end() == (code, reason)
    screen = await Screen(client).create("t6")
    await screen.type("kill -9 $$\n")
    assert await screen.end() == (137, "SIGKILL")


async def terminal_is_held_by_its_handle(client: Client) -> None:
    screen = await Screen(client).create("t7")
    handle = screen.handle
    await client.call(handle.wait_for_connection)
    assert handle.is_connected()
    resized = await client.call(handle.resize, PtySize(rows=50, cols=90))
    assert (resized.rows, resized.cols) == (50, 90)
    await screen.type("stty size\n")
    await screen.see(b"50 90")
    await client.call(handle.kill)
    assert await screen.end() == (137, "SIGKILL")
    assert not handle.is_connected()
    await client.refused("DaytonaNotFoundError", client.process.resize_pty_session, "t7", PtySize(rows=50, cols=90))


async def terminal_can_not_be_made_of_anything(client: Client) -> None:
    for name, options in (
        ("t8", {"cwd": "/nowhere"}),
        ("t8", {"envs": {"1A": "x"}}),
        ("t8", {"pty_size": PtySize(rows=24, cols=1001)}),
        ("", {}),
    ):
        await client.refused("DaytonaBadRequestError", partial(create, client), name, **options)
    assert await client.call(client.process.list_pty_sessions) == []


async def terminal_ends_with_its_sandbox(client: Client) -> None:
    made = await client.call(client.daytona.create)
    options = {} if client.kind == "sync" else {"on_data": lambda data: None}
    handle = await client.call(partial(made.process.create_pty_session, **options), "t9")
    waiting = asyncio.create_task(client.call(handle.wait))
    await client.call(made.delete)
    result = await waiting
    assert (result.exit_code, result.error) == (137, "SIGKILL")
    await client.refused("DaytonaNotFoundError", partial(made.process.create_pty_session, **options), "t9")


CHECKS: list[Check] = [
    terminal_is_used_by_a_person,
    terminal_has_several_clients,
    terminal_is_killed,
    terminal_is_told_control_keys,
    unknown_terminal_is_told_of,
    terminal_is_a_login_shell,
    terminal_tells_how_it_ended,
    terminal_is_held_by_its_handle,
    terminal_can_not_be_made_of_anything,
    terminal_ends_with_its_sandbox,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

"""An engine beside the one of a test, in this process or in another one. Run as a program, this file is the other process."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import trio

import sessions

ECHO = 'echo up; while read -r line; do echo "$line"; echo "$line" >&2; done; exit 3'


async def other_engine(root: str, requests: AsyncIterator[str], answer: Callable[[str], Awaitable[None]]) -> None:
    """An engine with a session and a running command, which does what it is told."""
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("theirs", labels={"whose": "theirs"})
        echo = await session.run_async(ECHO, stdin=True, labels={"n": "1"})
        await echo.wait_for("up")
        await answer(json.dumps([session.id, echo.id]))
        async for request in requests:
            match request.split():
                case ["say", word]:
                    await echo.send_input(word + "\n")
                case ["end"]:
                    await echo.close_input()
                    await echo.wait()
                case ["close"]:
                    await session.close()
            await answer(request)


async def lines_of(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode()


@attrs.define
class Other:
    """The other engine, seen from here."""

    session_id: str
    command_id: str
    tell: Callable[[str], Awaitable[None]]
    """Returns when it is done."""
    kill: Callable[[], Awaitable[None]] | None = None
    """Ends its process, if that is not ours."""


async def in_this_process(root: Path) -> AsyncIterator[Other]:
    request, requests = trio.open_memory_channel[str](0)
    answer, answers = trio.open_memory_channel[str](0)

    async def tell(text: str) -> None:
        await request.send(text)
        assert await answers.receive() == text

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other_engine, str(root), requests, answer.send)
        yield Other(*json.loads(await answers.receive()), tell)
        await request.aclose()


async def in_another_process(root: Path) -> AsyncIterator[Other]:
    process = await trio.lowlevel.open_process([sys.executable, __file__, str(root)], stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    answers = lines_of(process.stdout)

    async def tell(text: str) -> None:
        assert process.stdin is not None
        await process.stdin.send_all(text.encode() + b"\n")
        assert await anext(answers) == text

    async def kill() -> None:
        process.kill()
        await process.wait()

    async with process.stdin, process.stdout:
        try:
            yield Other(*json.loads(await anext(answers)), tell, kill)
            await process.stdin.aclose()
            with trio.fail_after(30):
                await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await kill()


async def main() -> None:
    async def answer(text: str) -> None:
        print(text, flush=True)

    async with trio.lowlevel.FdStream(0) as requests:
        await other_engine(sys.argv[1], lines_of(requests), answer)


if __name__ == "__main__":
    trio.run(main)

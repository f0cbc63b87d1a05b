"""Checks of log streams: ``python daytona_streams.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from unittest.mock import patch

import daytona._async.process
import daytona._sync.process
import httpx_ws
from daytona_clients import Check, Client, run_checks


async def streams_are_exact(client: Client) -> None:
    session = await client.session()
    texts = [r"a\0b", r"\001\001\001x\002\002\002\002", r"\001", r"\001\001\001\001", r"\303", r"\274 no newline"]
    text = "; ".join(f"printf '{part}'; printf '{part}' >&2; sleep 0.05" for part in texts)
    wanted = b"".join(part.encode().decode("unicode_escape").encode("latin-1") for part in texts).decode()
    command_id = await client.start(session, text)
    assert await client.follow(session, command_id) == (wanted, wanted)
    assert await client.follow(session, command_id) == (wanted, wanted)


async def streams_are_live(client: Client) -> None:
    session = await client.session()
    command_id = await client.start(session, "printf begun; read x; sleep 600")
    first = asyncio.Event()
    seen: list[str] = []

    def note(text: str) -> None:
        seen.append(text)
        first.set()

    follow = client.process.get_session_command_logs_async
    many = [asyncio.create_task(follow(session, command_id, note, note)) for _ in range(3)]
    await first.wait()
    assert seen[0] == "begun"
    began = time.monotonic()
    await client.call(client.process.delete_session, session)
    await asyncio.gather(*many)
    assert seen == ["begun"] * 3
    assert time.monotonic() - began < 4


async def streams_tell_the_shortest_output_at_once(client: Client) -> None:
    session = await client.session()
    seen: list[str] = []
    command_id = await client.start(
        session, "printf a; read x; printf b; read x; printf '\\001'; read x", suppress_input_echo=True
    )
    follow = client.process.get_session_command_logs_async
    following = asyncio.create_task(follow(session, command_id, seen.append, seen.append))
    for wanted in ("a", "ab", "ab\1"):
        while "".join(seen) != wanted:
            await asyncio.sleep(0.01)
        await client.call(client.process.send_session_command_input, session, command_id, "go on")
    await following
    assert "".join(seen) == "ab\1"


async def streams_may_be_large(client: Client) -> None:
    session = await client.session()
    command_id = await client.start(session, "head -c 5000000 /dev/zero | tr '\\0' x; seq 20000 >&2")
    out, err = await client.follow(session, command_id)
    assert (len(out), out.strip("x")) == (5_000_000, "")
    assert err == "".join(f"{number}\n" for number in range(1, 20001))


async def streams_end_though_something_keeps_the_output_open(client: Client) -> None:
    session = await client.session()
    command_id = await client.start(session, "sleep 600 & echo on")
    assert await client.follow(session, command_id) == ("on\n", "")
    odd = "a b/ü?%"
    await client.call(client.process.create_session, odd)
    assert await client.follow(odd, await client.start(odd, "echo here")) == ("here\n", "")
    await client.call(client.process.delete_session, odd)


async def streams_survive_silence(client: Client) -> None:
    """Both clients ask every 20 seconds whether the server is there, and give up without an answer; here much sooner."""
    keeping = {"keepalive_ping_interval_seconds": 2.5, "keepalive_ping_timeout_seconds": 2.5}
    session = await client.session()
    with (
        patch.object(daytona._sync.process.httpx_ws, "connect_ws", partial(httpx_ws.connect_ws, **keeping)),
        patch.object(daytona._async.process, "WS_KEEPALIVE_INTERVAL_SECONDS", 2.5),
    ):
        command_id = await client.start(session, "echo before; sleep 6; echo after")
        assert await client.follow(session, command_id) == ("before\nafter\n", "")


CHECKS: list[Check] = [
    streams_are_exact,
    streams_are_live,
    streams_tell_the_shortest_output_at_once,
    streams_may_be_large,
    streams_end_though_something_keeps_the_output_open,
    streams_survive_silence,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

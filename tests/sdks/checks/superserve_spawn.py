"""Checks of spawned commands, which the async client alone has: ``python superserve_spawn.py``."""

from __future__ import annotations

import asyncio
import functools
import sys
import time

import websockets
from superserve import SandboxError
from superserve_clients import Check, Client, run_checks


async def spawn_is_written_to(client: Client) -> None:
    seen: list[str] = []
    spawn = client.sandbox.commands.spawn
    async with await spawn("read a; echo got $a; cat; echo e >&2; exit 3", on_stdout=seen.append) as session:
        await session.stdin.write("one\n")
        while "".join(seen) != "got one\n":
            await asyncio.sleep(0.01)
        await session.stdin.write(b"\xc3")
        await session.stdin.write("")
        await session.stdin.write(b"\xbc no newline")
        await session.stdin.close()
        result = await session.wait()
    assert (result.stdout, result.stderr, result.exit_code) == ("got one\nü no newline", "e\n", 3)
    assert "".join(seen) == result.stdout
    await session.stdin.write("late")
    await session.kill()


async def spawn_takes_directory_and_environment(client: Client) -> None:
    session = await client.sandbox.commands.spawn("pwd; echo $A $WHO", cwd="/usr", env={"A": "b"})
    assert (await session.wait()).stdout == "/usr\nb me\n"
    session = await client.sandbox.commands.spawn("true", cwd="/nowhere")
    result = await session.wait()
    assert (result.exit_code, "/nowhere" in result.stderr) == (127, True)
    session = await client.sandbox.commands.spawn("no-such-program")
    assert (await session.wait()).exit_code == 127
    session = await client.sandbox.commands.spawn("")
    result = await session.wait()
    assert (result.exit_code, "command" in result.stderr) == (126, True)


async def spawn_may_be_long(client: Client) -> None:
    session = await client.sandbox.commands.spawn(f"read a; : {'x' * 200_000}; echo got $a; exit 3")
    await session.stdin.write("one\n")
    result = await session.wait()
    assert (result.stdout, result.stderr, result.exit_code) == ("got one\n", "", 3)


async def spawn_is_signalled(client: Client) -> None:
    spawn = client.sandbox.commands.spawn
    for name, code in (("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", 137)):
        # Some shells lose a SIGINT that comes while they start a program.
        session = await spawn(f"exec sleep {client.number}")
        await session.kill("SIGNONE")  # is ignored
        await session.kill(name)
        assert (await session.wait()).exit_code == code
    seen: list[str] = []
    session = await spawn(
        "trap 'echo caught; exit 5' TERM; echo go; while :; do sleep 0.05; done", on_stdout=seen.append
    )
    while not seen:
        await asyncio.sleep(0.01)
    await session.kill()
    result = await session.wait()
    assert (result.stdout, result.exit_code) == ("go\ncaught\n", 5)


async def spawn_is_limited_in_time(client: Client) -> None:
    begun, nap = time.monotonic(), f"sleep {client.number}"
    session = await client.sandbox.commands.spawn(f"trap '' TERM; echo go; {nap} & {nap}; {nap}", timeout_seconds=1)
    result = await session.wait()
    assert (result.stdout, result.exit_code) == ("go\n", 124)
    assert time.monotonic() - begun < 4
    assert await client.sleeping() == ""


async def spawn_is_exact(client: Client) -> None:
    session = await client.sandbox.commands.spawn("head -c 3145728 /dev/zero | tr '\\0' z; seq 5000 >&2")
    result = await session.wait()
    assert result.stdout == "z" * 3145728
    assert result.stderr == "".join(f"{number}\n" for number in range(1, 5001))
    session = await client.sandbox.commands.spawn("wc -c; head -c 10 </dev/zero")
    await session.stdin.write(b"x" * 5_000_000)
    await session.stdin.close()
    assert (await session.wait()).stdout == "5000000\n" + "\0" * 10


async def spawn_never_splits_a_character(client: Client) -> None:
    out: list[str] = []
    err: list[str] = []
    text = "ü€😀\u2028\x85\0end"
    parts = "".join(f"printf '\\{byte:03o}' | tee /dev/stderr; sleep 0.01; " for byte in text.encode())
    parts += "printf 'a\\377b'"
    session = await client.sandbox.commands.spawn(parts, on_stdout=out.append, on_stderr=err.append)
    result = await session.wait()
    assert (result.stdout, result.stderr) == (text + "a\ufffdb", text)
    assert ("".join(out), "".join(err)) == (result.stdout, result.stderr)


async def spawn_ends_with_its_client(client: Client) -> None:
    spawn, nap = client.sandbox.commands.spawn, f"sleep {client.number}"
    async with await spawn(f"trap '' TERM; {nap} & {nap}; {nap}"):
        while await client.sleeping() == "":
            await asyncio.sleep(0.05)
    while await client.sleeping() != "":
        await asyncio.sleep(0.05)
    session = await spawn(nap)
    while await client.sleeping() == "":
        await asyncio.sleep(0.05)
    session._ws.transport.abort()  # without a word
    try:
        await session.wait()
    except SandboxError as error:
        assert "connection closed before the command finished" in str(error)
    while await client.sleeping() != "":
        await asyncio.sleep(0.05)


async def spawn_wakes_its_sandbox(client: Client) -> None:
    other = await client.call(client.sandboxes.create, name="w")
    await client.call(other.pause)
    session = await other.commands.spawn("echo awake")
    assert (await session.wait()).stdout == "awake\n"
    other._access_token = client.sandbox._access_token
    session = await other.commands.spawn("echo mine")
    assert (await session.wait()).stdout == "mine\n"
    assert other._access_token != client.sandbox._access_token
    session = await other.commands.spawn("sleep 1000")
    await client.call(other.kill)
    assert (await session.wait()).exit_code == 137


async def spawn_may_be_silent_for_long(client: Client) -> None:
    usual = websockets.connect
    websockets.connect = functools.partial(usual, ping_interval=0.2, ping_timeout=20)  # instead of each twenty seconds
    try:
        session = await client.sandbox.commands.spawn("read a; echo got $a")
    finally:
        websockets.connect = usual
    while session._ws.latency == 0:  # until an answer has come, without which a client would leave
        await asyncio.sleep(0.05)
    await session.stdin.write("x\n")
    assert (await session.wait()).stdout == "got x\n"


async def spawn_takes_hints_of_where_its_sandbox_is(client: Client) -> None:
    client.sandbox._routing_hint = "a.e30.b"
    session = await client.sandbox.commands.spawn("echo x")
    assert (session._ws.subprotocol, (await session.wait()).stdout) == ("superserve.exec.v1", "x\n")
    client.sandbox._routing_hint = None


CHECKS: list[Check] = [
    spawn_is_written_to,
    spawn_takes_directory_and_environment,
    spawn_may_be_long,
    spawn_is_signalled,
    spawn_is_limited_in_time,
    spawn_is_exact,
    spawn_never_splits_a_character,
    spawn_ends_with_its_client,
    spawn_wakes_its_sandbox,
    spawn_may_be_silent_for_long,
    spawn_takes_hints_of_where_its_sandbox_is,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

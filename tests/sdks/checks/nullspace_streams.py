"""Checks of commands over the exec WebSocket: ``python nullspace_streams.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from nullspace_clients import Check, Client, Texts, run_checks


async def streaming_is_live(client: Client) -> None:
    def answer(text: str) -> None:
        """What the command waits for before it goes on."""
        Path(text.strip()).touch()

    text = "echo $PWD/heard; until test -e heard; do sleep 0.02; done; rm heard; echo err >&2; exit 5"
    found = await client.call(client.commands.run_streaming, text, shell=True, on_stdout=answer)
    assert (found.exit_code, found.stderr) == (5, "err\n")
    assert found.stdout.endswith("/heard\n")


async def run_with_callbacks_streams(client: Client) -> None:
    texts = Texts()
    options: dict[str, Any] = {"cwd": "/usr", "envs": {"A": "x y"}, **texts.options}
    found = await client.run("sh", ["-c", 'echo "$1" $PWD $A; echo err >&2', "sh", "a b"], **options)
    assert (found.exit_code, found.stdout, found.stderr) == (0, "a b /usr x y\n", "err\n")
    assert texts.both == (found.stdout, found.stderr)


async def one_callback_makes_a_stream(client: Client) -> None:
    texts = Texts()
    for name, callback in texts.options.items():
        found = await client.shell("echo out; echo err >&2; exit 3", **{name: callback})
        assert (found.exit_code, found.stdout, found.stderr) == (3, "out\n", "err\n")
    assert texts.both == ("out\n", "err\n")


async def streaming_times_out(client: Client) -> None:
    nap = client.nap()
    text = f"echo before; trap '' TERM; {nap} & {nap}"
    found = await client.call(client.commands.run_streaming, text, shell=True, timeout=1)
    assert (found.exit_code, found.stdout) == (124, "before\n")
    assert not await client.runs(nap)


async def streaming_of_what_cannot_be_started(client: Client) -> None:
    found = await client.call(client.commands.run_streaming, "nosuch", ["x"])
    assert found.exit_code == 127
    assert "not found" in found.stderr
    found = await client.call(client.commands.run_streaming, "true", cwd="/nowhere")
    assert found.exit_code == 127
    assert "/nowhere" in found.stderr
    error = await client.refused(RuntimeError, client.commands.run_streaming, "echo", ["x"], shell=True)
    assert "args" in str(error)


async def unicode_is_never_split(client: Client) -> None:
    texts = Texts()
    text = (
        "import os, time\nfor byte in 'aü€😀\\0'.encode() + b'\\xff\\xc3': os.write(1, bytes([byte])); time.sleep(0.02)"
    )
    found = await client.run("python3", ["-c", text], **texts.options)
    assert found.stdout == "aü€😀\0\ufffd\ufffd"
    assert texts.both == (found.stdout, "")


async def large_output_is_whole(client: Client) -> None:
    writer = "import os\nos.write(1, b'\\0' * (1 << 20))\nos.write(2, '\u20ac'.encode() * (1 << 20))"
    found = await client.call(client.commands.run_streaming, "python3", ["-c", writer])
    assert found.stdout == "\0" * (1 << 20)
    assert found.stderr == "\u20ac" * (1 << 20)


async def background_is_live(client: Client) -> None:
    texts = Texts()
    handle = await client.start("echo up; read -r x; echo got $x; echo err >&2; exit 7", timeout=1, **texts.options)
    await texts.see("up\n")
    await asyncio.sleep(1.5)  # longer than its time, which is not meant
    await client.call(client.commands.send_stdin, handle.pid, "größe\n")
    found = await client.call(handle.wait)
    assert (found.exit_code, found.stdout, found.stderr) == (7, "up\ngot größe\n", "err\n")
    assert texts.both == (found.stdout, found.stderr)
    assert found.pid == handle.pid


async def background_is_killed_by_its_number(client: Client) -> None:
    for texts in (None, Texts()):
        handle = await client.start("echo up; sleep 600", **(texts.options if texts else {}))
        if texts:
            await texts.see("up\n")
        await client.call(client.commands.kill, handle.pid)
        assert (await client.call(handle.wait)).exit_code == 137


async def running_process_is_joined(client: Client) -> None:
    handle = await client.start("for i in 1 2 3; do echo line-$i; sleep 0.3; done; exit 7")
    texts, others = Texts(), Texts()
    joined = await client.call(client.commands.connect, handle.pid, **texts.options)
    other = await client.call(client.commands.connect, handle.pid, **others.options)
    assert (await client.call(joined.wait)).exit_code == (await client.call(other.wait)).exit_code == 7
    assert texts.both == others.both == ("line-1\nline-2\nline-3\n", "")
    late = Texts()
    ended = await client.call(client.commands.connect, handle.pid, **late.options)
    assert (await client.call(ended.wait)).exit_code == 7
    assert late.both == texts.both
    error = await client.refused(RuntimeError, client.commands.connect, 999)
    assert "no process 999" in str(error)


async def disconnect_ends_nothing(client: Client) -> None:
    texts = Texts()
    handle = await client.start("echo up; while read -r x; do echo got $x; done", **texts.options)
    await texts.see("up\n")
    await client.call(handle.disconnect)
    await client.call(client.commands.send_stdin, handle.pid, "more\n")
    assert any(item.pid == handle.pid and item.running for item in await client.call(client.commands.list))
    await client.refused(TimeoutError, handle.wait, timeout=0.3)
    again = Texts()
    joined = await client.call(client.commands.connect, handle.pid, **again.options)
    await again.see("got more\n")
    await client.call(handle.kill)
    found = await client.call(joined.wait)
    assert (found.exit_code, found.stdout) == (137, "up\ngot more\n")
    assert (await client.call(handle.wait)).exit_code == 137
    assert texts.both == ("up\n", "")


async def wait_is_soon_over(client: Client) -> None:
    """The exit code can be read when the end is told; else the client would look for it for up to 5 s."""
    took = []
    for _ in range(3):
        handle = await client.start("echo x", **Texts().options)
        began = time.monotonic()
        assert (await client.call(handle.wait)).stdout == "x\n"
        took.append(time.monotonic() - began)
    assert min(took) < 4


async def streams_run_at_once(client: Client) -> None:
    async def one(number: int) -> None:
        text = f"for i in $(seq 500); do echo out-{number}-$i; echo err-{number}-$i >&2; done; exit {number}"
        found = await client.call(client.commands.run_streaming, text, shell=True)
        assert found.exit_code == number
        assert found.stdout == "".join(f"out-{number}-{i}\n" for i in range(1, 501))
        assert found.stderr == "".join(f"err-{number}-{i}\n" for i in range(1, 501))

    await asyncio.gather(*[one(number) for number in range(8)])


async def callback_that_fails_leaves_the_process(client: Client) -> None:
    def fail(data: str) -> None:
        raise ZeroDivisionError

    await client.refused(
        ZeroDivisionError, partial(client.commands.run_streaming, "echo x; sleep 1", shell=True, on_stdout=fail)
    )
    newest = max(await client.call(client.commands.list), key=lambda item: item.pid)
    assert newest.command == "echo x; sleep 1"
    async with asyncio.timeout(20):
        while (await client.call(client.commands.get_logs, newest.pid)).exit_code != 0:
            await asyncio.sleep(0.05)


CHECKS: list[Check] = [
    streaming_is_live,
    run_with_callbacks_streams,
    one_callback_makes_a_stream,
    streaming_times_out,
    streaming_of_what_cannot_be_started,
    unicode_is_never_split,
    large_output_is_whole,
    background_is_live,
    background_is_killed_by_its_number,
    running_process_is_joined,
    disconnect_ends_nothing,
    wait_is_soon_over,
    streams_run_at_once,
    callback_that_fails_leaves_the_process,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

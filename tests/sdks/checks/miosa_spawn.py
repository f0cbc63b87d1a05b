"""Checks of spawned programs and of a sandbox's terminal stream, over WebSockets: ``python miosa_spawn.py async``."""

from __future__ import annotations

import asyncio
import sys

from miosa_clients import Check, Client, run_checks


async def told(process: object) -> tuple[str, str, int]:
    """All that a program writes, and its exit code."""
    out, err = [], []

    async def read(stream: object, found: list[str]) -> None:
        async for text in stream:  # type: ignore[attr-defined]
            found.append(text)

    await asyncio.gather(read(process.stdout(), out), read(process.stderr(), err))  # type: ignore[attr-defined]
    return "".join(out), "".join(err), await process.wait()  # type: ignore[attr-defined]


async def spawned_program_is_told(client: Client) -> None:
    spawn = client.computer.exec.spawn
    process = await spawn("echo out $A; echo err >&2; pwd; exit 7", cwd="/usr", env={"A": "x y"})
    assert await told(process) == ("out x y\n/usr\n", "err\n", 7)
    await process.close()
    assert (await told(await spawn("printf", args=["%s;", "a", "$HOME"])))[0] == "a;$HOME;"
    # The SDK joins them with commas, so it can't be told that this one has some of its own.
    assert (await told(await spawn("printf", args=["%s;", "a,b", "c"])))[0] == "a;b;c;"
    assert await told(await spawn("exit 0")) == ("", "", 0)


async def spawned_program_reads(client: Client) -> None:
    process = await client.computer.exec.spawn("read x; echo got $x; cat")
    await process.write("one ü\n")
    assert await anext(process.stdout()) == "got one ü\n"
    await process.write(b"two\n")
    await process.close_stdin()
    assert await told(process) == ("two\n", "", 0)
    process = await client.computer.exec.spawn("wc -c")
    await process.write("x" * 900_000)
    await process.close_stdin()
    assert (await told(process))[0].strip() == "900000"


async def spawned_program_that_cannot_start_says_why(client: Client) -> None:
    spawn = client.computer.exec.spawn
    out, err, code = await told(await spawn("nonsense-of-a-program", args=["x"]))
    assert (out, code) == ("", 127)
    assert "nonsense-of-a-program" in err
    out, err, code = await told(await spawn("/usr", args=["x"]))
    assert code == 126
    out, err, code = await told(await spawn("pwd", cwd="/nowhere"))
    assert code == 127
    assert "/nowhere" in err
    try:
        await spawn(" ")
    except Exception as error:
        assert type(error).__name__ == "InvalidStatus", repr(error)
        assert error.response.status_code == 400  # type: ignore[attr-defined]
    else:
        raise AssertionError("an empty command was not refused")


async def spawned_program_is_killed(client: Client) -> None:
    text = "trap '' TERM; setsid sleep 600 & echo $BASHPID $!; sleep 600"
    for end in ("kill", "close"):
        process = await client.computer.exec.spawn(text)
        pids = (await anext(process.stdout())).strip()
        await getattr(process, end)()
        alive = f"kill -0 {pids.split()[0]} || kill -0 {pids.split()[1]}"
        while (await client.computer.bash(alive)).exit_code == 0:
            await asyncio.sleep(0.05)


async def spawned_program_hears_signals(client: Client) -> None:
    process = await client.computer.exec.spawn(
        "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    )
    assert await anext(process.stdout()) == "ready\n"
    await process._ws.send('{"type": "signal", "signal": "SIGINT"}')
    assert await told(process) == ("caught\n", "", 5)
    process = await client.computer.exec.spawn("echo ready; sleep 600")
    assert await anext(process.stdout()) == "ready\n"
    await process._ws.send('{"type": "signal", "signal": "SIGKILL"}')
    assert (await told(process))[2] == 137


async def spawned_output_is_whole(client: Client) -> None:
    process = await client.computer.exec.spawn("head -c 3000000 /dev/zero | tr '\\0' x")
    out, _, code = await told(process)
    assert (len(out), code) == (3_000_000, 0)
    letters = " ".join(f"{byte:02x}" for byte in "ü€😀".encode())
    process = await client.computer.exec.spawn(f'for b in {letters}; do printf "\\x$b"; sleep 0.01; done')
    assert (await told(process))[0] == "ü€😀"


async def spawned_program_has_a_terminal(client: Client) -> None:
    process = await client.computer.exec.spawn("stty size; read x; stty size; echo $x; exit 3", rows=30, cols=90)
    found = ""
    while "30 90" not in found:
        found += await anext(process.stdout())
    await process.resize(40, 100)
    await process.write("typed\n")
    out, err, code = await told(process)
    assert "40 100" in out
    assert (err, code) == ("", 3)
    process = await client.computer.exec.spawn("pwd", cwd="/nowhere", rows=30, cols=90)
    assert (await told(process))[2] == 127


async def many_at_once(client: Client) -> None:
    processes = [await client.computer.exec.spawn(f"for i in {{1..200}}; do echo {n}-$i; done") for n in range(8)]
    for n, (out, _, code) in enumerate(await asyncio.gather(*map(told, processes))):
        assert (out, code) == ("".join(f"{n}-{i}\n" for i in range(1, 201)), 0)


async def terminal_is_streamed(client: Client) -> None:
    made = await client.sandbox.terminal.create(cols=90, rows=30, env={"PS1": "> "})
    socket = await client.miosa.ws.connect_terminal(client.sandbox.id)
    await socket.send(b"stty size; echo $((6 * 7))\n")
    found = ""
    while "30 90" not in found or "42" not in found:
        data = await socket.recv()
        found += data.decode() if isinstance(data, bytes) else data
    await socket.send(b"exit\n")
    last = [data async for data in socket][-1]
    assert last == '{"type":"exit","code":0}', last
    await client.sandbox.terminal.delete(made["session_id"])


CHECKS: list[Check] = [
    spawned_program_is_told,
    spawned_program_reads,
    spawned_program_that_cannot_start_says_why,
    spawned_program_is_killed,
    spawned_program_hears_signals,
    spawned_output_is_whole,
    spawned_program_has_a_terminal,
    many_at_once,
    terminal_is_streamed,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

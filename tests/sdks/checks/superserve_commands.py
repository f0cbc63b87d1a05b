"""Checks of commands: ``python superserve_commands.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from superserve_clients import Check, Client, run_checks


async def run_tells_all(client: Client) -> None:
    result = await client.run("echo $WHO $A; echo e >&2; pwd; cat; exit 3", cwd="/usr", env={"A": "x  'y'"})
    assert (result.stdout, result.stderr, result.exit_code) == ("me x  y\n/usr\n".replace("x  y", "x 'y'"), "e\n", 3)
    assert not result.truncated
    home = (await client.run("pwd")).stdout
    assert (await client.run('cd /; mkdir -p "$HOME/sub"; echo "$HOME"', cwd="", env={})).stdout == home
    assert (await client.run("pwd", cwd="sub")).stdout == home.strip() + "/sub\n"
    assert (await client.run("echo $0 ${A-unset}; X=1")).stdout == "/bin/sh unset\n"
    assert (await client.run("echo ${X-unset}; kill -9 $$")).exit_code == 137
    for text in ("no-such-program", "/etc/passwd"):
        result = await client.run(text)
        assert result.exit_code in (126, 127)
        assert text in result.stderr
    result = await client.run("pwd", cwd="/nowhere")
    assert (result.exit_code, "/nowhere" in result.stderr) == (127, True)


async def stream_tells_all(client: Client) -> None:
    result, out, err = await client.stream("echo $A; echo e >&2; pwd; cat; exit 3", cwd="/usr", env={"A": "b"})
    assert (result.stdout, result.stderr, result.exit_code) == ("b\n/usr\n", "e\n", 3)
    assert (out, err) == ("b\n/usr\n", "e\n")
    result, _, err = await client.stream("pwd", cwd="/nowhere")
    assert (result.exit_code, "/nowhere" in result.stderr, err) == (127, True, "")
    result, _, err = await client.stream("no-such-program")
    assert (result.exit_code, "no-such-program" in err) == (127, True)


async def commands_may_be_long(client: Client) -> None:
    """Longer than one argument of a program may be."""
    lines = "y 'z' $HOME\n" * 20000
    text = f"cat <<'END'\n{lines}END\necho $0 $WHO $$; cat; exit 3"
    for options in ({}, {"on_stdout": str}):
        results = await asyncio.gather(*[client.run(text, **options) for _ in range(2)])
        assert [result.exit_code for result in results] == [3, 3]
        first, second = [result.stdout.removeprefix(lines).split() for result in results]
        assert first[:2] == second[:2] == ["/bin/sh", "me"]
        assert first[2] != second[2]


async def one_callback_makes_a_stream(client: Client) -> None:
    for name in ("stdout", "stderr"):
        seen: list[str] = []
        result = await client.run("echo o; echo e >&2; exit 3", **{f"on_{name}": seen.append})
        assert (result.stdout, result.stderr, result.exit_code) == ("o\n", "e\n", 3)
        assert "".join(seen) == getattr(result, name)


async def stream_is_live(client: Client) -> None:
    seen: list[float] = []
    await client.run("echo 1; sleep 1; echo 2", on_stdout=lambda text: seen.append(time.monotonic()))
    assert seen[1] - seen[0] > 0.5


async def text_is_exact(client: Client) -> None:
    text = "ü€😀\u2028\u2029\x85\t\x01 \x00end"
    parts = "".join(f"printf '\\{byte:03o}'; sleep 0.01; " for byte in text.encode())
    result, out, _ = await client.stream(parts)
    assert (result.stdout, out) == (text, text)
    result, _, err = await client.stream("printf 'a\\377b\\303' >&2")
    assert (result.stderr, err) == ("a\ufffdb\ufffd", "a\ufffdb\ufffd")
    assert (await client.run(f"printf '%b' '{text[:-5]}'")).stdout == text[:-5]
    assert (await client.run("printf 'a\\377b\\303'")).stdout == "a\ufffdb\ufffd"


async def output_may_be_large(client: Client) -> None:
    text = "head -c 1048576 /dev/zero | tr '\\0' x | dd bs=1M iflag=fullblock status=none"
    assert (await client.run(text)).stdout == "x" * 1048576
    result, out, err = await client.stream(f"{text}; seq 5000 >&2")
    assert result.stdout == out == "x" * 1048576
    assert err == "".join(f"{number}\n" for number in range(1, 5001))
    result = await client.run("head -c 30000000 /dev/zero | tr '\\0' y; echo e >&2")
    assert result.truncated
    assert len(result.stdout) > 9_000_000
    assert result.stderr.startswith("e\n\n[there was more output")
    assert not (await client.run("head -c 9000000 /dev/zero | tr '\\0' y; echo e >&2")).truncated


async def time_limits_end_everything(client: Client) -> None:
    nap = f"sleep {client.number}"
    stubborn = f"echo begun; trap '' TERM; {nap} & setsid {nap} & {nap}; {nap}"
    left = f"echo begun; (trap '' TERM; setsid {nap}) & {nap}"
    for text, options in itertools.product((stubborn, left), ({}, {"on_stdout": str})):
        begun = time.monotonic()
        result = await client.run(text, timeout_seconds=1, **options)
        assert (result.stdout, result.exit_code) == ("begun\n", 124)
        assert time.monotonic() - begun < 4
        assert await client.sleeping() == ""
    found = await client.run("trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done", timeout_seconds=1)
    assert (found.stdout, found.exit_code) == ("bye\n", 124)


async def silent_commands_are_kept_alive(client: Client) -> None:
    # Zero makes a client wait for five seconds, and is no limit of the command's.
    text = "sleep 6.5; echo late"
    both = await asyncio.gather(client.run(text, timeout_seconds=0), client.run(text, timeout_seconds=0, on_stdout=str))
    assert [found.stdout for found in both] == ["late\n", "late\n"]


async def what_is_left_behind_goes_on(client: Client) -> None:
    begun = time.monotonic()
    assert (await client.run("sleep 30 & echo $! >left; echo done")).stdout == "done\n"
    assert time.monotonic() - begun < 5
    assert (await client.run("kill -0 $(cat left) && kill $(cat left) && echo lived")).stdout == "lived\n"


async def client_that_leaves_ends_its_command(client: Client) -> None:
    def leave(text: str) -> None:
        raise KeyError(text)

    try:
        await client.run(f"echo go; sleep {client.number}; true", on_stdout=leave)
    except KeyError:
        pass
    for _ in range(100):
        if await client.sleeping() == "":
            return
        await asyncio.sleep(0.05)
    raise AssertionError("its command goes on")


async def errors_have_their_types(client: Client) -> None:
    commands = client.sandbox.commands
    error = await client.refused("ValidationError", commands.run, "")
    assert (error.status_code, error.code) == (400, "bad_request")
    await client.refused("ValidationError", commands.run, "true", env={"a b": "c"})
    await client.refused("ValidationError", commands.run, "true", timeout_seconds=-1)
    await client.refused("ValidationError", commands.run, "a\0b")
    await client.refused("ValidationError", commands.run, "", on_stdout=print)
    error = await client.refused("NotFoundError", client.sandboxes.connect, "nobody")
    assert (error.status_code, error.code) == (404, "not_found")


async def sandboxes_do_not_see_each_other(client: Client) -> None:
    other = await client.call(client.sandboxes.create, name="o", env_vars={"OTHER": "1"})
    assert (
        await client.call(other.commands.run, "echo ${WHO-none} $OTHER; echo x >mine; ls")
    ).stdout == "none 1\nmine\n"
    assert (await client.run("echo ${OTHER-none}; ls mine")).stdout == "none\n"
    both = await asyncio.gather(
        *[client.stream(f"for i in 1 2 3; do echo {n} $i; sleep 0.05; done") for n in range(4)],
        *[client.call(other.commands.run, f"sleep 0.1; echo other {n}") for n in range(4)],
    )
    for number in range(4):
        assert both[number][1] == "".join(f"{number} {i}\n" for i in (1, 2, 3))
        assert both[4 + number].stdout == f"other {number}\n"
    await client.call(other.kill)


CHECKS: list[Check] = [
    run_tells_all,
    stream_tells_all,
    commands_may_be_long,
    one_callback_makes_a_stream,
    stream_is_live,
    text_is_exact,
    output_may_be_large,
    time_limits_end_everything,
    silent_commands_are_kept_alive,
    what_is_left_behind_goes_on,
    client_that_leaves_ends_its_command,
    errors_have_their_types,
    sandboxes_do_not_see_each_other,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))

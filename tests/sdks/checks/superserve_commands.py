"""Checks of sandboxes and commands: ``python superserve_commands.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time

from superserve import NetworkConfig, SandboxStatus
from superserve_clients import Check, Client, run_checks


async def sandbox_is_made_found_and_killed(client: Client) -> None:
    kind = client.sandboxes
    made = await client.call(kind.create, name="twice", metadata={"who": client.kind, "a b": "ü&="})
    again = await client.call(kind.create, name="twice", metadata={"who": client.kind})
    assert made.status == SandboxStatus.ACTIVE
    assert (made.name, made.metadata) == ("twice", {"who": client.kind, "a b": "ü&="})
    assert made.id != again.id
    assert (await client.call(made.get_info)).metadata == made.metadata
    listed = await client.call(kind.list, metadata={"who": client.kind})
    assert [info.id for info in listed] == [made.id, again.id]
    assert [info.id for info in await client.call(kind.list, metadata={"a b": "ü&="})] == [made.id]
    paged = await client.call(kind.list, metadata={"who": client.kind}, limit=1, offset=1)
    assert [info.id for info in paged] == [again.id]
    await client.call(again.pause)
    for status, ids in (("paused", [again.id]), (["active", "paused"], [made.id, again.id]), ("failed", [])):
        assert [i.id for i in await client.call(kind.list, metadata={"who": client.kind}, status=status)] == ids
    for sandbox in (made, again):
        await client.call(sandbox.kill)
        await client.call(sandbox.kill)
        await client.call(kind.kill_by_id, sandbox.id)
        await client.refused("NotFoundError", kind.connect, sandbox.id)
    assert await client.call(kind.list, metadata={"who": client.kind}) == []


async def sandbox_is_updated(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="u", timeout_seconds=3000, auto_delete_seconds=90)
    info = await client.call(made.get_info)
    assert (info.timeout_seconds, info.auto_delete_seconds, info.auto_delete_at) == (3000, 90, None)
    await client.call(made.update, metadata={"a": "1"}, timeout_seconds=None)
    await client.call(made.pause, wait=True)
    info = await client.call(made.get_info)
    assert (info.metadata, info.timeout_seconds, info.status) == ({"a": "1"}, None, SandboxStatus.PAUSED)
    assert 80 < info.auto_delete_at.timestamp() - time.time() < 91
    await client.call(client.sandboxes.update_by_id, made.id, auto_delete_seconds=None)
    assert (await client.call(made.get_info)).auto_delete_seconds is None
    await client.call(made.kill)


async def options_that_mean_nothing_here_are_taken(client: Client) -> None:
    network = NetworkConfig(deny_out=["0.0.0.0/0"])
    options = {"from_template": "superserve/base", "network": network, "preview_access": "private"}
    made = await client.call(client.sandboxes.create, name="options", **options)
    assert (await client.call(made.commands.run, "echo x")).stdout == "x\n"
    await client.call(made.kill)


async def killed_sandbox_is_not_there(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="gone")
    other = await client.call(client.sandboxes.connect, made.id)
    await client.call(made.kill)
    await client.refused("NotFoundError", other.commands.run, "true", on_stdout=print)
    for method in (other.get_info, other.pause, other.resume):
        assert (await client.refused("NotFoundError", method)).code == "not_found"
    await client.refused("NotFoundError", other.update, metadata={})
    if client.kind == "async":
        await client.refused("NotFoundError", other.commands.spawn, "true")
    await client.call(other.kill)


async def paused_sandbox_goes_on_by_itself(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="p")
    await client.call(made.commands.run, "echo kept >file; (while :; do date +%s%N >tick; sleep 0.05; done) &")
    await client.call(made.pause)
    assert (await client.call(made.get_info)).status == SandboxStatus.PAUSED
    assert (await client.call(made.commands.run, "cat file")).stdout == "kept\n"
    assert (await client.call(made.get_info)).status == SandboxStatus.ACTIVE
    ticks = await client.call(made.commands.run, "cat tick; sleep 0.3; cat tick")
    assert len(set(ticks.stdout.split())) == 2  # what ran in it runs again
    await client.call(made.pause)
    seen: list[str] = []
    assert (await client.call(made.commands.run, "cat file", on_stdout=seen.append)).stdout == "kept\n"
    await client.call(made.pause)
    await client.call(made.resume)
    assert (await client.call(made.get_info)).status == SandboxStatus.ACTIVE
    await client.call(made.pause)
    other = await client.call(client.sandboxes.connect, made.id)
    assert (await client.call(other.commands.run, "cat file")).stdout == "kept\n"
    await client.call(other.kill)
    await client.refused("NotFoundError", made.commands.run, "true")


async def tokens_open_their_own_sandbox(client: Client) -> None:
    other = await client.call(client.sandboxes.create, name="o")
    own = client.sandbox._access_token
    # Whatever is wrong with it, the client asks for the right one, and its command runs once.
    for wrong in ("nonsense", other._access_token, own[:-1], own + "x", os.environ["SUPERSERVE_API_KEY"]):
        client.sandbox._access_token = wrong
        assert (await client.run("echo x >>once; wc -l <once; rm once")).stdout == "1\n"
        assert client.sandbox._access_token == own
        client.sandbox._access_token = wrong
        assert (await client.stream("echo x >>once; wc -l <once; rm once"))[1] == "1\n"
    error = await client.refused("AuthenticationError", client.sandboxes.create, name="x", api_key="wrong")
    assert error.status_code == 401
    await client.refused("AuthenticationError", client.sandboxes.create, name="x", api_key=own)
    await client.call(other.kill)


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


async def one_callback_makes_a_stream(client: Client) -> None:
    for name in ("stdout", "stderr"):
        seen: list[str] = []
        result = await client.run("echo o; echo e >&2; exit 3", **{f"on_{name}": seen.append})
        assert (result.stdout, result.stderr, result.exit_code) == ("o\n", "e\n", 3)
        assert "".join(seen) == getattr(result, name)


async def stream_is_live(client: Client) -> None:
    seen: list[float] = []
    begun = time.monotonic()
    await client.run("echo 1; sleep 1; echo 2", on_stdout=lambda text: seen.append(time.monotonic() - begun))
    assert seen[0] < 0.9 < seen[1]


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
    for method in (client.sandbox.files.read, client.sandbox.list_preview_ports, client.sandbox.snapshot):
        error = await client.refused("ServerError", method, *(["/x"] if "read" in method.__name__ else []))
        assert error.status_code == 501
    error = await client.refused("ServerError", client.sandboxes.create, name="x", secrets={"A": "b"})
    assert (error.status_code, error.code) == (501, "not_implemented")


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
    sandbox_is_made_found_and_killed,
    sandbox_is_updated,
    options_that_mean_nothing_here_are_taken,
    killed_sandbox_is_not_there,
    paused_sandbox_goes_on_by_itself,
    tokens_open_their_own_sandbox,
    run_tells_all,
    stream_tells_all,
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

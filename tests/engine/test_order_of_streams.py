"""What a command writes to stdout and stderr is logged in that order, however long the engine was busy with something else.

Between two reads of an engine only the order of the first writes is known: a pipe doesn't tell when its other bytes came.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions
from sessions import recorder
from sessions.shell.pipes import OutputPipe
from sessions.shell.poller import ROUND, Poller
from sessions.store.transcript import Transcript

PATIENCE_SECONDS = 20
TEXTS = {"stdout first": "echo out; echo err >&2", "stderr first": "echo err >&2; echo out"}
EXPECTED = {"stdout first": b"out\nerr\n", "stderr first": b"err\nout\n"}


@pytest.mark.parametrize("first", TEXTS)
@pytest.mark.parametrize("polled_after", ["nothing", "one", "both"])
async def test_opening_a_pipe_gives_it_no_place(tmp_path: Path, first: str, polled_after: str) -> None:
    """The pipes are opened as a shell does it, stdout first, and the poller looks in between, or doesn't."""
    poller = Poller()
    seen: list[bytes] = []
    pipes = {name: OutputPipe(str(tmp_path / name)) for name in ("out", "err")}

    def reader(pipe: OutputPipe) -> Callable[[], None]:
        def read() -> None:
            buffer = bytearray(100)
            size = pipe.read_into(buffer)
            seen.append(bytes(buffer[:size]))

        return read

    for pipe in pipes.values():
        poller.watch(pipe.descriptor, reader(pipe))
    try:
        ends = {}
        for name, moment in (("out", "one"), ("err", "both")):
            ends[name] = os.open(tmp_path / name, os.O_WRONLY)
            if polled_after == moment:
                poller.serve()
        for name in ("out", "err") if first == "stdout first" else ("err", "out"):
            os.write(ends[name], f"{name}\n".encode())
        poller.serve()
        assert b"".join(seen) == EXPECTED[first]
    finally:
        for end in ends.values():
            os.close(end)
        for pipe in pipes.values():
            pipe.close()
        poller.close()


async def test_those_that_wait_for_their_turn_were_ready_before_the_others(tmp_path: Path) -> None:
    """The first whose turn comes asks who is ready: two commands' pipes, of more than one round takes."""
    poller = Poller()
    pipes = [OutputPipe(str(tmp_path / str(number))) for number in range(ROUND + 2)]
    ends = [os.open(tmp_path / str(number), os.O_WRONLY) for number in range(len(pipes))]
    told: list[list[int]] = []
    for pipe in pipes:
        poller.watch(pipe.descriptor, lambda: told.append(poller.ready()))
    try:
        for end in ends:
            os.write(end, b"x")
        poller.serve()
        waiting = [pipe.descriptor for pipe in pipes[1:]]
        assert [descriptor for descriptor in told[0] if descriptor in waiting] == waiting
    finally:
        for end in ends:
            os.close(end)
        for pipe in pipes:
            pipe.close()
        poller.close()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
@pytest.mark.parametrize("first", TEXTS)
async def test_an_engine_that_was_busy_all_the_time(
    engine: sessions.Engine, tmp_path: Path, shell: str, in_shell: bool, first: str
) -> None:
    session = await engine.create_session(shell=shell, cwd=tmp_path)
    command = await session.run_async(TEXTS[first] + "; : > written", in_shell=in_shell)
    while not (tmp_path / "written").exists():
        time.sleep(0.001)  # noqa: ASYNC251 (nothing else runs meanwhile: that is the point)
    await command.wait()
    assert (await command.logs()).output == EXPECTED[first]


@pytest.mark.parametrize("first", TEXTS)
async def test_a_disk_that_could_not_be_written_meanwhile(
    session: sessions.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.05)
    text = f"echo begin; until [ -e stalled ]; do sleep 0.01; done; {TEXTS[first]}; : > written"
    with monkeypatch.context() as patched:
        patched.setattr(Transcript, "append", full)
        command = await session.run_async(text, cwd=tmp_path)
        with trio.fail_after(PATIENCE_SECONDS):
            while session.state != "stalled":
                await trio.sleep(0.01)
            (tmp_path / "stalled").touch()
            while not (tmp_path / "written").exists():
                await trio.sleep(0.01)
    await command.wait()
    assert (await command.logs()).output == b"begin\n" + EXPECTED[first]


@pytest.mark.parametrize("first", TEXTS)
async def test_an_engine_that_is_busy_most_of_the_time(
    engine: sessions.Engine, nursery: trio.Nursery, first: str
) -> None:
    async def keep_busy() -> None:
        while True:
            await trio.sleep(0.001)
            time.sleep(0.02)  # noqa: ASYNC251 (as above)

    nursery.start_soon(keep_busy)
    session = await engine.create_session()
    for _ in range(40):
        assert (await session.run(TEXTS[first])).output == EXPECTED[first].decode()

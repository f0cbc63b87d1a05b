"""When this program has no descriptor left: nothing is lost, and nothing is kept."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from conftest import leftovers, open_descriptors

import sessions
from sessions.shell.descriptors import Spare
from sessions.shell.pipes import OutputPipe

PATIENCE_SECONDS = 20


@contextmanager
def no_more_than(count: int) -> Iterator[None]:
    """While at most so many more can be opened."""
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]  # the lowest that are free
    for descriptor in taken:
        os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 if taken else 0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [0, 1])
def test_a_pipe_that_is_opened_half_is_closed(tmp_path: Path, count: int) -> None:
    before = open_descriptors()
    with no_more_than(count), pytest.raises(OSError, match="Too many open files"):
        OutputPipe(str(tmp_path / "o"))
    assert open_descriptors() == before
    assert list(tmp_path.iterdir()) == []


@contextmanager
def none_left() -> Iterator[None]:
    """While none at all can be opened."""
    with no_more_than(50):
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        try:
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


@pytest.mark.parametrize("in_shell", [True, False])
@pytest.mark.parametrize("end", ["kill", "timeout", "close"])
async def test_a_command_is_ended_although_no_descriptor_is_left(
    session: sessions.Session, in_shell: bool, end: str
) -> None:
    shell = session.shell_pid
    command = await session.run_async(
        "echo on; sleep 600", in_shell=in_shell, timeout=0.3 if end == "timeout" else None
    )
    await command.wait_for("on")
    with none_left(), trio.fail_after(PATIENCE_SECONDS):
        if end == "kill":
            await command.kill()
        elif end == "close":
            await session.close()
        await command.wait()
    assert command.reason == {"kill": "killed", "timeout": "timeout", "close": "session_closed"}[end]
    if end != "close":
        assert session.shell_pid == shell
    assert leftovers({session.id} if end == "close" else set()) == []


def test_spare_descriptors_are_taken_again() -> None:
    before = open_descriptors()
    spare = Spare()
    kept = open_descriptors()
    with none_left():
        assert spare.call(lambda: os.listdir("/proc/self/task"))
    assert open_descriptors() == kept
    spare.close()
    assert open_descriptors() == before


def test_spare_descriptors_are_given_up_if_the_whole_machine_has_none() -> None:
    before = open_descriptors()
    spare = Spare()

    def look() -> int:
        if open_descriptors() != before:
            raise OSError(errno.ENFILE, "too many open files in system")
        return 5

    assert spare.call(look) == 5
    spare.close()


@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_command_that_waits_for_descriptors_keeps_its_input(session: sessions.Session, in_shell: bool) -> None:
    first = await session.run_async("read -r line", in_shell=True, stdin=True)
    second = await session.run_async("cat", in_shell=in_shell, stdin=True)
    await second.send_input("sent ")
    with no_more_than(0):
        await first.send_input("\n")
        await first.wait()
        assert second.state == "queued"
    await second.send_input("and sent")
    await second.close_input()
    with trio.fail_after(PATIENCE_SECONDS):
        await second.wait()
    assert (await second.logs()).stdout == b"sent and sent"

"""The life of a space: used, paused, stopped, started and deleted, by whoever asks and by its timers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import psutil
import pytest
import trio
from conftest import leftovers

import sessions
from sessions import spaces as spaces_module
from sessions.spaces import Space, Spaces, open_spaces


async def test_a_paused_space_stands_still(space: Space) -> None:
    session = await space.create_session("s")
    command = await session.run_async("echo on; while :; do echo tick; sleep 0.01; done")
    await command.wait_for("tick", timeout=30)
    await space.pause()
    states = {process.status() for process in leftovers({session.id})}
    assert states == {psutil.STATUS_STOPPED}
    with pytest.raises(sessions.Conflict, match="paused"), space.use():
        pass
    size = command.size_bytes
    await trio.testing.wait_all_tasks_blocked(0.2)
    assert command.size_bytes == size
    await space.resume()
    async with command.follow(after=command.info.last_seq) as records:
        async for record in records:
            assert b"tick" in record.data
            break
    await command.kill()


@pytest.mark.parametrize(("verb", "stand_still"), [("pause", True), ("resume", False)])
async def test_who_is_cancelled_leaves_no_space_half_paused(
    engine: sessions.Engine, space: Space, verb: str, stand_still: bool
) -> None:
    session = await space.create_session("s")
    await (await session.run_async("echo on; sleep 600")).wait_for("on", timeout=30)
    if verb == "resume":
        await space.pause()
    before = space.state
    async with trio.open_nursery() as nursery:
        async with engine.workshop.census._lock:  # so that it waits for its look at the processes
            nursery.start_soon(getattr(space, verb))
            while space.state == before:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    stopped = {process.status() == psutil.STATUS_STOPPED for process in leftovers({session.id})}
    assert stopped == {stand_still}


async def test_a_paused_space_can_be_deleted(space: Space) -> None:
    session = await space.create_session("s")
    await session.run_async("sleep 600")
    await space.pause()
    await space.delete()
    assert leftovers({session.id}) == []


async def test_an_unused_space_is_stopped_then_deleted(spaces: Spaces) -> None:
    space = await spaces.create("door", "brief", stop_after=0.01, delete_after=0.01)
    with trio.fail_after(30), space.use():
        session = await space.create_session("s")
        assert space.state == "started"
    with trio.fail_after(30):
        while Path(space.info.home).exists():
            await trio.sleep(0.05)
    assert (space.state, session.state) == ("destroyed", "closed")


async def test_times_run_while_there_is_no_server(root: Path) -> None:
    """Of a space that stands; one that is started begins anew to be unused."""
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        for space_id in ("stopped", "started"):
            space = await spaces.create("door", space_id, stop_after=600.0)
            if space_id == "stopped":
                await space.stop()
                space.change(delete_after=0.0)
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        with trio.fail_after(30):
            while (root / "spaces" / "stopped").exists():
                await trio.sleep(0.01)
        assert [(space.id, space.state) for space in spaces.list("door")] == [("started", "started")]
        assert spaces.list("door")[0].idle_seconds < 300


async def test_a_space_that_is_wanted_again_is_not_ended(spaces: Spaces) -> None:
    """Its time was over when somebody looked; then it was used, or started, before it could be ended."""
    space = await spaces.create("door", "brief", delete_after=0.0)
    await space.stop()
    async with trio.open_nursery() as nursery:
        async with space._lock:
            nursery.start_soon(space.look)
            await trio.testing.wait_all_tasks_blocked(0.01)
            space._move("start")
    assert space.state == "started"
    space.change(stop_after=0.0)
    async with trio.open_nursery() as nursery:
        async with space._lock:
            nursery.start_soon(space.look)
            await trio.testing.wait_all_tasks_blocked(0.01)
            space.change(stop_after=600.0)
    assert space.state == "started"


async def test_a_paused_space_is_at_rest_unless_its_door_says_otherwise(spaces: Spaces) -> None:
    space = await spaces.create("door", "one", delete_after=0.0)
    await space.pause()
    await space.look(("stopped",))
    assert space.state == "paused"
    await space.look()
    assert space.state == "destroyed"


async def test_a_stopped_space_has_no_sessions_and_can_be_started(space: Space) -> None:
    session = await space.create_session("s")
    await session.run("echo here >file")
    await space.stop()
    assert (session.state, space.sessions) == ("closed", {})
    await space.start()
    assert (await (await space.create_session("s")).run("cat file")).stdout == "here\n"


@pytest.mark.parametrize(
    ("before", "verb", "state"),
    [
        ("start", "pause", "paused"),
        ("pause", "resume", "started"),
        ("start", "stop", "stopped"),
        ("stop", "start", "started"),
    ],
)
async def test_who_asks_for_what_somebody_else_brings_about_has_it(
    space: Space, before: str, verb: str, state: str
) -> None:
    session = await space.create_session("s")
    await session.run("true")
    await getattr(space, before)()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(getattr(space, verb))
    assert space.state == state
    changed_at = space.info.changed_at
    await getattr(space, verb)()
    assert (space.state, space.info.changed_at) == (state, changed_at)  # nothing begins anew


async def test_what_a_space_cannot_do_is_refused(space: Space) -> None:
    await space.stop()
    for verb in (space.pause, space.resume):
        with pytest.raises(sessions.Conflict, match="is stopped"):
            await verb()
    await space.start()
    await space.pause()
    with pytest.raises(sessions.Conflict, match="is paused"):
        await space.start()


@pytest.mark.parametrize("verb", ["stop", "pause", "delete"])
async def test_what_was_seen_of_a_space_must_still_be_so(space: Space, verb: str) -> None:
    """Who ends it for a reason has waited for others: in the meantime that may have gone."""
    idle = True
    async with trio.open_nursery() as nursery:
        async with space._lock:
            nursery.start_soon(partial(getattr(space, verb), only_if=lambda: idle))
            await trio.testing.wait_all_tasks_blocked(0.01)
            idle = False
    assert space.state == "started"
    idle = True
    await getattr(space, verb)(only_if=lambda: idle)
    assert space.state != "started"


async def test_a_session_that_is_being_closed_ends_with_its_space(space: Space) -> None:
    """Its name is forgotten at once; it is one of the space's until nothing of it is left."""
    session = await space.create_session("s")
    command = await session.run_async("trap '' TERM; echo on; while :; do sleep 0.1; done")
    await command.wait_for("on", timeout=30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.close_session, "s")
        while "s" in space.sessions:
            await trio.lowlevel.checkpoint()
        await space.delete()
        assert leftovers({session.id}) == []
        assert not Path(space.info.home).exists()


@pytest.mark.parametrize("end", ["stop", "pause", "delete"])
async def test_nothing_is_opened_in_a_space_that_is_about_to_rest(
    engine: sessions.Engine, space: Space, end: str
) -> None:
    """Whoever had begun to wait while it was started would open it behind its end, where nobody looks for it."""
    session = await space.create_session("s")
    command = await session.run_async("trap '' TERM; echo on; sleep 600")
    await command.wait_for("on", timeout=30)
    refused: list[str] = []
    advice = "create another one" if end == "delete" else "start it first"

    async def ask(what: str) -> None:
        with pytest.raises(sessions.Conflict, match=advice):
            await {
                "session": lambda: space.create_session("late"),
                "terminal": lambda: space.create_terminal("late"),
                "process": lambda: space.start_process("sleep 600"),
            }[what]()
        refused.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(getattr(space, end))
        while space.state == "started":
            await trio.lowlevel.checkpoint()
        for what in ("session", "terminal", "process"):
            nursery.start_soon(ask, what)
    assert sorted(refused) == ["process", "session", "terminal"]
    found = await engine.list_sessions(labels={"space": "one"})
    assert {one.labels["session"] for one in found if one.state == "open"} <= {"s"}


async def test_a_look_that_fails_ends_nothing(spaces: Spaces, space: Space) -> None:
    """Of a full disk, say: the next look may do better."""
    looked = []

    async def look(space: Space) -> None:
        looked.append(space)
        if len(looked) == 1:
            raise sessions.Broken("the disk is full")

    spaces.looks["door"] = look
    with trio.fail_after(30):
        while len(looked) < 2:
            await trio.sleep(0.05)


async def test_a_space_that_takes_long_keeps_no_other_waiting(
    spaces: Spaces, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it looked at twice at a time."""
    monkeypatch.setattr(spaces_module, "LOOK_SECONDS", 0.01)
    other = await spaces.create("door", "two")
    looked: list[Space] = []
    has_ended = trio.Event()

    async def look(found: Space) -> None:
        looked.append(found)
        if found is space:
            await has_ended.wait()

    spaces.looks["door"] = look
    with trio.fail_after(30):
        while looked.count(other) < 3:
            await trio.sleep(0.01)
        assert looked.count(space) == 1
        has_ended.set()
        while looked.count(space) < 2:
            await trio.sleep(0.01)

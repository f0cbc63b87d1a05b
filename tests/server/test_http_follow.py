"""Following over server-sent events: from the first byte or behind any event, live, to an end that is always told."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import httpx_sse
import pytest
import trio
from http_server import Told, Web, open_web, text_of
from http_server import open_test_web as open_test_web

import sessions
from sessions.doors import following_logs, telling
from sessions.server.limits import ServerLimits

PACED = [
    r"printf 'caf\303'",
    r"printf '\251 \360\237'",
    r"printf 'err \342' >&2",
    r"printf '\230\203\n'",
    r"printf '\202\254\n' >&2",
    r"printf 'bad \377'",
    r"printf '\303(\n'",
    r"printf 'end\303'",
]
"""Characters are split over records; the last one is never completed."""
WHOLE = {"stdout": "caf\u00e9 \U0001f603\nbad \ufffd\ufffd(\nend\ufffd", "stderr": "err \u20ac\n"}


async def test_follow_tells_all_and_the_end(web: Web) -> None:
    command_id = await web.start("test", "echo one; echo two >&2; sleep 0.05; echo three; (exit 7)")
    async with web.stream(f"/commands/{command_id}/follow") as stream:
        events = await stream.rest()
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (stream.headers["x-accel-buffering"], stream.headers["cache-control"]) == ("no", "no-store")
    assert stream.comments >= 1
    assert (text_of(events, "stdout"), text_of(events, "stderr")) == ("one\nthree\n", "two\n")
    for event in events[:-1]:
        assert event.data["command_id"] == command_id
        assert event.id == str(event.data["seq"])
    assert events[-1].event == "end"
    assert events[-1].data == await web.get(f"/commands/{command_id}")
    assert events[-1].data["exit_code"] == 7


async def test_resume_behind_each_event(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the last event was that arrived, the rest follows on it: nothing twice, nothing lost, no character split."""
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    command_id = await web.pace("test", PACED)
    paths = [f"/commands/{command_id}/follow", "/sessions/test/follow"]
    events = await web.events(paths[0])
    assert {stream: text_of(events, stream) for stream in WHOLE} == WHOLE
    assert [event.event for event in events] == ["stdout"] * 2 + ["stderr", "stdout", "stderr"] + ["stdout"] * 4 + [
        "end"
    ]
    told: list[Told] = []
    for event in events[:-1]:
        told.append(event)
        by_query = await web.events(f"{paths[0]}?after={event.id}")
        by_header = await web.events(f"{paths[0]}?after=0", headers={"Last-Event-ID": str(event.id)})
        assert by_query == by_header
        for stream, text in WHOLE.items():
            assert text_of(told, stream) + text_of(by_query, stream) == text
            only = await web.events(f"{paths[0]}?after={event.id}&stream={stream}")
            assert text_of(only) == text_of(by_query, stream)
    # The session's stream has the same ids, and one end.
    await web.post("/sessions/test/close")
    events = await web.events(paths[1])
    assert (events[-1].event, events[-1].data["state"]) == ("end", "closed")
    for event in events[:-2]:
        rest = await web.events(f"{paths[1]}?after={event.id}")
        assert all(int(later.id or 0) > int(event.id or 0) for later in rest[:-1])


async def test_resume_by_bytes_at_each_record(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    command_id = await web.pace("test", PACED)
    whole = (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content
    events = await web.events(f"/commands/{command_id}/follow?encoding=base64")

    def data(of: Sequence[Told]) -> bytes:
        return b"".join(base64.b64decode(event.data["base64"]) for event in of if event.event != "end")

    assert data(events) == whole
    assert len(events) == len(PACED) + 1
    for number, event in enumerate(events[:-1]):
        rest = await web.events(f"/commands/{command_id}/follow?encoding=base64&after={event.id}")
        assert data(events[: number + 1]) + data(rest) == whole


async def test_resume_while_it_writes(web: Web) -> None:
    """A client that loses its connection after each event, while the command goes on."""
    command_id = await web.start("test", "for i in {1..40}; do printf 'é%d ' $i; sleep 0.012; done")
    told: list[Told] = []
    while not told or told[-1].event != "end":
        header = {"Last-Event-ID": str(told[-1].id)} if told else {}
        async with web.stream(f"/commands/{command_id}/follow", headers=header) as stream:
            event = await stream.next()
            assert event is not None
            told.append(event)
    assert text_of(told) == "".join(f"é{number} " for number in range(1, 41))
    assert len(told) > 2


async def test_a_common_client_understands_it(web: Web) -> None:
    """Line ends that only some decoders know are not in the stream."""
    text = "a\u2028b\x85c\x0bd\x1ce\rf\r\n\0g\u2029"
    command_id = await web.start("test", "cat", stdin=True)
    await web.post(f"/commands/{command_id}/input", {"text": text, "close": True}, 204)
    async with httpx_sse.aconnect_sse(web.http, "GET", f"/commands/{command_id}/follow") as source:
        events = [event async for event in source.aiter_sse()]
    assert "".join(json.loads(event.data)["text"] for event in events if event.event == "stdout") == text
    assert events[-1].event == "end"


async def test_only_one_stream_and_late_output(web: Web) -> None:
    command_id = await web.finish("test", "echo out; echo err >&2; (sleep 0.3; echo late) & ")
    assert text_of(await web.events(f"/commands/{command_id}/follow?stream=stderr")) == "err\n"
    assert text_of(await web.events(f"/commands/{command_id}/follow?late=true"), "stdout") == "out\nlate\n"
    assert text_of(await web.events(f"/commands/{command_id}/follow"), "stdout") == "out\n"


async def test_signs_of_life(engine: sessions.Engine) -> None:
    async with open_web(engine, ServerLimits(heartbeat_seconds=0.05)) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        command_id = await web.start("test", "read line", stdin=True)
        async with web.stream(f"/commands/{command_id}/follow") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.rest)
            while stream.comments < 3:
                await trio.sleep(0.01)
            await web.post(f"/commands/{command_id}/input", {"close": True}, 204)


async def test_a_reader_that_stops_holds_nobody_up(web: Web) -> None:
    command_id = await web.start("test", "head -c 30000000 /dev/zero | tr '\\0' x; echo done >&2")
    async with web.stream(f"/commands/{command_id}/follow") as lazy:
        first = await lazy.next()
        assert first is not None
        assert (await web.get(f"/commands/{command_id}/wait"))["state"] == "finished"
        events = await web.events(f"/commands/{command_id}/follow?stream=stderr")
        assert text_of(events) == "done\n"
        assert (await web.post("/sessions/test/commands", {"command": "echo quick"}))["output"] == "quick\n"
        metrics = (await web.http.get("/metrics")).text
        assert "\nsessions_streams 1\n" in metrics
        assert float(metrics.partition("\nsessions_stream_lag_seconds ")[2].split()[0]) > 0
        assert len(text_of([first, *await lazy.rest()], "stdout")) == 30_000_000


async def test_neighbours_in_time_are_one_event(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    command_id = await web.finish("test", "for i in {1..2000}; do echo $i; done")
    events = await web.events(f"/commands/{command_id}/follow")
    assert text_of(events) == "".join(f"{number}\n" for number in range(1, 2001))
    assert len(events) < 500
    monkeypatch.setattr(following_logs, "PIECE_BYTES", 1)  # a piece for each record
    command = await web.get(f"/commands/{command_id}")
    assert text_of(await web.events(f"/commands/{command_id}/follow")) == text_of(events)
    assert int(events[-2].id or 0) == command["last_seq"] - 1


async def test_the_limit_of_open_streams(engine: sessions.Engine) -> None:
    async with open_web(engine, ServerLimits(followers=2)) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        command_id = await web.start("test", "read line", stdin=True)
        path = f"/commands/{command_id}/follow"
        async with web.stream(path), web.stream("/events"):
            answer = await web.http.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "busy")
        with trio.fail_after(5):
            while (await web.http.get("/metrics")).text.count("\nsessions_streams 0\n") == 0:
                await trio.sleep(0.01)
        await web.post(f"/commands/{command_id}/input", {"close": True}, 204)
        assert (await web.events(path))[-1].event == "end"


async def test_a_session_deleted_under_a_follower(web: Web) -> None:
    command_id = await web.start("test", "echo begun; sleep 60")
    paths = ["/sessions/test/follow", f"/commands/{command_id}/follow"]
    async with web.stream(paths[0]) as one, web.stream(paths[1]) as other:
        begun = await one.next()
        assert begun is not None
        assert begun.data["text"] == "begun\n"
        assert (await web.http.delete("/sessions/test")).status_code == 204
        assert [(event.event, event.data["state"]) for event in await one.rest()] == [("end", "closed")]
        assert (await other.rest())[-1].data["reason"] == "session_closed"


async def test_a_server_that_closes_says_so(engine: sessions.Engine) -> None:
    """Its followers learn that it was the server that ended, not what they followed."""
    command = await (await engine.create_session("test")).run_async("echo begun; sleep 60")
    follows = [f"/commands/{command.id}/follow", "/sessions/test/follow", f"/follow?command={command.id}"]
    ends: list[Told] = []
    begun = trio.Semaphore(0)

    async def read(web: Web, path: str) -> None:
        async with web.stream(path) as stream:
            await stream.next()
            begun.release()
            ends.extend(await stream.rest())

    async with trio.open_nursery() as readers:
        async with open_web(engine) as web:
            for path in [*follows, "/events?after=0"]:
                readers.start_soon(read, web, path)
            for _ in range(4):
                await begun.acquire()
    last = [end.data["error"]["code"] for end in ends if end.event == "error"]
    assert last == ["closing"] * 4
    assert command.state == "running"

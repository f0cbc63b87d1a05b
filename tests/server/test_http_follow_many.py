"""Following many commands in one stream, the feed of events, and all of it over WebSockets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from http_server import Told, Web, open_web, text_of
from http_server import open_test_web as open_test_web
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, RejectData, Request, TextMessage

import sessions
from sessions.doors import telling


def by_command(events: list[Told]) -> dict[str, str]:
    ids = {event.data["command_id"] for event in events if event.event in ("stdout", "stderr")}
    return {one: text_of(event for event in events if event.data.get("command_id") == one) for one in ids}


async def test_commands_of_several_sessions_at_once(web: Web) -> None:
    expected = {}
    for name in ("a", "b", "c"):
        await web.post("/sessions", {"name": name}, 201)
        for number in range(4):
            text = f"for i in 1 2 3; do echo {name}{number} $i; sleep 0.02; done"
            command_id = await web.start(name, text, labels={"number": str(number)})
            expected[command_id] = "".join(f"{name}{number} {i}\n" for i in (1, 2, 3))
    query = "&".join(f"command={command_id}" for command_id in expected)
    events = await web.events(f"/follow?{query}")
    assert by_command(events) == expected
    assert {event.data["id"] for event in events if event.event == "end"} == set(expected)
    assert events[-1] == ("done", None, {})
    for event in events:
        if event.event == "stdout":
            assert event.id == f"{event.data['command_id'][:10]}:{event.data['seq']}"
    listed = await web.events("/follow", "POST", body={"commands": list(expected)})
    assert by_command(listed) == expected
    of_b = [one for one, text in expected.items() if text.startswith("b")]
    assert by_command(await web.events("/follow?session=b")) == {one: expected[one] for one in of_b}
    first = [one for one, text in expected.items() if text[1] == "0"]
    assert set(by_command(await web.events("/follow?label=number=0"))) == set(first)
    assert list(by_command(await web.events("/follow?label=number=0&session=b"))) == [of_b[0]]
    assert await web.events("/follow?label=number=9") == [("done", None, {})]
    assert await web.events("/follow", "POST", body={"commands": []}) == [("done", None, {})]


async def test_many_are_resumed_by_the_last_id_of_each_session(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    await web.post("/sessions", {"name": "other"}, 201)
    steps = ["printf 'c\\303'", "printf '\\251\\n'", "echo end"]
    commands = [await web.pace(name, steps) for name in ("test", "other", "test")]
    events = await web.events("/follow", "POST", body={"commands": commands})
    whole = by_command(events)
    assert sorted(whole.values()) == ["cé\nend\n"] * 3
    after: dict[str, int] = {}
    for number, event in enumerate(events):
        if event.id is None:
            continue
        session_id, _, seq = event.id.partition(":")
        after[session_id] = int(seq)
        rest = await web.events("/follow", "POST", body={"commands": commands, "after": after})
        told = by_command(events[: number + 1])
        later = by_command(rest)
        assert {one: told.get(one, "") + later.get(one, "") for one in whole} == whole
        query = "&".join([f"command={one}" for one in commands] + [f"after={one}:{seq}" for one, seq in after.items()])
        assert await web.events(f"/follow?{query}") == rest
    header = {"Last-Event-ID": next(event.id for event in reversed(events) if event.id) or ""}
    rest = await web.events("/follow", "POST", body={"commands": commands}, headers=header)
    assert len(by_command(rest)) == (1 if header["Last-Event-ID"].startswith(commands[0][:10]) else 2)


async def test_what_is_not_there_is_refused_before_the_stream(web: Web) -> None:
    command_id = await web.finish("test", "true")
    for path in (f"/follow?command={command_id}&command={command_id}9", "/follow?session=nobody"):
        answer = await web.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = await web.http.get(f"/commands/{command_id}/follow", headers={"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["error"]["path"]) == (400, "Last-Event-ID")


async def test_the_feed_of_events(web: Web) -> None:
    async with web.stream("/events?after=0") as stream:
        created = await stream.next()
        assert created is not None
        assert (created.event, created.data["command_id"]) == ("session_created", None)
        command_id = await web.finish("test", "true")
        told = [await stream.next() for _ in range(3)]
    assert [event.event for event in told if event] == ["command_queued", "command_started", "command_finished"]
    for event in told:
        assert event is not None
        assert (event.data["command_id"], event.id, event.data["type"]) == (
            command_id,
            str(event.data["seq"]),
            event.event,
        )
    async with web.stream("/events", headers={"Last-Event-ID": str(created.id)}) as stream:
        assert [await stream.next() for _ in range(3)] == told
    async with web.stream("/events") as stream:  # from now on
        await web.post("/sessions/test/close")
        closed = await stream.next()
        assert closed is not None
        assert closed.event == "session_closed"
    async with web.stream("/events") as stream:  # before the first event, a reader knows where to go on
        await web.post("/sessions", {"name": "next"}, 201)
        opened = await stream.next()
        assert opened is not None
        assert opened.event == "session_created"
        assert int(stream.first_id) < int(opened.id or 0)


class Socket:
    """A WebSocket's client end."""

    def __init__(self, web: Web, path: str) -> None:
        self._web = web
        self._target = f"/v1{path}"
        self.close_code: int | None = None
        self.received: list[str] = []

    async def __aenter__(self) -> Socket:
        self.stream = await self._web.connect()
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events = self._protocol.events()
        await self.stream.send_all(self._protocol.send(Request(host="localhost", target=self._target)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self.stream)

    async def next(self) -> object:
        while True:
            for event in self._protocol.events():
                if isinstance(event, Ping):
                    await self.stream.send_all(self._protocol.send(event.response()))
                    continue
                return event
            self._protocol.receive_data(await self.stream.receive_some() or None)

    async def refusal(self) -> tuple[int, Any]:
        """The answer where no WebSocket is granted."""
        rejected = await self.next()
        assert isinstance(rejected, RejectConnection)
        body = b""
        while rejected.has_body and isinstance(data := await self.next(), RejectData):
            body += bytes(data.data)
            if data.body_finished:
                break
        return rejected.status_code, json.loads(body)

    async def messages(self) -> list[dict[str, Any]]:
        """All messages until it is closed."""
        assert isinstance(await self.next(), AcceptConnection)
        found = []
        text = ""
        while not isinstance(event := await self.next(), CloseConnection):
            assert isinstance(event, TextMessage)
            text += event.data
            if event.message_finished:
                found.append(json.loads(text))
                self.received.append(text)
                text = ""
        self.close_code = event.code
        await self.stream.send_all(self._protocol.send(event.response()))
        return found


async def streams_are(web: Web, number: int) -> None:
    """Wait until so many streams are open."""
    with trio.fail_after(10):
        while f"\nsessions_streams {number}\n" not in (await web.http.get("/metrics")).text:
            await trio.sleep(0.01)


async def test_websocket_tells_the_same(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    steps = ["echo one", "printf 't\\303'", "printf '\\251\\n'", "echo e >&2"]
    command_id = await web.pace("test", steps)
    for path in (f"/commands/{command_id}/follow", f"/sessions/test/commands/{command_id}/follow?encoding=base64"):
        async with Socket(web, path) as socket:
            messages = await socket.messages()
        assert socket.close_code == 1000
        events = await web.events(path)
        assert messages == [
            {"event": event.event, **({"id": event.id} if event.id else {}), **event.data} for event in events
        ]
    async with Socket(web, f"/commands/{command_id}/follow?after={messages[0]['id']}") as socket:
        rest = await socket.messages()
    assert [message["event"] for message in rest] == ["stdout", "stdout", "stderr", "end"]
    assert "".join(message["text"] for message in rest if message["event"] == "stdout") == "té\n"
    assert "é" in "".join(socket.received[:-1]), "not escaped: many clients take no message of more than 1 MiB"
    async with Socket(web, f"/follow?command={command_id}") as socket:
        messages = await socket.messages()
    assert messages[-1] == {"event": "done"}
    assert messages[-2]["id"] == command_id
    assert messages[0]["id"] == f"{command_id[:10]}:{messages[0]['seq']}"


async def test_websocket_loses_nothing_behind_any_part_of_a_large_record(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PART_BYTES", 20_000)
    monkeypatch.setattr(telling, "MESSAGE_BYTES", 120_000)
    command_id = await web.finish("test", "head -c 100000 /dev/zero; printf on")
    async with Socket(web, f"/commands/{command_id}/follow") as socket:
        messages = await socket.messages()
    told = [message for message in messages if message["event"] == "stdout"]
    whole = "\0" * 100_000 + "on"
    assert "".join(message["text"] for message in told) == whole
    assert len(told) > 5
    seen = 0
    for message in told:
        seen += len(message["text"])
        async with Socket(web, f"/commands/{command_id}/follow?after={message['id']}") as socket:
            rest = "".join(one["text"] for one in await socket.messages() if one["event"] == "stdout")
        # Of a record that was told in part, that part comes once more.
        assert whole.endswith(rest)
        assert seen + len(rest) >= len(whole)
    assert rest == ""


async def test_websocket_refusals_are_answers(web: Web) -> None:
    command_id = await web.finish("test", "true")
    for path, status, code in [
        ("/commands/nix/follow", 404, "not_found"),
        (f"/commands/{command_id}/follow?x=1", 400, "invalid"),
        (f"/commands/{command_id}/logs", 404, "not_found"),
        ("/nothing", 404, "not_found"),
        ("/follow", 400, "invalid"),
    ]:
        async with Socket(web, path) as socket:
            answer = await socket.refusal()
        assert (answer[0], answer[1]["error"]["code"]) == (status, code), path


async def test_websocket_that_never_reads_holds_nobody_up(web: Web) -> None:
    command_id = await web.start("test", "head -c 30000000 /dev/zero | tr '\\0' x")
    async with Socket(web, f"/commands/{command_id}/follow") as lazy:
        assert isinstance(await lazy.next(), AcceptConnection)
        assert (await web.get(f"/commands/{command_id}/wait"))["state"] == "finished"
        assert (await web.post("/sessions/test/commands", {"command": "echo quick"}))["output"] == "quick\n"
        await streams_are(web, 1)
    await streams_are(web, 0)


async def test_websocket_is_closed_with_an_error_when_the_server_closes(engine: sessions.Engine) -> None:
    command = await (await engine.create_session("test")).run_async("sleep 60")
    told: list[dict[str, Any]] = []
    codes: list[int | None] = []

    async def read(web: Web) -> None:
        async with Socket(web, f"/commands/{command.id}/follow") as socket:
            told.extend(await socket.messages())
            codes.append(socket.close_code)

    async with trio.open_nursery() as readers:
        async with open_web(engine) as web:
            readers.start_soon(read, web)
            await streams_are(web, 1)
    assert [(one["event"], one["error"]["code"]) for one in told] == [("error", "closing")]
    assert codes == [1011]

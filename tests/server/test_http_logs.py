"""Logs over HTTP: JSON, text, raw bytes with ranges, events; whole and in part."""

from __future__ import annotations

import base64
import random
import re

import pytest
from http_server import Web, open_web, text_of
from http_server import open_test_web as open_test_web

import sessions
from sessions import reading_logs
from sessions.doors import telling
from sessions.doors.native import logs as native_logs
from sessions.doors.native.logs import choose_format
from sessions.doors.native.ranges import NotSatisfiable, read_range
from sessions.doors.rendering import StampedText, to_object
from sessions.models import Record
from sessions.selection import Selection

MIXED = ["echo one", "echo two >&2", "printf 'thr\\303'", "echo err >&2", "printf '\\251\\nfour'"]


async def test_json_is_the_default(web: Web) -> None:
    command_id = await web.pace("test", [*MIXED, "printf '\\377' >&2"])
    logs = await web.get(f"/commands/{command_id}/logs")
    assert (logs["stdout"], logs["stderr"]) == ("one\nthré\nfour", "two\nerr\n\ufffd")
    assert logs["dropped_bytes"] == 0
    coded = await web.get(f"/sessions/test/commands/{command_id}/logs?encoding=base64")
    raw = (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content
    assert base64.b64decode(coded["output"]) == raw
    assert base64.b64decode(coded["stderr"]) == b"two\nerr\n\xff"
    assert logs["output"] == raw.decode("utf-8", "replace")
    assert (await web.get(f"/commands/{command_id}/logs?stream=stderr"))["stdout"] == ""


async def test_large_logs_as_json_are_whole(web: Web) -> None:
    command_id = await web.finish("test", "head -c 3000001 /dev/urandom; head -c 1000001 /dev/urandom >&2")
    raw = (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content
    coded = await web.get(f"/commands/{command_id}/logs?encoding=base64")
    assert base64.b64decode(coded["output"]) == raw
    assert len(base64.b64decode(coded["stdout"])) == 3000001
    text = await web.get(f"/commands/{command_id}/logs?stream=stdout")
    assert text["stdout"] == base64.b64decode(coded["stdout"]).decode("utf-8", "replace")


async def test_too_much_for_json(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_logs, "JSON_BYTES", 100_000)
    command_id = await web.finish("test", "head -c 100001 /dev/zero")
    answer = await web.http.get(f"/commands/{command_id}/logs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert len((await web.get(f"/commands/{command_id}/logs?start=1"))["stdout"]) == 100_000
    assert len((await web.http.get(f"/commands/{command_id}/logs?format=raw")).content) == 100_001


async def test_parts_of_a_log(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    command_id = await web.pace("test", [f"echo {number}" for number in (1, 2, 3, 4)])
    path = f"/commands/{command_id}/logs"
    events = await web.events(path + "?format=events")
    first, second = events[0], events[1]
    for query, text in [
        ("tail=2", "3\n4\n"),
        ("tail=0", ""),
        (f"after={second.id}", "3\n4\n"),
        (f"since={second.data['time']}", "2\n3\n4\n"),
        (f"until={first.data['time']}", "1\n"),
        (f"tail=1&until={second.data['time']}", "2\n"),
        (f"tail=2&since={first.data['time']}", "3\n4\n"),
        (f"tail=3&after={second.id}", "3\n4\n"),
        ("start=2&stop=6", "2\n3\n"),
        ("stop=0", ""),
        ("after=999999999999999", ""),
        ("start=999999999999999", ""),
    ]:
        assert (await web.get(f"{path}?{query}"))["output"] == text, query
        assert (await web.http.get(f"{path}?{query}&format=raw")).text == text
        assert (await web.http.get(f"{path}?{query}&format=text")).text == text
        assert text_of(await web.events(f"{path}?{query}&format=events")) == text
    answer = await web.http.get(path + "?tail=2&start=1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


async def test_text_puts_characters_together(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MERGE_SECONDS", 0)
    command_id = await web.pace("test", MIXED)
    answer = await web.http.get(f"/commands/{command_id}/logs", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "one\ntwo\nthrerr\né\nfour"
    seqs = [event.id for event in await web.events(f"/commands/{command_id}/logs?format=events&encoding=base64")]
    rest = await web.http.get(f"/commands/{command_id}/logs?format=text&after={seqs[3]}")
    assert rest.text == "é\nfour"


async def test_text_with_times(web: Web) -> None:
    command_id = await web.pace("test", MIXED)
    answer = await web.http.get(f"/commands/{command_id}/logs?format=text&timestamps=true")
    lines = [
        re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\w+) (.*)", line) for line in answer.text.splitlines()
    ]
    assert [line.group(2, 3) for line in lines if line] == [
        ("stdout", "one"),
        ("stderr", "two"),
        ("stdout", "thr"),
        ("stderr", "err"),
        ("stdout", "é"),
        ("stdout", "four"),
    ]
    assert all(lines)
    times = [line[1] for line in lines if line]
    assert times == sorted(times)
    assert answer.text.endswith("four\n")


async def test_raw_bytes_and_ranges(web: Web) -> None:
    command_id = await web.finish("test", "head -c 400000 /dev/urandom; head -c 200000 /dev/urandom >&2")
    for query in ("", "&stream=stdout", "&stream=stderr"):
        path = f"/commands/{command_id}/logs?format=raw{query}"
        answer = await web.http.get(path)
        whole = answer.content
        assert answer.headers["content-length"] == str(len(whole))
        assert answer.headers["accept-ranges"] == "bytes"
        head = await web.http.head(path)
        assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")
        size = len(whole)
        chance = random.Random(7)
        pairs = [(0, 0), (0, size - 1), (size - 1, size - 1), (1, 131072)]
        pairs += [tuple(sorted(chance.choices(range(size), k=2))) for _ in range(8)]
        for first, last in pairs:
            answer = await web.http.get(path, headers={"Range": f"bytes={first}-{last}"})
            assert (answer.status_code, answer.content) == (206, whole[first : last + 1])
            assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert (await web.http.get(path, headers={"Range": "bytes=-10"})).content == whole[-10:]
        assert (await web.http.get(path, headers={"Range": f"bytes={size - 5}-"})).content == whole[-5:]
        answer = await web.http.get(path, headers={"Range": f"bytes={size}-"})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        for ignored in ("bytes=0-1,4-5", "lines=1-2", "bytes=5-2", "bytes"):
            assert (await web.http.get(path, headers={"Range": ignored})).status_code == 200
        answer = await web.http.get(path, headers={"Range": f"Bytes={size - 5}-{2**64 - 1}"})
        assert (answer.status_code, answer.content) == (206, whole[-5:])
        # What is known by no tag is never the version that is meant; and only GET knows of ranges (RFC 9110, 13.1.5 and 14.2).
        answer = await web.http.get(path, headers={"Range": "bytes=0-4", "If-Range": '"tag"'})
        assert (answer.status_code, answer.content) == (200, whole)
        head = await web.http.head(path, headers={"Range": "bytes=0-4"})
        assert (head.status_code, head.headers["content-length"]) == (200, str(size))
    session = await web.http.get("/sessions/test/logs?format=raw", headers={"Range": "bytes=599997-"})
    assert (session.status_code, session.content) == (
        206,
        (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content[-3:],
    )


async def test_a_command_that_still_writes(web: Web) -> None:
    command_id = await web.start("test", "echo now; read line", stdin=True)
    async with web.stream(f"/commands/{command_id}/follow") as stream:
        await stream.next()
    assert (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content == b"now\n"
    events = await web.events(f"/commands/{command_id}/logs?format=events")
    assert [event.event for event in events] == ["stdout", "end"]
    assert events[-1].data["state"] == "running"
    await web.post(f"/commands/{command_id}/input", {"close": True}, 204)


async def test_what_is_no_longer_kept(root: str) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(log_bytes=1 << 16)) as engine, open_web(engine) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        command_id = await web.finish("test", "for i in {10000..39999}; do echo $i; done")
        path = f"/commands/{command_id}/logs"
        view = await web.get(f"/commands/{command_id}")
        dropped = view["dropped_bytes"]
        written = "".join(f"{i}\n" for i in range(10000, 40000)).encode()
        kept = written[dropped:]
        assert dropped > 0
        logs = await web.get(path)
        assert (logs["output"].encode(), logs["dropped_bytes"]) == (kept, dropped)
        raw = await web.http.get(path + "?format=raw")
        assert (raw.content, raw.headers["sessions-dropped-bytes"]) == (kept, str(dropped))
        part = await web.http.get(path + "?format=raw", headers={"Range": f"bytes={dropped + 5}-{dropped + 9}"})
        assert (part.status_code, part.content) == (206, kept[5:10])
        gone = await web.http.get(path + "?format=raw", headers={"Range": f"bytes={dropped - 1}-{dropped + 9}"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (416, "range_not_satisfiable")
        for events in (await web.events(path + "?format=events"), await web.events(f"/commands/{command_id}/follow")):
            notices = [event.data["dropped_bytes"] for event in events if event.event == "dropped"]
            assert sum(notices) == dropped
            assert text_of(events).encode() == kept
        stamped = (await web.http.get(path + "?format=text&timestamps=true")).text
        assert re.match(r"\S+ dropped \d+ bytes are no longer kept\n", stamped)


async def test_bytes_that_go_while_they_are_read_are_told_as_dropped(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow download of a log that is being shortened: never zeros in place of what was there."""
    monkeypatch.setattr(reading_logs, "PIECE_BYTES", 4096)
    async with sessions.open_engine(root, limits=sessions.Limits(log_bytes=1 << 17)) as engine:
        session = await engine.create_session("test")
        lines = "while read -r n; do for ((i = 0; i < n; i++)); do echo 012345678901234567890123456789; done; done"
        command = await session.run_async(lines, stdin=True)
        await command.send_input("3000\n")
        async with command.follow() as records:
            size = 0
            while size < 93000:
                size += len((await anext(records)).data)
        pieces = reading_logs.read_pieces(command.archive, command.info, Selection())
        told = [next(pieces) for _ in range(3)]
        await command.send_input("6000\n")
        await command.close_input()
        await command.wait()
        assert command.dropped_bytes > 93000
        told += pieces
        data = b"".join(record.data for record in told)
        assert set(data) == set(b"0123456789\n")
        assert len(data) + sum(record.dropped_bytes for record in told) == 93000
        assert sum(record.dropped_bytes for record in told) > 50_000


def test_the_format_is_what_is_liked_best() -> None:
    for accept, name in [
        ("", "json"),
        ("*/*", "json"),
        ("text/plain", "text"),
        ("text/html, */*;q=0.8", "json"),
        ("application/json;q=0.5, text/plain;q=0.9", "text"),
        ("TEXT/EVENT-STREAM", "events"),
        ("application/octet-stream; q=x", "raw"),
        ("text/plain;q=0", "json"),
    ]:
        assert choose_format(None, accept) == name, accept
    assert choose_format("raw", "text/plain") == "raw"


def test_ranges() -> None:
    assert read_range("bytes=-99", 10) == (0, 10)
    assert read_range("bytes=3-", 10) == (3, 10)
    assert read_range(None, 0) is None
    for header in ("bytes=10-", "bytes=10-11", "bytes=-0"):
        with pytest.raises(NotSatisfiable):
            read_range(header, 10)
    with pytest.raises(NotSatisfiable):
        read_range("bytes=0-", 0)


def test_stamps_mark_each_line_once() -> None:
    stamped = StampedText(None)
    text = stamped.feed([Record(1, 0.5, "stdout", b"a\nb", "x-1"), Record(2, 1.0, "stdout", b"c\n", "x-1")])
    text += stamped.feed([Record(3, 2.0, "stdout", b"d", "x-1"), Record(4, 3.0, "stderr", b"e", "x-1")])
    text += stamped.feed([Record(5, 4.0, "stderr", b"f\xc3", "x-2")]) + stamped.finish()
    day = "1970-01-01T00:00:0"
    assert text.decode().splitlines() == [
        f"{day}0.500000Z stdout a",
        f"{day}0.500000Z stdout bc",
        f"{day}2.000000Z stdout d",
        f"{day}3.000000Z stderr e",
        f"{day}4.000000Z stderr f\ufffd",
    ]


def test_what_is_lost_in_one_piece_after_another_is_told_at_once() -> None:
    stamped = StampedText(None)
    lost = [Record(seq, 1.0, "dropped", b"", "x-1", 10) for seq in range(4)]
    text = stamped.feed(lost[:3]) + stamped.feed([lost[3], Record(4, 1.0, "dropped", b"", "x-2", 7)])
    text += (
        stamped.feed([Record(5, 2.0, "stdout", b"a\n", "x-1"), Record(6, 3.0, "dropped", b"", "x-1", 1)])
        + stamped.finish()
    )
    day = "1970-01-01T00:00:0"
    assert text.decode().splitlines() == [
        f"{day}1.000000Z dropped 40 bytes are no longer kept",
        f"{day}1.000000Z dropped 7 bytes are no longer kept",
        f"{day}2.000000Z stdout a",
        f"{day}3.000000Z dropped 1 bytes are no longer kept",
    ]


def test_an_empty_log_is_an_object() -> None:
    assert b"".join(to_object([], False)) == b'{"stdout":"","stderr":"","output":"","dropped_bytes":0}\n'

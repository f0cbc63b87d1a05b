"""How records become messages: which are merged, what their ids and times are, and where characters go."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.doors.streaming import to_events, to_object
from sessions.doors.telling import Message, Teller, full_id, size_as_text
from sessions.models import Record, StreamName
from sessions.workshop import READ_BYTES


def record(seq: int, time: float, data: bytes, stream: StreamName = "stdout", command: str = "s-1") -> Record:
    return Record(seq, time, stream, data, command)


def told(messages: list[Message]) -> list[tuple[str, str | None, Any]]:
    return [(message.event, message.id, json.loads(message.data)) for message in messages]


def test_neighbours_within_ten_milliseconds_are_merged() -> None:
    messages = Teller("text").tell(
        [
            record(1, 5.0, b"a"),
            record(2, 5.005, b"b"),
            record(4, 5.0099, b"c"),
            record(5, 5.011, b"d"),  # too late
            record(6, 5.011, b"e", "stderr"),
            record(7, 5.011, b"f", "stderr", "s-2"),
            Record(8, 5.011, "dropped", b"", "s-2", 7),
            Record(9, 5.011, "dropped", b"", "s-2", 8),
            record(10, 5.011, b"g", "stderr", "s-2"),
        ]
    )
    assert [
        (event, id, data["time"], data.get("text", data.get("dropped_bytes"))) for event, id, data in told(messages)
    ] == [
        ("stdout", "4", 5.0, "abc"),
        ("stdout", "5", 5.011, "d"),
        ("stderr", "6", 5.011, "e"),
        ("stderr", "7", 5.011, "f"),
        ("dropped", "8", 5.011, 7),
        ("dropped", "9", 5.011, 8),
        ("stderr", "10", 5.011, "g"),
    ]
    assert [data["seq"] for _, _, data in told(messages)] == [4, 5, 6, 7, 8, 9, 10]


def test_a_message_stays_small_if_records_are() -> None:
    messages = Teller("base64").tell(
        [record(seq, 1.0, b"x" * 30_000) for seq in range(1, 6)] + [record(6, 1.0, b"y" * 200_000)]
    )
    assert [id for _, id, _ in told(messages)] == ["2", "4", "5", "6"]


@pytest.mark.parametrize("piece", [b"\0", b"\xff", b"x", "\u2028".encode(), "\U0001f603".encode()])
@pytest.mark.parametrize("encoding", ["text", "auto", "base64"])
def test_no_message_of_a_websocket_has_more_than_a_mebibyte(encoding: str, piece: bytes) -> None:
    """Many clients take none that is larger. The largest record is what one read takes."""
    data = (piece * READ_BYTES)[:READ_BYTES]
    messages = Teller(encoding, for_socket=True).tell([record(7, 1.0, data), record(8, 2.0, b"on")])
    assert max(len(to_object(message).encode()) for message in messages) < 1 << 20
    contents = [content for _, _, content in told(messages)]
    if encoding == "text":
        assert "".join(content["text"] for content in contents) == (data + b"on").decode(errors="replace")
    else:
        parts = [one["text"].encode() if "text" in one else b64decode(one["base64"]) for one in contents]
        assert b"".join(parts) == data + b"on"
    # Only behind a whole record can be gone on, so it is taken apart only where nothing else is possible.
    assert len(messages) == (2 if encoding != "text" or piece not in (b"\0", b"\xff") else 5)
    places = [6] * (len(messages) - 2) + [7, 8]
    assert [(message.id, content["seq"]) for message, content in zip(messages, contents, strict=True)] == [
        (str(place), place) for place in places
    ]
    assert len(Teller(encoding).tell([record(7, 1.0, data)])) == 1  # lines of events may have any length


@given(st.binary(max_size=20) | st.text().map(str.encode))
def test_size_as_text(data: bytes) -> None:
    text = json.dumps(data.decode(errors="replace"), ensure_ascii=False)
    assert size_as_text(data) == len(text.encode()) - len('""')


def test_letters_may_stay_letters() -> None:
    text = "é漢\n\u2028\0" * 2
    (escaped,) = Teller("text").tell([record(1, 1.0, text.encode())])
    (plain,) = Teller("text", for_socket=True).tell([record(1, 1.0, text.encode())])
    assert json.loads(escaped.data) == json.loads(plain.data)
    assert escaped.data.isascii()
    assert "é漢" in plain.data
    assert "\n" not in plain.data


def test_what_is_left_of_a_character_has_the_id_of_the_end() -> None:
    teller = Teller("text", full_id)
    assert teller.tell([record(1, 1.0, b"\xe2")]) == []
    assert told(teller.tell([record(2, 2.0, b"\x82")])) == []
    assert teller.tells("s-1")
    assert told(teller.rest("s-1", 9, 3.0)) == [
        ("stdout", "s:9", {"seq": 9, "time": 3.0, "command_id": "s-1", "text": "\ufffd"})
    ]
    assert teller.rest("s-1", 9, 3.0) == []


def test_resuming_looks_at_what_was_before() -> None:
    asked: list[int] = []

    def before(first: Record) -> bytes:
        asked.append(first.seq)
        return b"x\xc3"

    messages = Teller("text", before=before).tell([record(7, 1.0, b"\xa9"), record(8, 1.001, b"!")])
    assert [(id, data["text"]) for _, id, data in told(messages)] == [("8", "é!")]
    assert asked == [7]


def test_events_and_objects_say_the_same() -> None:
    messages = [
        *Teller("base64").tell([record(1, 1.5, b"\xff\n")]),
        Message("end", None, '{"id":"s-1"}'),
        Message("done", None, "{}"),
    ]
    assert to_events(messages) == (
        b'id: 1\nevent: stdout\ndata: {"seq":1,"time":1.5,"command_id":"s-1","base64":"/wo="}\n\n'
        b'event: end\ndata: {"id":"s-1"}\n\nevent: done\ndata: {}\n\n'
    )
    assert [json.loads(to_object(message)) for message in messages] == [
        {"event": "stdout", "id": "1", "seq": 1, "time": 1.5, "command_id": "s-1", "base64": "/wo="},
        {"event": "end", "id": "s-1"},
        {"event": "done"},
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=5), st.floats(0, 0.02)), max_size=12)
)
def test_however_it_is_cut_the_text_is_the_same(pieces: list[tuple[StreamName, bytes, float]]) -> None:
    records = []
    time = 0.0
    for seq, (stream, data, pause) in enumerate(pieces):
        time += pause
        records.append(record(seq, time, data, stream))
    for cut in range(len(records) + 1):
        teller = Teller("text")
        messages = told([*teller.tell(records[:cut]), *teller.tell(records[cut:]), *teller.rest("s-1", 99, time)])
        for stream in ("stdout", "stderr"):
            whole = b"".join(data for of, data, _ in pieces if of == stream)
            assert "".join(data["text"] for event, _, data in messages if event == stream) == whole.decode(
                "utf-8", "replace"
            )

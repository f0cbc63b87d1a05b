"""The Miosa door's plain parts: lines, messages and tickets."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.doors.miosa.errors import error_answer, not_running, too_long
from sessions.doors.miosa.frames import (
    BINARY,
    EndOfInput,
    Frames,
    Input,
    Resize,
    Signal,
    Wish,
    choose_frames,
)
from sessions.doors.miosa.interpreters import Written
from sessions.doors.miosa.lines import LONGEST, Lines
from sessions.doors.miosa.streams import TICKET_SECONDS, Tickets
from sessions.doors.open_streams import ServerCloses
from sessions.errors import Broken, Busy, Conflict, Invalid, NotFound, SessionsError

PIECES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=6)))
COMMAND: Any = object()


@given(PIECES)
def test_lines_are_what_was_written(pieces: list[tuple[str, bytes]]) -> None:
    lines = Lines()
    found = [pair for stream, data in pieces for pair in lines.feed(stream, data)]
    assert all(line.endswith("\n") and line.count("\n") == 1 for _, line in found)
    found += lines.end()
    for stream in ("stdout", "stderr"):
        written = b"".join(data for name, data in pieces if name == stream).decode("utf-8", "replace")
        told = [line for name, line in found if name == stream]
        assert "".join(told) == written
        assert [line for line in written.split("\n") if line] == [line.rstrip("\n") for line in told if line != "\n"]


def test_a_line_without_an_end_is_cut() -> None:
    lines = Lines()
    text = "ü" * (2 * LONGEST + 10)
    found = [line for _, line in lines.feed("stdout", text.encode())]
    assert [len(line) for line in found] == [LONGEST, LONGEST]
    assert "".join(found) + lines.end()[0][1] == text
    assert lines.end() == []


def test_lines_without_an_end_come_in_the_order_of_their_beginnings() -> None:
    lines = Lines()
    for stream, data in [("stdout", b"1\n2"), ("stderr", b"3"), ("stdout", b"\n4"), ("stderr", "ü".encode()[:1])]:
        lines.feed(stream, data)
    assert lines.end() == [("stderr", "3\ufffd"), ("stdout", "4")]


@given(PIECES)
def test_json_frames_never_split_a_character(pieces: list[tuple[str, bytes]]) -> None:
    frames = choose_frames(["other"])
    assert frames.subprotocol is None
    sent = [json.loads(frame) for stream, data in pieces for frame in frames.output(stream, data)]
    *rest, last = [json.loads(frame) for frame in frames.exit(7)]
    assert last == {"type": "exit", "code": 7}
    for stream in ("stdout", "stderr"):
        written = b"".join(data for name, data in pieces if name == stream).decode("utf-8", "replace")
        assert "".join(frame["data"] for frame in [*sent, *rest] if frame["type"] == stream) == written


@pytest.mark.parametrize("offered", [[], [BINARY]])
def test_messages_are_of_a_size_that_clients_take(offered: list[str]) -> None:
    frames = choose_frames(offered).output("stdout", b"\xff\x01" * 500_000)
    assert len(frames) > 1
    assert max(map(len, frames)) < 1 << 20


@pytest.mark.parametrize(
    ("frames", "message", "wish"),
    [
        (choose_frames([]), {"text": '{"type": "stdin", "data": "ü"}'}, Input("ü".encode())),
        (choose_frames([]), {"bytes": b'{"type": "stdin", "data": "x"}'}, Input(b"x")),
        (choose_frames([]), {"text": '{"type": "stdin_close"}'}, EndOfInput()),
        (choose_frames([]), {"text": '{"type": "resize", "rows": 40, "cols": 100}'}, Resize(40, 100)),
        (choose_frames([]), {"text": '{"type": "resize", "rows": 0, "cols": 100}'}, None),
        (choose_frames([]), {"text": '{"type": "signal", "signal": "SIGINT"}'}, Signal("SIGINT")),
        (choose_frames([]), {"text": '{"type": "signal"}'}, None),
        (choose_frames([]), {"text": '{"type": "news"}'}, None),
        (choose_frames([]), {"text": "what"}, None),
        (choose_frames([BINARY]), {"bytes": b"\0in"}, Input(b"in")),
        (choose_frames([BINARY]), {"bytes": b"\5" + struct.pack(">HH", 40, 100)}, Resize(40, 100)),
        (choose_frames([BINARY]), {"bytes": b"\5\0\0\0\0"}, None),
        (choose_frames([BINARY]), {"bytes": b"\5\0"}, None),
        (choose_frames([BINARY]), {"bytes": b"\7"}, None),
        (choose_frames([BINARY]), {"text": "text"}, None),
    ],
)
def test_what_clients_say(frames: Frames, message: dict[str, Any], wish: Wish | None) -> None:
    assert frames.read(message) == wish


def test_binary_frames() -> None:
    frames = choose_frames(["bearer.x", BINARY])
    assert frames.subprotocol == BINARY
    assert [*frames.output("stdout", b"\xff"), *frames.output("stderr", b"e")] == [b"\x01\xff", b"\x02e"]
    assert frames.exit(137) == [b"\x03\0\0\0\x89"]


def test_tickets() -> None:
    now = 1000.0
    tickets = Tickets(lambda: now)
    text, ticket = tickets.issue("c1", COMMAND, 30.0)
    assert ticket.expires_at == now + TICKET_SECONDS
    assert tickets.is_good(text, "c1")
    for wrong in (
        tickets.take(text, "c2"),
        tickets.take(text + "x", "c1"),
        tickets.take("", "c1"),
        tickets.take("\ud800", "c1"),
    ):
        assert wrong is None
    assert tickets.take(text, "c1") is ticket
    assert tickets.take(text, "c1") is None
    late, _ = tickets.issue("c1", COMMAND, 30.0)
    now += TICKET_SECONDS
    assert tickets.take(late, "c1") is None
    tickets.issue("c1", COMMAND, 30.0)
    assert len(tickets._open) == 1  # who has run out is forgotten


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (Invalid("no"), 400, "VALIDATION_ERROR", False),
        (NotFound("no"), 404, "NOT_FOUND", False),
        (Conflict("no"), 409, "CONFLICT", False),
        (Busy("no"), 429, "RATE_LIMITED", True),
        (Broken("no"), 502, "AGENT_UNAVAILABLE", True),
        (ServerCloses("no"), 503, "SERVICE_UNAVAILABLE", True),
        (not_running("computer", "c1", "stopped"), 409, "COMPUTER_NOT_RUNNING", False),
        (too_long(300), 422, "TIMEOUT_TOO_LONG", False),
    ],
)
def test_errors(error: SessionsError, status: int, code: str, retry: bool) -> None:
    answer = error_answer({"type": "http"}, error)
    body = json.loads(bytes(answer.body))
    assert (answer.status_code, body["error"]["code"], body["error"]["message"]) == (status, code, str(error))
    assert answer.headers["x-request-id"] == body["request_id"]
    assert body["error"]["retryable"] is retry
    hints = (answer.headers.get("retry-after"), body.get("retry_after"), body["error"].get("retry_after_ms"))
    assert hints == (("1", 1, 1000) if retry else (None, None, None))


def test_cells_are_taken_apart() -> None:
    whole = b'out\0no mark\0\0m:{"ok": true}\0late'
    for middle in range(len(whole) + 1):
        written = Written()
        written.add(whole[:middle])
        found = written.take_cell(b"\0m:")
        written.add(whole[middle:])
        assert (found or written.take_cell(b"\0m:")) == (b"out\0no mark\0", {"ok": True})
        assert written.take_cell(b"\0n:") is None
        written.add(b"\0n:{}\0")
        assert written.take_cell(b"\0n:") == (b"late", {})
        assert written.take_all() == b""


def test_of_much_output_of_a_cell_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.doors.miosa.interpreters.MOST_BYTES", 16)
    written = Written()
    for piece in (b"gone", b"123456789\0", b"m:", b"{}"):
        written.add(piece)
        assert written.take_cell(b"\0m:") is None
    written.add(b"\0y")
    assert written.take_cell(b"\0m:") == (b"123456789", {})
    assert written.take_all() == b"y"


def test_output_is_searched_for_a_mark_once() -> None:
    """However small the pieces are in which it comes."""

    class Searched(bytearray):
        size = 0

        def find(self, wanted: bytes, begin: int = 0) -> int:  # type: ignore[override]
            Searched.size += len(self) - begin
            return super().find(wanted, begin)

    written = Written()
    written.data = Searched()
    for _ in range(1000):
        written.add(b"x" * 100)
        assert written.take_cell(b"\0m:") is None
    assert 100_000 <= Searched.size < 110_000

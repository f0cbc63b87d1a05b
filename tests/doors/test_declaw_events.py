"""The door's three forms of events, without a server."""

from __future__ import annotations

import base64
import json
import random

import pytest

from sessions.doors.declaw.events import Entries, Events, Lines, Screens, to_failure
from sessions.models import Record


def records(*pieces: tuple[str, bytes]) -> list[Record]:
    return [Record(seq, 0.0, stream, data, "c") for seq, (stream, data) in enumerate(pieces)]  # type: ignore[arg-type]


def told(text: bytes) -> list[tuple[str, dict[str, object]]]:
    """Events, as a strict reader takes them."""
    assert text.isascii()
    found = []
    for block in text.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_the_form_of_the_document() -> None:
    events = Lines()
    assert events.tell(records(("stdout", b"1\n"), ("stderr", b"oops\n"))) == (
        b'event: stdout\ndata: {"type": "stdout", "stream": "stdout", "data": "1\\n"}\n\n'
        b'event: stderr\ndata: {"type": "stderr", "stream": "stderr", "data": "oops\\n"}\n\n'
    )
    assert events.end(3) == b'event: exit\ndata: {"exit_code": 3}\n\n'


def test_lines_come_when_they_are_complete() -> None:
    events = Lines()
    assert events.tell(records(("stdout", b"be"), ("stderr", b"x\ny"), ("stdout", b"gun"))).count(b"event") == 1
    assert [event["data"] for _, event in told(events.tell(records(("stdout", b"\n\nrest"))))] == ["begun\n", "\n"]
    assert [(name, event.get("data")) for name, event in told(events.end(0))] == [
        ("stdout", "rest"),
        ("stderr", "y"),
        ("exit", None),
    ]


def test_lines_that_never_end_are_told_in_pieces() -> None:
    events = Lines()
    text = b"".join(events.tell(records(("stdout", b"x" * (1 << 20)))) for _ in range(9)) + events.end(0)
    sizes = [len(str(event["data"])) for name, event in told(text) if name == "stdout"]
    assert sizes == [4 << 20, 4 << 20, 1 << 20]


@pytest.mark.parametrize("seed", range(20))
def test_text_is_exact_however_it_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    texts = {name: "".join(dice.choices('a\n\r é€😀\u2028\u2029\x85\x00"\\', k=200)) for name in ("stdout", "stderr")}
    left = {name: text.encode() for name, text in texts.items()}
    events = Lines()
    text = b""
    while any(left.values()):
        name = dice.choice([name for name in left if left[name]])
        size = dice.randint(1, 7)
        text += events.tell(records((name, left[name][:size])))
        left[name] = left[name][size:]
    found = told(text + events.end(0))
    for name, whole in texts.items():
        pieces = [str(event["data"]) for kind, event in found if kind == name]
        assert "".join(pieces) == whole
        assert all(piece.endswith("\n") and piece.count("\n") == 1 for piece in pieces[:-1])
        assert all(event["type"] == event["stream"] == kind for kind, event in found if kind == name)


def test_what_is_no_text_is_replaced() -> None:
    events = Lines()
    found = told(events.tell(records(("stdout", b"\xff\n\xc3"))) + events.end(0))
    assert [event.get("data") for _, event in found] == ["\ufffd\n", "\ufffd", None]


def test_entries_have_numbers_from_one_on() -> None:
    found = told(Entries().tell(records(("stdout", b"a"), ("stdout", b"b\xff"), ("stderr", b"c"), ("dropped", b""))))
    assert found == [
        ("stdout", {"data": base64.b64encode(b"ab\xff").decode(), "entry_id": 2}),
        ("stderr", {"data": base64.b64encode(b"c").decode(), "entry_id": 3}),
    ]


@pytest.mark.parametrize("events", [Lines(), Entries(), Screens()])
def test_each_form_tells_its_end(events: Events) -> None:
    assert events.tell([]) == b""
    assert told(events.end(137)) == [("exit", {"exit_code": 137})]


def test_screens_are_bytes() -> None:
    assert told(Screens().tell(records(("stdout", b"\x1b[1m"), ("stdout", b"\xff")))) == [
        ("data", {"data": base64.b64encode(b"\x1b[1m\xff").decode()})
    ]


def test_a_failure_ends_a_stream_for_all_clients() -> None:
    assert told(to_failure("é")) == [("error", {"error": "é"}), ("exit", {"exit_code": -1})]

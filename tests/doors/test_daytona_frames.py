"""Two streams in one: what any client that knows the markers takes apart is what was written."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.doors.daytona.frames import FRAME_BYTES, MARKERS, Framer, interrupt, mark, runs
from sessions.doors.daytona.versions import Form, choose_form, version_token
from sessions.models import Record

STREAMS = st.sampled_from(["stdout", "stderr"])
NASTY = st.lists(st.sampled_from([b"\1", b"\2", b"A", b"\0"]), min_size=1, max_size=12).map(b"".join)


def take_apart(data: bytes) -> dict[str, bytes]:
    """What the format means: the first marker from the left, again and again."""
    found = {"": b"", "stdout": b"", "stderr": b""}
    stream, begin = "", 0
    while begin < len(data):
        switched = next((name for name, marker in MARKERS.items() if data.startswith(marker, begin)), None)
        if switched is not None:
            stream, begin = switched, begin + 3
        else:
            found[stream] += data[begin : begin + 1]
            begin += 1
    return found


def put_together(parts: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    found = {"": b"", "stdout": b"", "stderr": b""}
    for stream, data in parts:
        found[stream] += data
    return found


@given(st.lists(st.tuples(STREAMS, NASTY)))
def test_nothing_is_taken_for_a_marker(parts: list[tuple[str, bytes]]) -> None:
    framer = Framer()
    frames = [frame for stream, data in parts for frame in framer.frames(stream, data)]
    assert take_apart(b"".join(frames)) == put_together(parts)


class Demultiplexer:
    """What the clients do. They hold back what may be the beginning of a marker; that on Node looks for markers only in front of
    that, that in Python in all there is.
    """

    def __init__(self, on_node: bool) -> None:
        self.found = {"": b"", "stdout": b"", "stderr": b""}
        self._on_node = on_node
        self._stream = ""
        self._rest = b""

    def feed(self, frame: bytes) -> None:
        self._rest += frame
        while True:
            rest = self._rest
            if len(rest) < 3 or (len(rest) == 3 and rest[-1] in b"\1\2"):
                held = 2
            else:
                held = 0 if rest[-1] not in b"\1\2" else 1 if rest[-2] not in b"\1\2" else 2
            safe = rest[: max(0, len(rest) - held)]
            if not safe:
                return
            searched = safe if self._on_node else rest
            places = [(place, name) for name, marker in MARKERS.items() if (place := searched.find(marker)) >= 0]
            place, name = min(places, default=(len(safe), ""))
            self.found[self._stream] += rest[:place]
            self._rest = rest[place + 3 :] if places else rest[place:]
            if not places:
                return
            self._stream = name

    def end(self) -> dict[str, bytes]:
        self.found[self._stream] += self._rest
        return self.found


@given(st.lists(st.tuples(STREAMS, NASTY.filter(lambda data: len(data) > 1))))
def test_the_client_on_node_takes_them_apart(parts: list[tuple[str, bytes]]) -> None:
    """But for a frame with a single byte that looks like a marker's: nothing can be done about that."""
    framer, client = Framer(), Demultiplexer(on_node=True)
    for stream, data in parts:
        for frame in framer.frames(stream, data):
            client.feed(frame)
    assert client.end() == put_together(parts)


@pytest.mark.parametrize("data", [b"x" * 200_000, b"\1" * 200_000, b"\2\2\2x" * 50_000])
def test_frames_are_of_a_size_that_clients_can_take(data: bytes) -> None:
    frames = Framer().frames("stdout", data)
    assert max(map(len, frames)) <= FRAME_BYTES
    assert take_apart(b"".join(frames))["stdout"] == data


def test_plain_output_costs_a_marker_and_nothing_else() -> None:
    assert Framer().frames("stdout", b"a\0b\n") == [b"\1\1\1a\0b\n"]
    assert interrupt("stderr", b"\1\1 \2\2") == b"\1\1 \2\2"
    framer = Framer()
    assert framer.frames("stderr", b"x\1") == [b"\2\2\2x\1"]
    assert framer.frames("stdout", b"y") == [b"\2\2\2\1\1\1y"]


@given(st.lists(st.tuples(STREAMS, NASTY)))
def test_the_client_in_python_gives_out_all_at_once(parts: list[tuple[str, bytes]]) -> None:
    framer, client = Framer(eager=True), Demultiplexer(on_node=False)
    for position, (stream, data) in enumerate(parts):
        for frame in framer.frames(stream, data):
            client.feed(frame)
        assert client.found == put_together(parts[: position + 1])


def test_neighbours_share_frames() -> None:
    records = [
        Record(n, 0.0, name, data, "c")
        for n, (name, data) in enumerate([("stdout", b"a"), ("stdout", b"b"), ("stderr", b"c")])
    ]
    assert list(runs(records)) == [("stdout", b"ab"), ("stderr", b"c")]
    assert mark([*records, Record(9, 0.0, "dropped", b"", "c", 5)]) == b"\1\1\1ab\2\2\2c"


@pytest.mark.parametrize(
    ("version", "form"),
    [
        ("0.226.1", "json"),
        ("0.167.0", "json"),
        ("0.167.0alpha", "json"),
        ("0.0.0-dev", "json"),
        ("1.0.0", "json"),
        ("0.166.9", "marked"),
        ("0.27.0alpha", "marked"),
        ("0.27.0", "marked"),
        ("nonsense", "marked"),
        ("0.26.9", "plain"),
        ("", "plain"),
    ],
)
def test_the_version_chooses_the_form(version: str, form: Form) -> None:
    assert choose_form({"x-daytona-sdk-version": version}) == form
    token = f"X-Daytona-SDK-Version~{version}"
    assert choose_form({}, ["other", token]) == form
    assert version_token(["other", token]) == token


def test_markers_can_be_asked_for() -> None:
    assert choose_form({"x-daytona-split-output": "true"}) == "marked"
    assert choose_form({}) == "plain"

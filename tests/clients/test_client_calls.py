"""A client's plain parts: addresses, requests, answers, events and patience, without a connection."""

from __future__ import annotations

import fcntl
import json
import math
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sessions
from sessions.client import address, answers, calls, events, patience
from sessions.models import CommandInfo
from sessions.selection import Selection
from sessions.server.lock import locked
from sessions.wire import SubmitCommand, from_wire, to_wire, view_command

# Addresses


@pytest.mark.parametrize(
    ("url", "base", "socket"),
    [
        ("http://127.0.0.1:7878", "http://127.0.0.1:7878/v1", None),
        ("http://[::1]:7878/", "http://[::1]:7878/v1", None),
        ("https://example.org/behind/", "https://example.org/behind/v1", None),
        ("http://bücher.example:80", "http://bücher.example:80/v1", None),
        ("http://my_host.example.", "http://my_host.example./v1", None),
        ("unix:///run/a b/serve.sock", "http://localhost/v1", "/run/a b/serve.sock"),
        ("unix:/run/serve.sock", "http://localhost/v1", "/run/serve.sock"),
    ],
)
def test_addresses(url: str, base: str, socket: str | None) -> None:
    found = address.parse_url(url)
    assert (found.base, found.socket) == (base, socket)
    assert str(found).startswith(url.partition(":")[0])


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:7878", "ftp://host", "http://", "http://host:0", "http://host:99999", "http://a:b:c"),
        *("unix://relative/path", "unix:", "http://me:secret@host", "http://host?x=1", "http://[::1", 5),
        *(
            "http://256.256.256.256",
            "http://a..b",
            f"http://{'a' * 64}.org",
            "http://\udcff",
            "http://bü_cher",
            "http://a\1",
        ),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(sessions.Invalid, match="url"):
        sessions.connect(url)


def test_where_address_and_token_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_HOME", str(tmp_path))
    none: dict[str, str] = {}
    found = address.find_address(None, None, none)
    assert (found.socket, found.token) == (f"{tmp_path}/serve.sock", None)
    assert found.url == f"unix://{tmp_path}/serve.sock"
    (tmp_path / "token").write_text("kept\n")
    assert address.find_address(None, None, none).token is None
    for elsewhere in ("http://127.0.0.1:1", "http://localhost:1", "https://[::1]:1", "http://example.org"):
        assert address.find_address(elsewhere, None, none).token is None
    told = {"SESSIONS_URL": "http://127.0.0.1:5", "SESSIONS_TOKEN": "told"}
    found = address.find_address(None, None, told)
    assert (found.url, found.token) == ("http://127.0.0.1:5", "told")
    assert address.find_address("unix:///x", "given", told).token == "given"
    assert "given" not in repr(address.find_address("unix:///x", "given", told))
    for wrong in ("two\nlines", "a b", "ä", 5):
        with pytest.raises(sessions.Invalid, match="token"):
            sessions.connect("http://127.0.0.1:1", wrong)  # type: ignore[arg-type]


PLACES = [
    (["http://127.0.0.1:1"], "http://127.0.0.1:1", "http://127.0.0.1:1"),
    (["http://127.0.0.1:1"], "http://127.0.0.1:2", None),
    (["http://127.0.0.1:1"], "https://127.0.0.1:1", None),
    (["http://127.0.0.1:1"], "http://127.0.0.2:1", None),
    (["http://127.0.0.1:1"], "http://[::1]:1", None),
    (["http://127.0.0.1:80"], "http://127.0.0.1/prefix", "http://127.0.0.1/prefix"),
    (["http://127.0.0.1:1", "http://[::1]:2"], "http://[::1]:2", "http://[::1]:2"),
    # Who listens on the other address of the name may be somebody else.
    (["http://127.0.0.1:1"], "http://localhost:1", "http://127.0.0.1:1"),
    (["http://[::1]:1"], "http://localhost:1/p", "http://[::1]:1/p"),
    (["http://127.0.0.1:1"], "http://localhost:2", None),
    (["https://127.0.0.1:443"], "https://localhost", "https://localhost"),
    (["http://0.0.0.0:1"], "http://127.0.0.2:1", "http://127.0.0.2:1"),
    (["http://0.0.0.0:1"], "http://localhost:1", "http://127.0.0.1:1"),
    (["http://0.0.0.0:1"], "http://[::1]:1", None),
    (["http://[::]:1"], "http://[::1]:1", "http://[::1]:1"),
    (["http://192.168.7.7:1"], "http://192.168.7.7:1", None),
    ([], "http://127.0.0.1:1", None),
]


@pytest.mark.parametrize(("urls", "asked", "place"), PLACES)
def test_the_kept_token_is_for_the_server_that_listens_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, urls: list[str], asked: str, place: str | None
) -> None:
    monkeypatch.setenv("SESSIONS_HOME", str(tmp_path))
    (tmp_path / "token").write_text("kept\n")
    with locked(tmp_path) as lock:
        assert address.find_address(asked, None, {}).token is None, "it has not said where it listens"
        lock.tell(urls=urls, unix=None)
        found = address.find_address(asked, None, {})
        assert (found.url, found.token) == (asked, None if place is None else "kept")
        assert found.base == (place or asked) + "/v1"
        told = (tmp_path / "serve.lock").read_bytes()
    # One that was killed leaves what it said.
    (tmp_path / "serve.lock").write_bytes(told)
    assert address.find_address(asked, None, {}).token is None


def test_a_look_at_the_lock_keeps_no_server_from_it(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").touch()
    with open(tmp_path / "serve.lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        with pytest.raises(sessions.Conflict), locked(tmp_path):
            pass
        threading.Timer(0.02, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with locked(tmp_path):
            pass


# Requests


def test_a_run_as_data() -> None:
    call = calls.submit(
        "k3v9x2m4ab", "echo", run_async=False, stdin=b"\xff", timeout=math.inf, idle_timeout=2, cwd=Path("/usr")
    )
    assert (call.method, call.path, call.query) == ("POST", "/sessions/k3v9x2m4ab/commands", ())
    assert (call.repeatable, call.heard, call.streamed) == (False, True, False)
    asked = from_wire(json.loads(json.dumps(call.body, allow_nan=False)), SubmitCommand)
    assert (asked.command, asked.stdin, asked.stdin_base64, asked.encoding) == ("echo", False, "/w==", "base64")
    assert (asked.timeout, asked.idle_timeout, asked.cwd) == (calls.LONGEST_SECONDS, 2.0, "/usr")
    assert from_wire(calls.submit("s", "x", run_async=True, stdin=True).body, SubmitCommand).stdin is True


def test_queries_as_data() -> None:
    path = calls.command_path("k3v9x2m4ab-7")
    assert calls.follow(path, 5, "stderr", True).query == (
        ("after", "5"),
        ("stream", "stderr"),
        ("late", "true"),
        ("encoding", "auto"),
    )
    asked = Selection(since=1.5, until=1e10, after=-1)
    assert calls.logs(path, asked).query == (
        ("since", "1.5"),
        ("until", "10000000000.0"),
        ("after", "-1"),
        ("encoding", "auto"),
    )
    assert calls.list_sessions("open", {"a": "b=c"}).query == (("state", "open"), ("label", "a=b=c"))
    assert calls.list_commands("build", None, None, 5_000, None).query == (("session", "build"), ("limit", "1000"))
    with pytest.raises(sessions.Invalid, match="="):
        calls.list_sessions(None, {"a=b": "c"})


@given(st.text())
def test_no_name_is_another_path(name: str) -> None:
    for make in (calls.session_path, calls.command_path):
        try:
            path = make(name)
        except sessions.NotFound:
            continue
        assert path.count("/") == 2
        assert not set(path.rpartition("/")[2]) & set("/?#% \\")
        assert path.rpartition("/")[2].strip(".")


# Answers


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"error": {"code": "not_found", "message": "m"}}', sessions.NotFound),
        (410, b'{"error": {"code": "expired", "message": "m"}}', sessions.Expired),
        (410, b'{"error": {"code": "closed", "message": "m"}}', sessions.Closed),
        (400, b'{"error": {"code": "invalid", "message": "m", "path": "$.x"}}', sessions.Invalid),
        (409, b'{"error": {"code": "conflict", "message": "m"}}', sessions.Conflict),
        (429, b'{"error": {"code": "busy", "message": "m"}}', sessions.Busy),
        (408, b'{"error": {"code": "timed_out", "message": "m"}}', sessions.TimedOut),
        (500, b'{"error": {"code": "corrupt", "message": "m"}}', sessions.Corrupt),
        (503, b'{"error": {"code": "closing", "message": "m"}}', sessions.Broken),
        (413, b'{"error": {"code": "something_new", "message": "m"}}', sessions.Invalid),
        (500, b'{"error": {"code": "something_new", "message": "m"}}', sessions.Broken),
        (502, b"<html>m</html>", sessions.Broken),
        (302, b"m", sessions.Broken),
        (404, b"m", sessions.Invalid),
        (429, b"\xff m", sessions.Busy),
        (500, b'{"error": "m"}', sessions.Broken),
    ],
)
def test_errors(status: int, body: bytes, kind: type[sessions.SessionsError]) -> None:
    error = answers.read_error(status, body, "unix:///x")
    assert isinstance(error, kind)
    assert "m" in str(error)


def test_a_newer_server_may_tell_more() -> None:
    info = CommandInfo("k3v9x2m4ab-7", "k3v9x2m4ab", 7, "x", True, {}, sessions.lifecycle.Queued(1.0), 3, 4)
    told = {**to_wire(view_command(info)), "something_new": 5}
    assert answers.read_command(told) == info
    for broken in ({}, [], None, {**told, "text": 5}):
        with pytest.raises(sessions.Broken, match="can't be understood"):
            answers.read_command(broken)


# Events

STREAM = (
    b": \n\n"
    b'id: 1\nevent: stdout\ndata: {"seq":1,"time":1.5,"command_id":"c","base64":"YQ=="}\n\n'
    b": \n\n: \n\n"
    b'id: 3\nevent: dropped\ndata: {"seq":3,"time":2.5,"command_id":"c","dropped_bytes":7}\n\n'
    b'id: 4\nevent: stderr\ndata: {"seq":4,"time":2.5,"command_id":"c","base64":""}\n\n'
    b'event: end\ndata: {"x":1}\n\n'
)


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_events_however_they_are_cut(cuts: set[int]) -> None:
    splitter = events.EventSplitter()
    borders = [0, *sorted(cuts), len(STREAM)]
    found = [event for begin, end in pairwise(borders) for event in splitter.feed(STREAM[begin:end])]
    assert [event.event for event in found] == ["stdout", "dropped", "stderr", "end"]
    assert [events.read_record(event) for event in found[:3]] == [
        sessions.Record(1, 1.5, "stdout", b"a", "c"),
        sessions.Record(3, 2.5, "dropped", b"", "c", 7),
        sessions.Record(4, 2.5, "stderr", b"", "c"),
    ]
    assert events.read_fields(found[3]) == {"x": 1}


def test_events_that_can_not_be_understood() -> None:
    for data in ("{", "5", "{}", '{"seq":1,"time":1,"command_id":"c","base64":"!"}', "[]"):
        (event,) = events.EventSplitter().feed(f"event: stdout\ndata: {data}\n\n".encode())
        with pytest.raises(sessions.Broken, match="can't be understood"):
            events.read_record(event)


def test_a_log_is_put_together() -> None:
    gathering = events.Gathering()
    for seq, (stream, data) in enumerate([("stdout", b"a"), ("stderr", b"b"), ("stderr", b"c"), ("stdout", b"d")]):
        gathering.add(sessions.Record(seq, 1.0, stream, data, "c"))  # type: ignore[arg-type]
    gathering.add(sessions.Record(9, 1.0, "dropped", b"", "c", 5))
    assert gathering.logs() == sessions.Logs(b"ad", b"bc", b"abcd", 5)
    assert events.Gathering().logs() == sessions.Logs(b"", b"", b"")


# Patience


def test_patience_ends_and_begins_anew() -> None:
    one = patience.Patience()
    delays = [one.next_delay() for _ in range(11)]
    assert delays[0] == 0
    assert delays[10] is None
    assert 20 < sum(delay for delay in delays if delay is not None) < 40
    one.progress()
    assert one.next_delay() == 0
    heard = 0
    while one.next_delay() is not None:
        one.heard()
        heard += 1
    assert heard == patience.FRUITLESS_TRIES - 1
    one.lasted(1.0)
    assert one.next_delay() is None
    one.lasted(patience.LONG_SECONDS)
    assert one.next_delay() == 0

"""What the command line decides without any I/O: times, tables, choices, codes."""

from __future__ import annotations

import doctest
import os

import pytest

from sessions.cli import choosing, joined, outcomes, prefixes, sampling, submitting, text, times
from sessions.cli.outcomes import code_of, code_of_error, describe_end, first_failure, tell_end
from sessions.cli.place import Place
from sessions.cli.text import Cell, Column, harmless, lay_out
from sessions.errors import Broken, Busy, Corrupt, Expired, Invalid, NotFound, TimedOut
from sessions.ids import command_id
from sessions.lifecycle import Finished, Outcome, Reason, Running
from sessions.models import CommandInfo, SessionInfo


def session(name: str, identity: str = "k3v9x2m4ab", state: str = "open", created_at: float = 1.0) -> SessionInfo:
    return SessionInfo(
        id=identity, name=name, engine_id="e", shell="bash", cwd="/", env={}, labels={}, restart=False,
        state=state, created_at=created_at,  # type: ignore[arg-type]
    )  # fmt: skip


def command(number: int = 1, reason: Reason | None = "exit", code: int | None = 0, at: float = 10.0) -> CommandInfo:
    state = Running(1.0, 2.0) if reason is None else Finished(1.0, 2.0, at, Outcome(reason, code))
    identity = "k3v9x2m4ab"
    return CommandInfo(
        id=command_id(identity, number), session_id=identity, number=number, text="make", in_shell=True, labels={},
        state=state, first_seq=0, last_seq=0,
    )  # fmt: skip


@pytest.mark.parametrize("module", [choosing, joined, outcomes, prefixes, sampling, submitting, text, times])
def test_examples_in_the_code(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


# Times and sizes


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
    ],
)
def test_spans(written: str, seconds: float) -> None:
    assert times.parse_span(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "m", "-5s", "5 m", "10min", "1e3", "inf", "nan", "5x", "h5", "٣s"])
def test_what_is_no_span(written: str) -> None:
    with pytest.raises(Invalid):
        times.parse_span(written)


def test_moments() -> None:
    assert times.parse_moment("10m", 1000.0) == 400.0
    assert times.parse_moment("@1700000000.5", 0.0) == 1700000000.5
    assert times.parse_moment("2023-11-14T22:13:20+00:00", 0.0) == 1700000000.0
    assert times.parse_moment("2023-11-14T22:13:20Z", 0.0) == 1700000000.0
    for wrong in ("yesterday", "@", "", "2023-13-01", "-5m"):
        with pytest.raises(Invalid):
            times.parse_moment(wrong, 0.0)


def test_a_moment_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert times.parse_moment("1970-01-01T02:00", 0.0) == 0.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_sizes() -> None:
    written = {"0": 0, "500": 500, "64K": 65536, "10g": 10 << 30, "1.5M": 3 << 19, "2GiB": 2 << 30, "3TB": 3 << 40}
    assert {text: times.parse_size(text) for text in written} == written
    for wrong in ("", "K", "-1", "10X", "1e9", "five"):
        with pytest.raises(Invalid):
            times.parse_size(wrong)


def test_spans_are_written_short() -> None:
    told = {
        0: "0ms",
        0.9996: "1.0s",
        9.94: "9.9s",
        9.96: "10s",
        59.4: "59s",
        59.6: "1m00s",
        3599.6: "1h00m",
        86400: "1d00h",
    }
    assert {seconds: times.format_span(seconds) for seconds in told} == told
    assert times.format_span(-3) == "0ms"


def test_sizes_are_written_short() -> None:
    told = {1023: "1.0K", 10239: "10K", 1023 << 10: "1.0M", 1 << 50: "1.0P", 1 << 62: "4096P"}
    assert {size: times.format_size(size) for size in told} == told


# Text and tables


def test_text_of_others_does_nothing_to_the_terminal() -> None:
    nasty = "a\x1b]0;title\x07\x9b2J\u202e\r\nb\udcff"
    told = harmless(nasty)
    assert told.isprintable()
    assert told.startswith("a\\x1b]0;title\\x07\\x9b2J\\u202e b")


def test_a_table() -> None:
    columns = [Column("ID"), Column("SIZE", right=True), Column("TEXT")]
    rows = [[Cell("a"), Cell("1"), Cell("short")], [Cell("日本"), Cell("1024"), Cell("a much longer text")]]
    assert lay_out(columns, rows, width=None) == [
        "ID    SIZE  TEXT",
        "a        1  short",
        "日本  1024  a much longer text",
    ]
    assert lay_out(columns, rows, width=24)[2] == "日本  1024  a much long…"
    assert all(text.cells(line) <= 24 for line in lay_out(columns, rows, width=24))
    assert lay_out(columns, rows, width=3)[2].endswith("a much …"), "the last column keeps a little"


def test_colour_does_not_move_columns() -> None:
    columns = [Column("A"), Column("B")]
    rows = [[Cell("x", "red"), Cell("y")]]
    assert lay_out(columns, rows, width=None, colour=True)[1] == "\x1b[31mx\x1b[0m  y"
    assert lay_out(columns, rows, width=None)[1] == "x  y"


def test_lines_of_many_are_never_mixed() -> None:
    lines = prefixes.Lines()
    assert lines.feed(b"one\ntw", b"1 ") == b"1 one\n"
    assert lines.feed(b"o", b"2 ") == b""
    assert lines.feed(b"\r\x00\n\nthree\n", b"3 ") == b"1 two\r\x00\n3 \n3 three\n"
    assert lines.feed(b"end", b"4 ") == b""
    assert lines.finish() == b"4 end\n"
    assert lines.finish() == b""


def test_a_line_without_end_is_told_in_pieces() -> None:
    lines = prefixes.Lines()
    data = b"x" * (prefixes.LONGEST_BYTES + 1)
    assert lines.feed(data, b"p ") == b"p " + data + b"\n"
    assert lines.finish() == b""


def test_prefixes_are_as_wide_as_the_widest() -> None:
    given = prefixes.Prefixes(colour=False)
    given.add("build-1")
    assert given["s-1"] == b"s-1     | "
    assert given["a-longer-one"] == b"a-longer-one | "
    assert given["s-1"] == b"s-1          | "


# Choosing


def test_names_and_beginnings() -> None:
    build, tests = session("build", "aaaa000001"), session("tests", "aaaa000002")
    both = [build, tests]
    for meant in ("build", "b", "aaaa000001"):
        assert choosing.choose_command(meant, both) == (build, None)
    for meant in ("build-12", "b-12", "aaaa000001-12"):
        assert choosing.choose_command(meant, both) == (build, 12)
    with pytest.raises(Invalid, match="beginning of several: build"):
        choosing.choose_command("aaaa", both)
    with pytest.raises(Invalid, match="empty"):
        choosing.choose_command("", both)
    with pytest.raises(Invalid, match="lacks a command's number"):
        choosing.choose_command("aaaa000001-", both)
    for unknown in ("nope", "nope-1", "nope-", "-", "build-x", "build-0"):
        with pytest.raises(NotFound):
            choosing.choose_command(unknown, both)


def test_a_session_called_like_a_command_of_another() -> None:
    both = [session("build", "aaaa000001"), session("build-1", "aaaa000002")]
    assert choosing.choose_command("build-1", both) == (both[1], None)
    assert choosing.choose_command("build-1-3", both) == (both[1], 3)
    assert choosing.choose_command("build", both) == (both[0], None), "a whole name is no beginning"


def test_open_sessions_go_before_closed_ones_and_new_ones_before_old_ones() -> None:
    old, newer = session("s", "aaaa000001", "closed", 1.0), session("s", "aaaa000002", "closed", 2.0)
    opened = session("s", "aaaa000003", "open", 0.5)
    assert choosing.choose_command("s", [old, newer]) == (newer, None)
    assert choosing.choose_command("s", [old, newer, opened]) == (opened, None)
    assert choosing.choose_command("aaaa000001", [old, newer, opened]) == (old, None)


def test_pairs() -> None:
    assert choosing.parse_pairs(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}
    for wrong in ("a", "=x", ""):
        with pytest.raises(Invalid):
            choosing.parse_pairs([wrong])


# Outcomes


def test_exit_codes_of_commands() -> None:
    assert code_of(command(code=0)) == 0
    assert code_of(command(code=3)) == 3
    assert code_of(command(reason="timeout", code=143)) == 143
    assert code_of(command(reason="lost", code=None)) == 125
    assert code_of(command(reason=None)) == 125


def test_the_first_failure_is_the_first_in_time() -> None:
    late, early, well = command(1, code=3, at=20.0), command(2, code=4, at=10.0), command(3, code=0, at=1.0)
    assert first_failure([late, early, well]) == 4
    assert first_failure([well]) == 0
    assert first_failure([]) == 0


def test_exit_codes_of_errors() -> None:
    codes = {Invalid: 2, NotFound: 2, Expired: 2, Busy: 2, TimedOut: 124, Broken: 3, Corrupt: 3}
    assert {kind: code_of_error(kind("x")) for kind in codes} == codes


def test_ends_in_words() -> None:
    ends: dict[tuple[Reason, int | None], str] = {
        ("exit", 3): "3", ("signal", 137): "SIGKILL", ("signal", 128 + 55): "signal", ("timeout", 143): "timeout",
        ("killed", 143): "killed", ("lost", None): "lost",
    }  # fmt: skip
    assert {key: describe_end(command(reason=key[0], code=key[1])) for key in ends} == ends
    assert describe_end(command(reason=None)) == ""
    assert tell_end(command(code=3)) is None
    for reason in ("signal", "timeout", "killed", "session_closed", "shell_died", "lost"):
        told = tell_end(command(reason=reason, code=143))
        assert told is not None
        assert told.startswith("command k3v9x2m4ab-1 ")


# Places


def test_what_counts_most() -> None:
    environ = {"SESSIONS_URL": "http://elsewhere:1", "SESSIONS_TOKEN": "secret"}
    assert Place(environ=environ).url == "http://elsewhere:1"
    assert Place(given_url="http://here:2", environ=environ).url == "http://here:2"
    assert Place(given_root="/r", environ=environ).url is None, "a root that was named has a server of its own"
    assert Place(given_root="/r", given_url="http://here:2", environ=environ).url == "http://here:2"
    assert Place(environ=environ).token == "secret"
    assert Place(given_token="other", environ=environ).token == "other"
    assert str(Place(given_root="r").socket) == f"{os.getcwd()}/r/serve.sock"


def test_words_are_kept_apart() -> None:
    assert submitting.text_of(["cd /src && make"]) == "cd /src && make"
    assert submitting.text_of(["printf", "%s\n", "a b", "$HOME"]) == "printf '%s\n' 'a b' '$HOME'"

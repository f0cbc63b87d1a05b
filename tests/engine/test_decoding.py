"""Bytes that were cut anywhere: text comes out as if they had never been cut, and a pattern is found as in the whole."""

from __future__ import annotations

import itertools
import re
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sessions
from sessions import matching
from sessions.decoding import TextDecoder
from sessions.matching import PatternSearch, compile_pattern

characters = st.text("aé€😀\n\0\ufffd", max_size=20)
"""One to four bytes each."""
fragments = st.sampled_from(
    [b"a", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xed\xa0\x80", b"\xff"]
)
streams = st.binary(max_size=40) | st.lists(fragments, max_size=12).map(b"".join)


@st.composite
def pieces(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """A stream in pieces, empty ones among them."""
    data = draw(whole)
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=8))), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


# Text


@given(pieces(streams))
def test_any_cut_of_any_bytes_gives_the_same_text(stream: list[bytes]) -> None:
    decoder = TextDecoder()
    text = "".join(decoder.feed(piece) for piece in stream) + decoder.finish()
    assert text == b"".join(stream).decode("utf-8", "replace")


@given(characters)
def test_a_character_comes_with_its_last_byte(text: str) -> None:
    decoder = TextDecoder()
    told = ""
    for number, byte in enumerate(text.encode(), start=1):
        told += decoder.feed(bytes([byte]))
        # All characters that are complete, and no half one.
        assert told == text.encode()[:number].decode("utf-8", "ignore")
    assert decoder.finish() == ""


# Patterns

STEADY = [rb"ab", rb"^ab", rb"ab$", rb"^ab$", rb"\bab\b", rb"(?<!a)b", rb"\n\n", rb"a+", rb"^(a+)b$", rb"ba|bab"]
"""What they find in a stream does not depend on how it goes on behind the match and the byte after it."""
NARROW = [rb"ab", rb"^ab", rb"ab$", rb"^ab$", rb"\bab\b", rb"(?<!a)b", rb"\n\n"]
"""Of these, the ones that never look further back than three bytes."""
noise = st.lists(st.sampled_from([b"a", b"b", b"ab", b"\n", b" "]), max_size=40).map(b"".join)


def find(pattern: re.Pattern[bytes], stream: list[bytes]) -> bytes | None:
    """What is found in a stream that comes in pieces and then ends."""
    search = PatternSearch(pattern)
    found = None
    for piece in stream:
        found = search.feed(piece)
        if found is not None and not found[1]:
            break
    return found[0][0] if found else None


def find_in_whole(pattern: re.Pattern[bytes], stream: list[bytes]) -> bytes | None:
    match = pattern.search(b"".join(stream))
    return match[0] if match else None


@given(st.sampled_from(STEADY), pieces(noise))
def test_a_pattern_is_found_however_its_stream_is_cut(pattern: bytes, stream: list[bytes]) -> None:
    compiled = compile_pattern(pattern)
    assert find(compiled, stream) == find_in_whole(compiled, stream)


@given(st.sampled_from(NARROW), pieces(noise))
@example(rb"ab", [b"..a", b"b........"])  # the second piece alone fills the window
@example(rb"^ab", [b"..ab", b"......", b"."])  # the window begins inside a line
def test_a_long_stream_is_searched_through_a_window_as_if_whole(pattern: bytes, stream: list[bytes]) -> None:
    compiled = compile_pattern(pattern)
    with mock.patch.object(matching, "WINDOW_BYTES", 8):
        assert find(compiled, stream) == find_in_whole(compiled, stream)


@given(pieces(noise))
def test_a_match_at_the_end_may_still_grow(stream: list[bytes]) -> None:
    search = PatternSearch(compile_pattern(rb"a+"))
    seen = b""
    for piece in stream:
        seen += piece
        found = search.feed(piece)
        match = re.search(rb"a+", seen)
        assert (found is None) == (match is None)
        if found and match:
            assert (found[0][0], found[1]) == (match[0], match.end() == len(seen))


def test_of_a_stream_that_never_matches_little_is_kept() -> None:
    search = PatternSearch(compile_pattern(rb"never"))
    for _ in range(20):
        assert search.feed(b"x" * 10_000) is None
    assert len(search._seen) <= matching.WINDOW_BYTES + matching.CONTEXT_BYTES


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("ready", b"all ready now", b"ready"),
        (rb"^port (\d+)$", b"x\nport 80\ny", b"port 80"),
        ("é", "café".encode(), "é".encode()),
        (re.compile("READY", re.IGNORECASE), b"ready", b"ready"),
        (re.compile(rb"^ready"), b"not\nready", None),  # as it was compiled: ^ is only the very beginning
        (re.compile("^ready", re.MULTILINE), b"not\nready", b"ready"),
        (re.compile(r"a b # spaces", re.VERBOSE), b"ab", b"ab"),
    ],
)
def test_patterns_may_be_str_or_bytes_or_compiled(
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes], text: bytes, expected: bytes | None
) -> None:
    assert find(compile_pattern(pattern), [text]) == expected


@pytest.mark.parametrize("pattern", ["(", rb"[", "*", 5, None, ["a"]])
def test_what_is_no_pattern_is_refused_by_its_name(pattern: object) -> None:
    with pytest.raises(sessions.Invalid, match=re.escape(repr(pattern))):
        compile_pattern(pattern)  # type: ignore[arg-type]


# Both, on a real command


async def test_callbacks_get_whole_characters(session: sessions.Session) -> None:
    texts: list[str] = []
    command = await session.run_async('while read -r byte; do printf "\\\\x$byte"; done', stdin=True)
    data = "é€😀".encode() + b"\xe2\x82"
    async with command.follow(on_stdout=texts.append) as records:
        for byte in data:
            await command.send_input(f"{byte:02x}\n")
            assert (await anext(records)).data == bytes([byte])
        await command.close_input()
        async for _ in records:
            pass
    assert texts == ["é", "€", "😀", "\ufffd"]


async def test_a_match_that_more_output_undoes_is_none(session: sessions.Session) -> None:
    # Followers read 512 records at a time, so the search sees "ready" at the end of what is there, and then "ready" + "ing".
    command = await session.run_async('while read -r word; do printf %s "$word"; done', stdin=True)
    async with command.follow() as records:
        for word in [*["."] * 511, "ready", "ing"]:
            await command.send_input(word + "\n")
            assert (await anext(records)).data == word.encode()
    with pytest.raises(sessions.TimedOut):
        await command.wait_for(rb"ready$", timeout=0.5)
    await command.close_input()
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for(rb"ready$")

"""A log holds what was written: every byte, nothing added, nothing taken for a mark of our own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from conftest import SHELLS

import sessions

MEBIBYTE = 1 << 20

SMALL = {
    "nothing": b"",
    "no newline at the end": b"hi",
    "one newline": b"\n",
    "empty lines": b"\n\n\nx\n\n",
    "blanks at the end": b"x  \t \n  ",
    "NUL": b"a\0b\0\0",
    "bytes that other systems mark streams with": b"a\0\1\1\1b\2\2\2c\3\3\3",
    "carriage returns": b"10%\r20%\r\n",
    "escape sequences": b"\x1b[31mred\x1b[0m\x1b[?2004l\x07",
    "every byte": bytes(range(256)),
    "not UTF-8": b"\xff\xfe caf\xe9 \xe2\x82",
    "what the shell reports with": b"d 1 0\ne 1 0\nr 0 0\ns 1 1\n",
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_small_outputs_are_exact(engine: sessions.Engine, tmp_path: Path, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell, cwd=tmp_path)
    for name, data in SMALL.items():
        (tmp_path / "data").write_bytes(data)
        for redirection, expected in (("", (data, b"")), (">&2", (b"", data))):
            command = await (await session.run_async(f"cat data {redirection}", in_shell=in_shell)).wait()
            logs = await command.logs()
            assert (name, logs.stdout, logs.stderr, logs.output) == (name, *expected, data)
            assert (command.stdout_bytes, command.stderr_bytes) == tuple(map(len, expected))
            assert command.exit_code == 0


async def test_printf_adds_no_newline(session: sessions.Session) -> None:
    result = await session.run("printf hi; printf ho >&2")
    assert (result.stdout, result.stderr) == ("hi", "ho")
    assert (await session.run(r"printf 'a\0\1\1\1b'")).logs.stdout == b"a\0\1\1\1b"


@pytest.mark.parametrize("in_shell", [True, False])
async def test_random_bytes_on_both_streams_at_once(session: sessions.Session, tmp_path: Path, in_shell: bool) -> None:
    out, err = os.urandom(10 * MEBIBYTE), os.urandom(10 * MEBIBYTE)
    (tmp_path / "out").write_bytes(out)
    (tmp_path / "err").write_bytes(err)
    directory = shlex.quote(str(tmp_path))
    command = await session.run_async(f"cat {directory}/out & cat {directory}/err >&2; wait", in_shell=in_shell)
    followed = {"stdout": bytearray(), "stderr": bytearray()}
    async with command.follow() as records:
        async for record in records:
            followed[record.stream] += record.data
    logs = await command.logs()
    # Not compared by ==: showing the difference of such values would take minutes.
    assert same(logs.stdout, out)
    assert same(logs.stderr, err)
    assert same(followed["stdout"], out)
    assert same(followed["stderr"], err)
    assert len(logs.output) == 20 * MEBIBYTE


def same(found: bytes | bytearray, expected: bytes) -> bool:
    return len(found) == len(expected) and bytes(found) == expected


async def test_one_stream_alone_is_what_the_whole_log_has_of_it(session: sessions.Session) -> None:
    text = "for i in 1 2 3; do head -c 70000 /dev/urandom; head -c 70000 /dev/urandom >&2; done"
    command = await (await session.run_async(text)).wait()
    logs = await command.logs()
    for stream, expected in (("stdout", logs.stdout), ("stderr", logs.stderr)):
        assert len(expected) == 210_000
        alone = await command.logs(stream=stream)
        assert same(alone.output, expected)
        async with command.follow(stream=stream) as records:
            assert same(b"".join([record.data async for record in records]), expected)


async def test_a_line_of_many_megabytes_is_one_line(session: sessions.Session) -> None:
    result = await session.run("head -c 16777216 /dev/zero | tr '\\0' x; echo; echo end")
    assert len(result.logs.stdout) == 16777216 + len("\nend\n")
    assert result.logs.stdout.endswith(b"xx\nend\n")
    assert len((await result.command.logs(tail=2)).stdout) == 16777216 + len("\nend\n")


async def test_a_fast_writer_loses_nothing(session: sessions.Session) -> None:
    size = 64 * MEBIBYTE
    command = await (await session.run_async(f"yes 0123456 | head -c {size}")).wait()
    assert (command.stdout_bytes, command.dropped_bytes) == (size, 0)
    for start in (0, 33 * MEBIBYTE, size - MEBIBYTE):
        part = (await command.logs(start=start, stop=start + MEBIBYTE)).stdout
        assert same(part, b"0123456\n" * (MEBIBYTE // 8))


async def test_text_of_a_result_is_the_decoded_bytes(session: sessions.Session) -> None:
    result = await session.run(r"printf 'caf\303\251 \377 \342\202\254'; printf '\360\237\216\211' >&2")
    assert result.stdout == "café \N{REPLACEMENT CHARACTER} €"
    assert result.stderr == "🎉"
    assert result.logs.stdout == b"caf\xc3\xa9 \xff \xe2\x82\xac"


async def test_the_text_of_a_command_arrives_as_it_was_written(session: sessions.Session) -> None:
    odd = "".join(chr(code) for code in range(1, 128) if chr(code) not in "'\n\r") + "é€🎉"
    result = await session.run(f"printf %s '{odd}'")
    assert result.stdout == odd
    assert result.command.text == f"printf %s '{odd}'"


async def test_what_the_transcript_holds_is_what_was_written_and_nothing_else(
    session: sessions.Session, root: Path
) -> None:
    for number in range(3):
        await session.run(f"printf 'out{number}'; printf 'err{number}' >&2")
    await (await session.run_async("printf 'beside'")).wait()
    assert (root / "sessions" / session.id / "transcript").read_bytes() == (await session.logs()).output
    assert sorted((await session.logs()).output) == sorted(b"out0err0out1err1out2err2beside")

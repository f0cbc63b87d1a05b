"""An excerpt shows the beginning, the end and the errors of a log, and where to read what it leaves out."""

from __future__ import annotations

import pytest

import sessions

TALK = r"for i in {1..200}; do printf '%s line\n\303' $i; printf '\251%s\n\n' $i >&2; done"
"""Both streams, empty lines, bytes that are no text alone."""


@pytest.mark.parametrize("at", [0, 50_000, 100_000])
async def test_an_excerpt_shows_beginning_end_and_error_and_where_the_rest_is(
    session: sessions.Session, at: int
) -> None:
    # Each part is written when what came before it is in the log.
    text = f"seq 1 {at}; echo first; read x; echo 'the error' >&2; read x; seq {at + 1} 100000; exit 1"
    command = await session.run_async(text, stdin=True)
    for seen in ("^first\n", "the error\n"):
        await command.wait_for(seen)
        await command.send_input("go on\n")
    await command.wait()
    assert command.exit_code == 1
    excerpt = await command.excerpt(max_bytes=3000)
    shown = str(excerpt)
    assert shown.startswith("1\n2\n3\n" if at else "first\nthe error\n1\n2\n")
    assert shown.endswith("\n99999\n100000\n" if at < 100_000 else "\n100000\nfirst\nthe error\n")
    assert shown.count("the error\n") == 1
    assert f"[{excerpt.omitted_bytes} bytes omitted" in shown
    assert f"start={excerpt.omitted_start}, stop={excerpt.omitted_stop}" in shown
    omitted = (await command.logs(start=excerpt.omitted_start, stop=excerpt.omitted_stop)).output
    assert len(omitted) == excerpt.omitted_bytes
    assert excerpt.head + omitted + excerpt.tail == (await command.logs()).output
    assert (b"the error" in excerpt.stderr_tail) == (at == 50_000)


async def test_an_excerpt_of_any_size_with_what_it_leaves_out_is_the_log(session: sessions.Session) -> None:
    command = (await session.run(TALK)).command
    logs = await command.logs()
    size = len(logs.output)
    for max_bytes in (1, 2, 3, 10, 100, 1000, size - 1, size, size + 1, 30_000):
        excerpt = await command.excerpt(max_bytes=max_bytes)
        omitted = (await command.logs(start=excerpt.omitted_start, stop=excerpt.omitted_stop)).output
        assert len(omitted) == excerpt.omitted_bytes
        assert excerpt.head + omitted + excerpt.tail == logs.output
        assert excerpt.stderr_tail in logs.stderr
        assert len(excerpt.head + excerpt.tail + excerpt.stderr_tail) <= max_bytes
        assert (excerpt.omitted_bytes == 0) == (max_bytes >= size)
    whole = await command.excerpt()
    assert str(whole) == logs.output.decode("utf-8", "replace")


async def test_an_excerpt_of_a_command_that_still_runs(session: sessions.Session) -> None:
    command = await session.run_async("seq 10000; echo ready; sleep 60")
    await command.wait_for("^ready\n")
    excerpt = await command.excerpt(max_bytes=100)
    assert excerpt.head.startswith(b"1\n2\n")
    assert excerpt.tail.endswith(b"ready\n")
    assert command.state == "running"


async def test_an_excerpt_needs_a_size(session: sessions.Session) -> None:
    command = (await session.run("echo one")).command
    sizes: list[object] = [0, -1, 1.5, True, "100"]
    for max_bytes in sizes:
        with pytest.raises(sessions.Invalid, match="max_bytes"):
            await command.excerpt(max_bytes=max_bytes)  # type: ignore[arg-type]

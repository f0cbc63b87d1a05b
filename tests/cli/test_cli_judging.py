"""What `top` and `doctor` decide without any I/O."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from sessions.cli import checks
from sessions.cli.sampling import Sample, Usage, command_behind, compare, last_line_of, load_row, owners
from sessions.ids import command_id
from sessions.lifecycle import Running
from sessions.models import CommandInfo
from sessions.shell.processes import Seen

SESSION = "k3v9x2m4ab"


def seen(pid: int, parent: int, command: int | None = None) -> Seen:
    process: Any = None
    return Seen(process, pid, parent, pid, pid, SESSION, command_id(SESSION, command) if command else None)


def running(number: int, size: int = 0, started_at: float = 1.0) -> CommandInfo:
    return CommandInfo(
        id=command_id(SESSION, number), session_id=SESSION, number=number, text="make\tall", in_shell=False, labels={},
        state=Running(0.0, started_at), first_seq=0, last_seq=0, stdout_bytes=size, stderr_bytes=1,
    )  # fmt: skip


def test_a_process_belongs_to_its_mark_or_to_its_nearest_marked_ancestor() -> None:
    first, second = command_id(SESSION, 1), command_id(SESSION, 2)
    found = owners([seen(12, 11), seen(10, 1, 1), seen(11, 10), seen(13, 11, 2), seen(14, 13), seen(20, 1)])
    assert found == {10: first, 11: first, 12: first, 13: second, 14: second}


def test_ancestors_in_a_circle_belong_to_nobody() -> None:
    assert owners([seen(1, 2), seen(2, 3), seen(3, 1), seen(4, 3)]) == {}
    assert owners([]) == {}


def test_a_fork_of_the_shell_is_known_by_where_its_output_goes() -> None:
    assert command_behind(SESSION, [f"/dev/shm/sessions-0/41d663/{SESSION}.1/14o", "/dev/null"]) == f"{SESSION}-14"
    assert command_behind(SESSION, ["/dev/null", f"/run/x/{SESSION}.12/7e (deleted)"]) == f"{SESSION}-7"
    assert command_behind(SESSION, ["/dev/shm/sessions-0/41d663/aaaaaaaaaa.1/14o"]) is None
    assert command_behind(SESSION, ["/dev/null", "pipe:[123]"]) is None
    assert command_behind(SESSION, []) is None


def test_two_looks_make_rates() -> None:
    name = command_id(SESSION, 1)
    before = Sample(10.0, [running(1, 1000)], {name: Usage({(7, 1.0): 1.0, (8, 1.0): 5.0}, 100)}, {})
    now = Sample(12.0, [running(1, 3000)], {name: Usage({(7, 1.0): 1.5, (8, 9.0): 0.5}, 200)}, {name: "hello"})
    (load,) = compare(before, now)
    assert (load.cpu_percent, load.bytes_per_second) == (50.0, 1000.0), "pid 8 is another process now"
    assert (load.memory_bytes, load.processes, load.last_line) == (200, 2, "hello")


def test_what_is_not_known_is_not_made_up() -> None:
    now = Sample(12.0, [running(2, started_at=5.0), running(1)], {}, {})
    first, second = compare(None, now)
    assert (first.info.number, second.info.number) == (1, 2), "the one that began first"
    assert (first.cpu_percent, first.memory_bytes, first.processes, first.bytes_per_second) == (None,) * 4
    cells = [cell.text for cell in load_row(second, "build", 8.0)]
    assert cells == [command_id(SESSION, 2), "build", "-", "-", "-", "-", "1", "3.0s", "make all", ""]


def test_a_command_that_is_new_has_written_all_since() -> None:
    before = Sample(10.0, [], {}, {})
    (load,) = compare(before, Sample(11.0, [running(1, 499)], {}, {}))
    assert load.bytes_per_second == 500.0


def test_last_lines() -> None:
    assert last_line_of(b"one\ntwo\n\n") == "two"
    assert last_line_of(b"10%\r20%\r30%") == "30%"
    assert last_line_of(b"\x1b[2Jx\ty") == "\\x1b[2Jx y"
    assert last_line_of(b"") == last_line_of(b"\n \n") == ""


# Doctor

WELL: dict[str, Any] = {"root": "/r", "exists": True, "writable": True, "mine": True, "mode": 0o40700, "system": "ext4"}


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        ({}, ["ok"]),
        ({"exists": False}, ["ok"]),
        ({"exists": False, "writable": False}, ["wrong"]),
        ({"writable": False}, ["wrong"]),
        ({"mine": False}, ["wrong"]),
        ({"mode": 0o40750}, ["ok", "wrong"]),
        ({"system": "nfs4"}, ["ok", "wrong"]),
    ],
)
def test_roots(facts: dict[str, Any], states: list[str]) -> None:
    assert [finding.state for finding in checks.judge_root(**(WELL | facts))] == states


def test_shells() -> None:
    found = checks.judge_shells({"bash": None, "sh": "/bin/sh", "zsh": None})
    assert [finding.state for finding in found] == ["wrong", "ok", "note"]


def test_space_and_descriptors() -> None:
    assert [checks.judge_space(size, 10**6).state for size in (10 << 30, 500 << 20, 1 << 20)] == ["ok", "note", "wrong"]
    assert [checks.judge_space(10 << 30, inodes).state for inodes in (None, 100, 0)] == ["ok", "note", "wrong"]
    assert [checks.judge_descriptors(limit).state for limit in (-1, 1 << 20, 1024)] == ["ok", "ok", "note"]


def test_servers() -> None:
    facts: dict[str, Any] = {
        "locked": True, "answers": True, "left_socket": True, "pid": 7, "descriptors": (10, 1000), "log": "/r/serve.log"
    }  # fmt: skip
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["ok"]),
        ({"descriptors": (990, 1000)}, ["ok", "wrong"]),
        ({"descriptors": None}, ["ok"]),
        ({"answers": False}, ["wrong"]),
        ({"locked": False}, ["wrong"]),
        ({"locked": False, "answers": False}, ["note"]),
        ({"locked": False, "answers": False, "left_socket": False}, ["ok"]),
    ]
    for change, states in cases:
        assert [finding.state for finding in checks.judge_server(**(facts | change))] == states, change


def test_sessions_engines_and_what_they_left() -> None:
    assert checks.judge_session("s", "open", None) == []
    assert [finding.state for finding in checks.judge_session("s", "stalled", "disk full")] == ["wrong"]
    assert [finding.state for finding in checks.judge_session("s", "ended", None)] == ["note"]
    assert checks.judge_leftovers([]) == []
    (left,) = checks.judge_leftovers([30, 4])
    assert left.what.endswith("4 30")
    assert [finding.state for finding in checks.judge_engines({"e": 2})] == ["note"]
    assert checks.judge_socket("/r/serve.sock", 13) == []
    assert checks.judge_socket("/r/serve.sock", 108)[0].state == "wrong"


def test_what_is_not_well_says_what_to_do() -> None:
    found = [
        *checks.judge_root(**(WELL | {"mode": 0o40777, "system": "nfs"})),
        checks.judge_space(0, 0),
        *checks.judge_leftovers([1]),
        *checks.judge_session("s", "stalled", "disk full"),
    ]
    assert all(finding.do for finding in found if finding.state != "ok")
    assert attrs.asdict(found[0]).keys() == {"state", "what", "do"}

"""One scenario through all doors, each with its own SDK, in a process of its own: where the dialects don't differ, nor do the results.

What is truly different is said in `DIFFERENT`, and why. A door that came to differ otherwise would fail here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import pytest
from all_doors import DOORS, Clients, all_doors, is_there
from all_doors_expected import BOTH, NOT_FOUND, SAME, hashes

pytestmark = pytest.mark.timeout(300)  # of a loaded machine; half a minute else

STREAMS: Final = 8
CASES: Final = [(door, kind, step) for door in DOORS for kind in BOTH for step in [*SAME, *NOT_FOUND]]


class Difference(NamedTuple):
    """What a dialect says in place of what the others say."""

    found: Mapping[str, Any]
    why: str


NO_SPAWN: Final = Difference({"error": "NotImplementedError"}, "the blocking client runs nothing in the background")
NO_COMMANDS: Final = Difference({"error": "NoCall"}, "a command has no id there: who has started it holds it")

DIFFERENT: Final[Mapping[tuple[str, str, str], Difference]] = {
    **{
        ("native", kind, "timeout"): Difference(
            {**SAME["timeout"], "exit_code": 130},
            "the shell's own code of the command that was interrupted; `reason` says timeout",
        )
        for kind in BOTH
    },
    **{
        ("daytona", kind, "timeout"): Difference(
            {"error": "DaytonaProcessExecutionTimeoutError", "left": 0},
            "only `exec` has a time limit, and beyond it the SDK raises, without output",
        )
        for kind in BOTH
    },
    **{
        ("daytona", kind, "kill"): Difference(
            {"error": "DaytonaNotFoundError"},
            "there is no call but `delete_session`, after which the command is not known any more",
        )
        for kind in BOTH
    },
    **{
        ("nullspace", kind, "timeout"): Difference(
            {"error": "MachineError", "left": 0},
            "`exec_timeout` is an error there; the output is in the logs of the process",
        )
        for kind in BOTH
    },
    **{("superserve", "sync", step): NO_SPAWN for step in ("background", "logs_after_exit", "kill", "input")},
    **{("superserve", kind, "unknown_command"): NO_COMMANDS for kind in BOTH},
    ("superserve", "async", "logs_after_exit"): Difference(
        {"error": "NoCall"}, "no call: what a command wrote is told to who waits for it"
    ),
}
ERRORS: Final = {
    "native": "NotFound",
    "daytona": "DaytonaNotFoundError",
    "declaw": "NotFoundError",
    "miosa": "NotFoundError",
    "nullspace": "NotFoundError",
    "superserve": "NotFoundError",
}
"""What each SDK calls what does not exist."""


def need(door: str) -> None:
    if not is_there(door):
        pytest.skip(f"the SDK of {door} IS NOT INSTALLED: make sdks")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    place = tmp_path_factory.mktemp("doors")
    with all_doors(place) as clients:
        yield clients
        assert list((place / "root" / "spaces").glob("*")) == []  # each has put its own away


@pytest.fixture(scope="module")
def found(clients: Clients) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    gates = clients.place / "gates"
    gates.mkdir()
    calls = [(door, "scenario", str(gates), kind) for door in DOORS if is_there(door) for kind in BOTH]
    return {(door, kind): told for (door, *_, kind), told in clients.run(calls).items()}


@pytest.mark.parametrize(("door", "kind", "step"), CASES)
def test_the_same(found: Mapping[tuple[str, str], Mapping[str, Any]], door: str, kind: str, step: str) -> None:
    need(door)
    same = {"error": ERRORS[door]} if step in NOT_FOUND else SAME[step]
    difference = DIFFERENT.get((door, kind, step))
    assert found[door, kind][step] == (same if difference is None else difference.found)


def test_differences_are_differences() -> None:
    for (door, kind, step), difference in DIFFERENT.items():
        assert (door, kind, step) in CASES
        assert difference.found != SAME.get(step, {"error": ERRORS[door]})


@pytest.fixture(scope="module")
def streamed(clients: Clients) -> Mapping[str, Mapping[str, Any]]:
    """What all streams of all doors told, which ran at the same time."""
    gates = clients.place / "streams"
    gates.mkdir()
    doors = [door for door in DOORS if is_there(door)]
    total = STREAMS * len(doors)
    found = clients.run([(door, "streams", str(gates), str(STREAMS), str(total)) for door in doors])
    assert len(list(gates.iterdir())) == total
    return {name: told for results in found.values() for name, told in results.items()}


@pytest.mark.parametrize("door", DOORS)
def test_streams_of_all_doors_at_once(streamed: Mapping[str, Mapping[str, Any]], door: str) -> None:
    """Each has told its own bytes and all of them, whatever the others wrote."""
    need(door)
    names = [f"{door}-{number}" for number in range(STREAMS)]
    assert {name: streamed[name] for name in names} == {name: {"exit_code": 0, **hashes(name)} for name in names}
    assert len({told["stdout"] for told in streamed.values()}) == len(streamed)

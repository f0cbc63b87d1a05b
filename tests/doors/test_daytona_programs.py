"""Programs that were written for Daytona, unmodified, in Python and TypeScript."""

from __future__ import annotations

from functools import partial

import psutil
import pytest
from sdk_runs import PROGRAMS, Sdk, side_by_side

SDK = Sdk("daytona")


def marks_of(name: str) -> pytest.MarkDecorator:
    return SDK.needs_node if name.endswith(".ts") else SDK.needs_python


STREAM = [f"daytona_seed_stream_callbacks{end}" for end in (".py", "_async.py", ".ts")]
RETRIEVE = [f"daytona_seed_retrieve_logs{end}" for end in (".py", "_async.py", ".ts")]
MARKED = [pytest.param(name, marks=marks_of(name)) for name in STREAM]
RETRIEVING = [pytest.param(name, marks=marks_of(name)) for name in RETRIEVE]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What they print. Each takes more than five seconds of sleep, so all run side by side."""
    place = tmp_path_factory.mktemp("programs")
    chosen = [name for name in STREAM + RETRIEVE if not marks_of(name).args[0]]
    with SDK.server(place / "root") as variables:
        calls = []
        for name in chosen:
            cwd = place / name
            cwd.mkdir()
            run = SDK.run_node if name.endswith(".ts") else SDK.run_python
            calls.append(partial(run, PROGRAMS / name, variables, cwd))
        results = dict(zip(chosen, side_by_side(*calls), strict=True)) if calls else {}
        assert [
            child for child in psutil.process_iter(["cmdline"]) if "RANDOM % 2" in " ".join(child.info["cmdline"] or [])
        ] == []
        assert list((place / "root" / "spaces").iterdir()) == []
    return results


@pytest.mark.parametrize("name", MARKED)
def test_callbacks_get_a_command_while_it_runs(printed: dict[str, str], name: str) -> None:
    lines = [line for line in printed[name].split("\n") if line]
    assert lines[0] == "Continuing execution while logs are streaming..."
    assert [line for line in lines if "STDOUT" in line] == [f"[STDOUT]: Step {number}" for number in range(1, 6)]
    assert [line for line in lines if "STDERR" in line] == [f"[STDERR]: Error {number}" for number in range(1, 6)]
    assert len(lines) == 11


@pytest.mark.parametrize("name", RETRIEVING)
def test_logs_are_retrieved_while_a_command_runs(printed: dict[str, str], name: str) -> None:
    lines = [line for line in printed[name].split("\n") if line]
    assert lines[:2] == ["[STDOUT]: Hello from stdout", "[STDERR]: Hello from stderr"]
    told = [line.replace("[STDOUT]: ", "").replace("[STDERR]: ", "") for line in lines[2:]]
    assert all(line.startswith(("All good at ", "Oops, an error at ")) for line in told if line)
    assert 4 <= len([line for line in told if line]) <= 7

"""The door without its front: where Superserve's names lead to a server that has a certificate for them, its SDKs find it there."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from install_sdks import is_installed
from own_names import named_server, needs_own_names
from sdk_runs import BOTH, CHECKS, NODE, Sdk, cases, names_of, read_checks, said, side_by_side
from server_process import TOKEN

from sessions.doors.superserve.door import HOSTS

SDK = Sdk("superserve")
pytestmark = needs_own_names

RUNS = [*((kind, "superserve_names.py") for kind in BOTH), ("async", "superserve_spawn.py")]
PROGRAM = "superserve_checks.mjs"
Told = dict[tuple[str, str], str]
"""By the kind of the client and the name of the check."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the checks have found out in a network where all names lead to a server."""
    place = tmp_path_factory.mktemp("superserve-names")
    found: Told = {}
    with pytest.MonkeyPatch.context() as patch, named_server(place / "server", HOSTS) as (inside, variables):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        variables |= {"SUPERSERVE_BASE_URL": f"https://{HOSTS[0]}/superserve", "SUPERSERVE_API_KEY": TOKEN}
        argvs = [(kind, [SDK.python, CHECKS / file, kind]) for kind, file in RUNS if is_installed("superserve")]
        if is_installed("superserve-node"):
            (place / "node_modules").symlink_to(SDK.node_modules)
            argvs.append((NODE, ["node", Path(shutil.copy(CHECKS / PROGRAM, place))]))
        calls = [partial(said, [*inside, *argv], variables, place) for _, argv in argvs]
        for (kind, _), printed in zip(argvs, side_by_side(*calls), strict=True):
            found |= {(kind, name): text for name, text in read_checks(printed).items()}
    return found


@SDK.needs_python
@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_python(told: Told, kind: str, name: str) -> None:
    assert told[kind, name] == "ok", told[kind, name]


@SDK.needs_node
@pytest.mark.parametrize("name", names_of(PROGRAM))
def test_node(told: Told, name: str) -> None:
    assert told[NODE, name] == "ok", told[NODE, name]

"""A program: ask a server what its OpenAPI document says is right, and what it says is wrong, and judge the answers by it.

Arguments: URL of the door, token, and the ids of an open session and of a finished command.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

SECONDS = 45
EXAMPLES = 3
FOR_EVER = ("/events", "/follow")
"""Streams that need not end are tested elsewhere."""
ENDING = (("DELETE", "/sessions/{session}"), ("POST", "/sessions/{session}/close"), ("POST", "/prune"))
"""What would take away from the others what they ask about."""
# The document can't say which names, directories, programs there are: what fits it may be refused.
EXCLUDED = [positive_data_acceptance]


def main(url: str, token: str, session_id: str, command_id: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    known = {"session": session_id, "command": command_id, "terminal": session_id}
    end = time.monotonic() + SECONDS
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(FOR_EVER):
            continue
        names = {parameter.name for parameter in operation.path_parameters}
        ids = {name: known[name] for name in names}
        is_ending = (operation.method.upper(), operation.path) in ENDING
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            for path_parameters in [None] if not ids or is_ending else [None, ids]:

                @settings(
                    max_examples=EXAMPLES,
                    derandomize=True,
                    database=None,
                    deadline=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode, path_parameters=path_parameters))
                def ask(case: Case) -> None:
                    nonlocal asked
                    if time.monotonic() < end:
                        case.call_and_validate(base_url=url, headers=headers, excluded_checks=EXCLUDED, timeout=20)
                        asked += 1

                with suppress(Unsatisfiable):  # some have nothing that could be wrong
                    ask()
    print(asked, "requests")


if __name__ == "__main__":
    main(*sys.argv[1:])

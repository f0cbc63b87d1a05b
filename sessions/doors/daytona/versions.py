"""What a client of the Daytona dialect wants its logs to look like: told by the version that it sends. No I/O.

=============================== ============================================ =========================
version                         log over HTTP, ``output`` of a waited exec   log over WebSocket
=============================== ============================================ =========================
0.167 or later, ``dev``         JSON with both streams, clean text           frames with markers
0.27 or later, or unreadable    text with markers                            frames with markers
earlier, or none                text without markers                         frames without markers
=============================== ============================================ =========================

A client that sends no version can ask for markers with ``X-Daytona-Split-Output: true``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

Form: TypeAlias = Literal["json", "marked", "plain"]

HEADER: Final = "x-daytona-sdk-version"
SPLIT_HEADER: Final = "x-daytona-split-output"
TOKEN: Final = "X-Daytona-SDK-Version~"
"""The beginning of a WebSocket subprotocol that carries the version of those who can't send headers."""

SEMVER: Final = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-?([0-9A-Za-z.-]+))?(?:\+.*)?")
JSON_SINCE: Final = (0, 167, 0)
MARKED_SINCE: Final = (0, 27, 0)


def choose_form(headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> Form:
    """`headers` by their names in small letters."""
    version = headers.get(HEADER) or next(
        (token[len(TOKEN) :] for token in subprotocols if token.startswith(TOKEN)), ""
    )
    if not version:
        return "marked" if headers.get(SPLIT_HEADER, "").lower() == "true" else "plain"
    if "dev" in version:
        return "json"
    match = SEMVER.fullmatch(version)
    if match is None:
        return "marked"
    # The limits are 0.167.0-0 and 0.27.0-0, the lowest pre-releases: a suffix changes nothing.
    number = (int(match[1]), int(match[2]), int(match[3]))
    if number >= JSON_SINCE:
        return "json"
    return "marked" if number >= MARKED_SINCE else "plain"


def version_token(subprotocols: Sequence[str]) -> str | None:
    """The offered subprotocol that carries a version: a server that read it says so by choosing it."""
    return next((token for token in subprotocols if token.startswith(TOKEN)), None)

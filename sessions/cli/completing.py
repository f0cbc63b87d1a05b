"""What a shell offers when the user presses Tab: read straight from the root, never from a server, and never an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from click.shell_completion import CompletionItem

from ..doors.own_shells import shown_text
from ..errors import SessionsError
from ..ids import command_id
from ..lifecycle import OPEN_STATES
from ..store.catalog import Catalog
from .outcomes import describe_end
from .place import Place
from .text import harmless, shorten

MOST = 200
"""More than that is no help to anybody."""
WIDTH = 50


@contextlib.contextmanager
def catalog_of(place: Place) -> Iterator[Catalog | None]:
    path = place.root / "catalog.sqlite3"
    catalog = None
    if place.url is None and path.exists():
        with contextlib.suppress(SessionsError):
            catalog = Catalog(path)
    try:
        yield catalog
    finally:
        if catalog is not None:
            catalog.close()


def complete_sessions(place: Place, incomplete: str) -> list[CompletionItem]:
    """Open sessions by name, all by id."""
    with catalog_of(place) as catalog:
        infos = catalog.list_sessions() if catalog is not None else []
    found = [
        CompletionItem(info.name, help=f"{info.state}, {info.cwd}")
        for info in infos
        if info.state in OPEN_STATES and info.name.startswith(incomplete)
    ]
    if incomplete:
        found += [
            CompletionItem(info.id, help=f"{info.name}, {info.state}")
            for info in infos
            if info.id.startswith(incomplete) and info.id != info.name
        ]
    return found[:MOST]


def complete_commands(place: Place, incomplete: str) -> list[CompletionItem]:
    """Sessions by name, for their last command, then commands by id, the newest first."""
    found = complete_sessions(place, incomplete)
    with catalog_of(place) as catalog:
        infos = catalog.list_commands(limit=MOST) if catalog is not None else []
    return found + [
        CompletionItem(
            identity, help=f"{describe_end(info) or 'running'}: {shorten(harmless(shown_text(info)), WIDTH)}"
        )
        for info in reversed(infos)
        if (identity := command_id(info.session_id, info.number)).startswith(incomplete)
    ]

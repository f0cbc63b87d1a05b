"""Lists of spaces, page by page. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import SpaceInfo


def mark(info: SpaceInfo) -> str:
    """Its place in a list, which is ordered by age."""
    return f"{info.created_at:020.6f}-{info.id}"


def cut_page(infos: Sequence[SpaceInfo], after: str, most: int) -> tuple[Sequence[SpaceInfo], str | None]:
    """Those behind a mark, and the mark to go on from; None if there are no more."""
    begin = next((place for place, info in enumerate(infos) if mark(info) > after), len(infos))
    page = infos[begin : begin + most]
    return page, mark(page[-1]) if page and begin + len(page) < len(infos) else None

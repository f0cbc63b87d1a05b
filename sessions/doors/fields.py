"""JSON objects of other people's clients, read field by field. No I/O.

What is known must be of its type, and null is as good as left out; what is not known is ignored, for newer clients.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from ..errors import Invalid, SessionsError
from .requests import read_json


class WrongBody(Invalid):
    """A body, or a message, is not what it should be."""


class Fields:
    """One JSON object. Whatever is wrong with it is `WrongBody`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def _take(self, name: str, kinds: tuple[type, ...], what: str) -> Any:
        value = self.values.get(name)
        if value is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
            return value
        raise WrongBody(f"{name}: expected {what}")

    def text(self, name: str) -> str | None:
        value: str | None = self._take(name, (str,), "a text")
        return value

    def needed_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise WrongBody(f"{name} is missing")
        return value

    def data(self, name: str) -> bytes | None:
        """Bytes, from base64."""
        value = self.text(name)
        try:
            return None if value is None else binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
        except ValueError:
            raise WrongBody(f"{name}: expected base64") from None

    def flag(self, name: str, otherwise: bool = False) -> bool:
        value: bool | None = self._take(name, (bool,), "true or false")
        return otherwise if value is None else value

    def integer(self, name: str) -> int | None:
        value: int | None = self._take(name, (int,), "a whole number")
        return value

    def count(self, name: str, least: int = 0, most: int = 10**12) -> int | None:
        """A whole number in bounds."""
        value = self.integer(name)
        if value is not None and not least <= value <= most:
            raise WrongBody(f"{name}: expected a whole number from {least} to {most}, not {value}")
        return value

    def needed_count(self, name: str, least: int = 0, most: int = 10**12) -> int:
        value = self.count(name, least, most)
        if value is None:
            raise WrongBody(f"{name} is missing")
        return value

    def seconds(self, name: str) -> float | None:
        """None for no limit, which 0 is, too."""
        value: float | None = self._take(name, (int, float), "a number of seconds")
        if value is not None and not 0 <= value <= 1e9:
            raise WrongBody(f"{name}: expected seconds from 0")
        return value or None

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts."""
        value = self.object(name)
        if not all(isinstance(item, str) for item in value.values()):
            raise WrongBody(f"{name}: expected an object of texts")
        return value

    def text_list(self, name: str) -> list[str]:
        value: list[Any] = self._take(name, (list,), "an array") or []
        if not all(isinstance(item, str) for item in value):
            raise WrongBody(f"{name}: expected an array of texts")
        return value

    def object(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = self._take(name, (dict,), "an object") or {}
        return value

    def has_items(self, name: str) -> bool:
        """Whether there is an array or an object that is not empty."""
        return bool(self._take(name, (list, dict), "an array or an object"))

    def has(self, name: str) -> bool:
        """Whether there is something that is not empty."""
        return bool(self.values.get(name))


def read_fields(data: bytes) -> Fields:
    """The fields of a body or of a message."""
    try:
        found = read_json(data)
    except SessionsError as error:
        raise WrongBody(str(error)) from None
    if not isinstance(found, dict):
        raise WrongBody("expected a JSON object")
    return Fields(found)

"""Bytes to text, piece by piece: a piece never ends inside a character, and what is not UTF-8 becomes U+FFFD."""

from __future__ import annotations

import codecs


class TextDecoder:
    """Decodes a stream of bytes that was cut anywhere.

    >>> decoder = TextDecoder()
    >>> decoder.feed(b"caf\\xc3"), decoder.feed(b"\\xa9"), decoder.finish()
    ('caf', 'é', '')
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The text that is complete with `data`; an unfinished character waits for the next piece."""
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What an unfinished character at the end of the stream comes to."""
        return self._decoder.decode(b"", final=True)

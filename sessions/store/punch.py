"""Giving a range of a file back to the file system without moving what stands behind it (Linux: ``fallocate(2)``)."""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

KEEP_SIZE: Final = 0x01
PUNCH_HOLE: Final = 0x02


@cache
def libc() -> ctypes.CDLL:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


def punch_hole(descriptor: int, begin: int, end: int) -> None:
    """Free the blocks that lie wholly in ``[begin, end)``; the range reads as zeros from now on.

    A file system that has no holes (few) keeps the space; that is no error. Raises `OSError` otherwise.
    """
    import ctypes

    if end <= begin or libc().fallocate(descriptor, KEEP_SIZE | PUNCH_HOLE, begin, end - begin) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(code, os.strerror(code))

"""Followed commands and sessions as sources of messages.

What is there at the moment goes into one piece. After a command's last message comes its ``end``, once its outcome is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import attrs

from ..archive import Archive
from ..command import Command
from ..following import Follower
from ..lifecycle import OPEN_STATES
from ..models import CommandInfo, Record, StreamName
from ..reading_logs import read_before
from ..session import Session
from ..wire import view_command
from .requests import to_json
from .telling import Message, Teller, full_id, plain_id

PIECE_BYTES: Final = 1 << 18
"""About so much of a log goes into one piece of the stream."""
ALL_STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")
DONE: Final = Message("done", None, "{}")


async def collect(follower: Follower) -> tuple[list[Record], str | None, bool]:
    """What is there now, waiting for the first: records, then the id of a command that ended behind them, or that all is over."""
    records: list[Record] = []
    size = 0
    item = await follower.next()
    while item is not None:
        command_id, record = item
        if record is None:
            return records, command_id, False
        records.append(record)
        size += len(record.data)
        if size >= PIECE_BYTES or not follower.has_more_now:
            return records, None, False
        item = await follower.next()  # returns at once, so nothing is lost by a cancellation here
    return records, None, True


def find_mark(archive: Archive, command: CommandInfo) -> int:
    """The seq of a command's end. Late output may have come behind it; one that was lost has none."""
    log = archive.open_log(command.session_id)
    try:
        for span in log.reader.spans_backwards(command.first_seq, command.last_seq + 1):
            if span.is_finish and span.number == command.number:
                return span.seq
    finally:
        log.close()
    return command.last_seq


class FollowedCommands:
    """Commands, each until its end."""

    def __init__(
        self,
        commands: Sequence[Command],
        after: Mapping[str, int],
        stream: StreamName | None,
        encoding: str | None,
        late: bool,
        many: bool = False,
        for_socket: bool = False,
    ) -> None:
        """`after` is by session id. With `many`, ids name the session, too, and the last message is ``done``. `for_socket`: see `Teller`."""
        self._commands = {command.id: command for command in commands}
        self._after = after
        self._stream = stream
        self._late = late
        self._many = many
        self._follower = Follower(stream, late)
        self._teller = Teller(
            encoding or "text", full_id if many else plain_id, self._before if after else None, for_socket
        )
        self._ended: str | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        by_session: dict[str, list[Command]] = {}
        for command in self._commands.values():
            by_session.setdefault(command.session_id, []).append(command)
        try:
            for session_id, commands in by_session.items():
                infos = [command.info for command in commands]
                self._follower.add_commands(commands[0].archive, session_id, infos, self._after.get(session_id))
        except BaseException:
            self._follower.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._follower.close()

    async def read(self) -> Sequence[Message]:
        while not self._over:
            if self._ended is not None:
                messages = await self._end(self._commands[self._ended])
                self._ended = None
            else:
                records, self._ended, self._over = await collect(self._follower)
                messages = self._teller.tell(records)
            if self._over and self._many:
                messages.append(DONE)
            if messages:
                return messages
        return []

    async def _end(self, command: Command) -> list[Message]:
        if command.info.finished_at is None:
            # With a full disk the outcome may come later than the mark that has been read.
            await command.wait()
        elif not self._many:
            await command.refresh()  # whose log was removed under its reader is told so, as an engine tells it
        return [*self._rest(command), Message("end", None, to_json(view_command(command.info), ascii=True))]

    def _rest(self, command: Command) -> list[Message]:
        """What is left of characters that never were completed."""
        info, after = command.info, self._after.get(command.session_id)
        if not self._teller.is_text or (after is None and not self._teller.tells(command.id)):
            return []
        seq = info.last_seq if self._late else find_mark(command.archive, info)
        if after is not None and after < seq:
            # Perhaps nothing has come since the place behind which this stream began, but one was incomplete there.
            for stream in ALL_STREAMS if self._stream is None else [self._stream]:
                if info.stdout_bytes if stream == "stdout" else info.stderr_bytes:
                    self._teller.begin(Record(after + 1, 0.0, stream, b"", command.id))
        return self._teller.rest(command.id, seq, info.finished_at or 0.0)

    def _before(self, record: Record) -> bytes:
        command = self._commands[record.command_id]
        after = self._after.get(command.session_id)
        if after is None:
            return b""
        # Between there and the record is nothing of the same stream: it is the first one that was read.
        return read_before(command.archive, attrs.evolve(record, seq=min(record.seq, after + 1)))


class FollowedSession:
    """All commands of a session, until it is closed."""

    def __init__(
        self, session: Session, after: int | None, stream: str | None, encoding: str | None, for_socket: bool = False
    ) -> None:
        self._session = session
        self._after = after
        self._follower = Follower(stream, late=False)
        self._teller = Teller(encoding or "text", plain_id, self._before if after is not None else None, for_socket)
        self._last: Record | None = None
        self._ended = False
        self._over = False

    async def __aenter__(self) -> Self:
        self._follower.add_session(self._session.archive, self._session.id, self._after)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._follower.close()

    async def read(self) -> Sequence[Message]:
        while not self._over:
            if self._ended:
                messages = await self._end()
                self._over = True
                return messages
            records, ended, self._over = await collect(self._follower)
            self._ended = ended is not None
            messages = self._teller.tell(records)
            if records:
                self._last = records[-1]
            if messages:
                return messages
        return []

    async def _end(self) -> list[Message]:
        session, last = self._session, self._last
        if session.state in OPEN_STATES:
            await session.refresh()
        rest = self._teller.rest_of_all(last.seq, last.time) if last is not None else []
        return [*rest, Message("end", None, to_json(session.info, ascii=True))]

    def _before(self, record: Record) -> bytes:
        after = self._after if self._after is not None else -1
        return read_before(self._session.archive, attrs.evolve(record, seq=min(record.seq, after + 1)))

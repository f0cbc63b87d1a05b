"""Interpreters that keep their state from one piece of code to the next: a program that runs cells, and the one who feeds it.

A cell goes to the program's stdin as one line of JSON. When the cell is through, the program writes a *mark* to both of its streams:
a NUL, 32 letters that were made for this cell, a colon, one line of JSON, a NUL. What stands in front of the marks is the cell's
output, whoever wrote it; the JSON of stdout's mark is its result. A result whose JSON would be too long for a mark is told as a
person would be shown it, and no more of that than has a place.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

import attrs
import trio

from ...command import Command
from ...errors import SessionsError
from ...following import Follower
from ...spaces import Space
from ..outcomes import told_exit_code
from .launch import Launch, launch, program

MOST_BYTES: Final = 32 << 20
"""Of a cell's output on one stream, with the mark: of more, the end is kept."""
MARK_BYTES: Final = 1 << 10
"""More than a mark has beside its result."""

PYTHON: Final = r"""
import ast, json, linecache, os, sys, traceback
cells = os.fdopen(os.dup(0), "r", encoding="utf-8")
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
sys.path.insert(0, "")
main = sys.modules["__main__"] = type(sys)("__main__")
names = main.__dict__
names["__builtins__"] = __builtins__

def show(value, most):
    try:
        text = json.dumps(value, allow_nan=False)
        if len(text) <= most:
            return json.loads(text)
    except Exception:
        pass
    text = repr(value)
    return text if len(json.dumps(text)) <= most else text[: most // 12] + "..."  # a character takes 12 bytes at most

def run(code, file):
    linecache.cache[file] = (len(code), None, code.splitlines(True), file)
    tree = ast.parse(code, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), file, "eval"), names)

for number, line in enumerate(cells, 1):
    cell = json.loads(line)
    told = {"ok": True, "result": None}
    try:
        told["result"] = show(run(cell["code"], f"<cell {number}>"), cell["most"])
    except SystemExit:
        raise
    except BaseException as error:
        told["ok"] = False
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
    for stream, facts in ((sys.stdout, told), (sys.stderr, {})):
        try:
            stream.flush()
        except Exception:
            pass
    for descriptor, facts in ((1, told), (2, {})):
        data = f"\0{cell['mark']}:{json.dumps(facts)}\0".encode()
        while data:
            data = data[os.write(descriptor, data):]
"""

JAVASCRIPT: Final = r"""
const vm = require('node:vm'), util = require('node:util'), readline = require('node:readline');
globalThis.require = require;
let number = 0;
function show(value, most) {
  if (value === undefined) return null;
  try {
    const text = JSON.stringify(value);
    if (text !== undefined && Buffer.byteLength(text) <= most) return JSON.parse(text);
  } catch {}
  const text = util.inspect(value);
  return Buffer.byteLength(JSON.stringify(text)) <= most ? text : text.slice(0, most / 12) + '...';
}
async function run(line) {
  const cell = JSON.parse(line), told = {ok: true, result: null};
  try {
    told.result = show(await vm.runInThisContext(cell.code, {filename: `<cell ${++number}>`}), cell.most);
  } catch (error) {
    told.ok = false;
    process.stderr.write((error && error.stack || String(error)) + '\n');
  }
  process.stdout.write(`\0${cell.mark}:${JSON.stringify(told)}\0`);
  process.stderr.write(`\0${cell.mark}:{}\0`);
}
(async () => {
  for await (const line of readline.createInterface({input: process.stdin})) await run(line);
})();
"""

PROGRAMS: Final = {"python": ("python3", "-u", "-c", PYTHON), "javascript": ("node", "-e", JAVASCRIPT)}
OTHER_NAMES: Final = {"python3": "python", "py": "python", "js": "javascript", "node": "javascript"}


@attrs.define
class Outcome:
    """What has become of a cell."""

    ok: bool = False
    result: Any = None
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    """Of the interpreter, if it ended."""
    timed_out: bool = False


class Written:
    """What has come on one stream and belongs to no cell yet."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._searched = 0
        """No mark begins before: what has been searched once is not searched for each piece that comes behind it."""

    def add(self, piece: bytes) -> None:
        self.data += piece
        surplus = max(len(self.data) - MOST_BYTES, 0)
        del self.data[:surplus]
        self._searched = max(self._searched - surplus, 0)

    def take_cell(self, begin: bytes) -> tuple[bytes, Any] | None:
        """What stands in front of the mark that begins so, and the mark's facts. None if it is not there yet."""
        place = self.data.find(begin, self._searched)
        self._searched = place if place >= 0 else max(len(self.data) - len(begin) + 1, self._searched)
        end = self.data.find(b"\0", place + len(begin)) if place >= 0 else -1
        if end < 0:
            return None
        found = bytes(self.data[:place]), json.loads(self.data[place + len(begin) : end])
        del self.data[: end + 1]
        self._searched = 0
        return found

    def take_all(self) -> bytes:
        found = bytes(self.data)
        self.data.clear()
        self._searched = 0
        return found


class Interpreter:
    """One program and its state. Cells wait for each other."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._lock = trio.Lock()
        self._seen: int | None = None
        """The seq of the last record that was read. Between two cells nobody follows: that would hold the log's files open."""
        self._written = {"stdout": Written(), "stderr": Written()}

    @classmethod
    async def open(cls, space: Space, language: str) -> Interpreter:
        labels = {"interpreter": language}
        _, command = await launch(space, Launch(text=program(PROGRAMS[language]), stdin=True, labels=labels))
        return cls(command)

    @property
    def lives(self) -> bool:
        return self._command.state != "finished"

    async def close(self) -> None:
        """End it, with all that it started."""
        with trio.CancelScope(shield=True):
            await self._command.kill(grace=0)

    async def run(self, code: str, timeout: float | None) -> Outcome:
        """Run a cell. When its time is over, the interpreter is ended, and its state is lost."""
        outcome = Outcome()
        async with self._lock:
            mark = secrets.token_hex(16)
            with trio.move_on_after(timeout if timeout is not None else float("inf")):
                try:
                    cell = {"code": code, "mark": mark, "most": MOST_BYTES - MARK_BYTES}
                    await self._command.send_input(json.dumps(cell) + "\n")
                except SessionsError:
                    pass  # it has ended, as will be found
                await self._follow(mark, outcome)
                return outcome
            outcome.timed_out = True
            await self.close()
            self._take_rest(outcome)
        return outcome

    async def _follow(self, mark: str, outcome: Outcome) -> None:
        follower = Follower(None, late=False)
        try:
            follower.add_commands(self._command.archive, self._command.session_id, [self._command.info], self._seen)
            await self._read(follower, mark, outcome)
        finally:
            follower.close()

    async def _read(self, follower: Follower, mark: str, outcome: Outcome) -> None:
        begin = f"\0{mark}:".encode()
        facts: dict[str, Any] = {}
        while len(facts) < len(self._written):
            item = await follower.next()
            if item is None or item[1] is None:
                await self._command.wait()
                outcome.exit_code = told_exit_code(self._command)
                outcome.ok = outcome.exit_code == 0
                self._take_rest(outcome)
                return
            self._seen = item[1].seq
            stream, written = item[1].stream, self._written.get(item[1].stream)
            if written is not None:
                written.add(item[1].data)
                found = written.take_cell(begin) if stream not in facts else None
                if found is not None:
                    setattr(outcome, stream, found[0])
                    facts[stream] = found[1]
        outcome.ok, outcome.result = facts["stdout"]["ok"], facts["stdout"]["result"]

    def _take_rest(self, outcome: Outcome) -> None:
        """What was written without a mark behind it."""
        for stream, written in self._written.items():
            if data := written.take_all():
                setattr(outcome, stream, data)

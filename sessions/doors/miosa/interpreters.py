"""Interpreters that keep their state from one piece of code to the next: a program that runs cells, and the one who feeds it.

A cell goes to the program's stdin as one line of JSON. When the cell is through, the program writes a *mark* to both of its streams:
a NUL, 32 letters that were made for this cell, a colon, one line of JSON, a NUL. What stands in front of the marks is the cell's
output, whoever wrote it; the JSON of stdout's mark is its result.
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
"""Of a cell's output on one stream: of more, the end is kept."""

PYTHON: Final = r"""
import ast, json, linecache, os, sys, traceback
cells = os.fdopen(os.dup(0), "r", encoding="utf-8")
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
sys.path.insert(0, "")
names = {"__name__": "__main__", "__builtins__": __builtins__}

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
        value = run(cell["code"], f"<cell {number}>")
        try:
            told["result"] = json.loads(json.dumps(value, allow_nan=False))
        except Exception:
            told["result"] = repr(value)
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
async function run(line) {
  const cell = JSON.parse(line), told = {ok: true, result: null};
  try {
    const value = await vm.runInThisContext(cell.code, {filename: `<cell ${++number}>`});
    try {
      const text = JSON.stringify(value);
      told.result = text === undefined ? (value === undefined ? null : util.inspect(value)) : JSON.parse(text);
    } catch {
      told.result = util.inspect(value);
    }
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


class Interpreter:
    """One program and its state. Cells wait for each other."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._lock = trio.Lock()
        self._seen: int | None = None
        """The seq of the last record that was read. Between two cells nobody follows: that would hold the log's files open."""
        self._written = {"stdout": bytearray(), "stderr": bytearray()}

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
                    await self._command.send_input(json.dumps({"code": code, "mark": mark}) + "\n")
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
            for stream, data in self._written.items():
                found = take_cell(data, begin) if stream not in facts else None
                if found is not None:
                    setattr(outcome, stream, found[0])
                    facts[stream] = found[1]
            if len(facts) == len(self._written):
                break
            item = await follower.next()
            if item is None or item[1] is None:
                await self._command.wait()
                outcome.exit_code = told_exit_code(self._command)
                outcome.ok = outcome.exit_code == 0
                self._take_rest(outcome)
                return
            self._seen = item[1].seq
            if item[1].stream in self._written:
                data = self._written[item[1].stream]
                data += item[1].data
                del data[:-MOST_BYTES]
        outcome.ok, outcome.result = facts["stdout"]["ok"], facts["stdout"]["result"]

    def _take_rest(self, outcome: Outcome) -> None:
        """What was written without a mark behind it."""
        for stream, data in self._written.items():
            if data:
                setattr(outcome, stream, bytes(data))
                data.clear()


def take_cell(data: bytearray, begin: bytes) -> tuple[bytes, Any] | None:
    """What stands in front of a mark, and the mark's facts; both are taken out of `data`. None if it is not there yet."""
    place = data.find(begin)
    end = data.find(b"\0", place + len(begin)) if place >= 0 else -1
    if end < 0:
        return None
    found = bytes(data[:place]), json.loads(data[place + len(begin) : end])
    del data[: end + 1]
    return found

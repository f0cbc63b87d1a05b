"""The text that is sent to a shell, and the reports that come back. Plain functions; no I/O.

Theory of operation. A shell reads *control lines* from its stdin, which no command ever sees. Each shell has a *run
directory*; ``D`` below. For command 7 it holds the text (``7``), the FIFOs of its stdout (``7o``), stderr (``7e``) and, if it
was asked for, stdin (``7i``), and for a background command its starter (``7b``).

A foreground command is two control lines. The first sources the text with its streams redirected; the second reports::

    \\builtin export 'SESSIONS_COMMAND_ID=...-7'; \\builtin . D/7 >D/7o 2>D/7e </dev/null
    \\builtin . D/r d 7 "$?"

Two lines, because an interrupt makes an interactive shell drop the line that it is in and go on with the next one. Sourced,
because then any text is allowed (heredocs, ``return``, no length limit) and syntax errors are just exit codes.

A background command is sourced by a fork of the shell. The fork's parent, the reporter, is itself orphaned at once, so
that the shell's ``jobs``, ``wait`` and ``$!`` never see it. Until the reporter has forked the command, it holds the FIFO of its
stderr open (not in zsh), and the command inherits that: if it comes to its end before the start is reported, the reporter has
died and nothing more will be told. A command that has started holds it in any shell.

A *report* is one line ``kind number value`` on the shell's report FIFO, which is opened by path, for reading *and* writing: so
there is no descriptor that a user's ``exec 9>`` could break or a child could inherit, and nobody hangs once the engine is
gone. The report file ``r`` also hands on its last argument as ``$?``, so that ``$?`` survives between commands.

    r 0 0        the shell is ready
    o 7 0        command 7 has opened its stdin
    s 7 PID      background command 7 has started
    b 7 STATUS   the control line that starts it is through (STATUS is not 0 if it failed)
    e 7 STATUS   background command 7 has ended
    d 7 STATUS   foreground command 7 has ended
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple

import attrs

from .kept_variables import BASH_KEEPS, ZSH_KEEPS

REPORT: Final = re.compile(r"([robsed]) (\d{1,10}) (\d{1,10})")


@attrs.frozen
class Dialect:
    """How one kind of shell is started and spoken to."""

    name: str
    argv: tuple[str, ...]
    setup: str
    """Makes an interactive shell silent and forgetful, without a job control of its own."""
    word: str
    """Put in front of a builtin so that no alias or function of the user's is called in its stead."""
    reports_by_file: bool
    """False where ``. file`` takes no arguments; then the report is a function."""
    own_group: bool
    """True if a background command can be given a process group of its own without a terminal."""
    resends_report: bool
    """True if an interrupt makes the shell throw away control lines that it has read already."""
    hides_interrupt: bool
    """True if it reports 0 for a loop of its own that was interrupted."""
    holds_by: str | None
    """The descriptor by which a reporter holds its command's stderr open, as a redirection begins; None where it doesn't."""
    reads_history: bool
    """True if it reads what its user has typed at prompts, before it can be told not to."""
    keeps: frozenset[str]
    """Variables that it takes from nobody's environment: to set them fails, or does something else."""


BASH: Final = Dialect(
    name="bash",
    argv=("bash", "--noprofile", "--norc", "--noediting", "-i"),
    setup="PS1= PS2= PROMPT_COMMAND=; unset TMOUT MAILCHECK HISTFILE; set +o history +o histexpand +m",
    word="\\builtin",
    reports_by_file=True,
    own_group=True,
    resends_report=False,
    hides_interrupt=False,
    holds_by="{__sessions_held}",  # one of its own above 9: DEBUG traps write to stdout, ``set -x`` to stderr
    reads_history=True,
    keeps=BASH_KEEPS,
)
SH: Final = Dialect(
    name="sh",
    argv=("sh", "-i"),
    setup="PS1= PS2=; unset MAILCHECK; set +m",
    word="\\command",
    reports_by_file=False,
    own_group=False,
    resends_report=True,
    hides_interrupt=False,
    holds_by="",  # stdout, to which nothing is written
    reads_history=False,
    keeps=frozenset(),
)
ZSH: Final = Dialect(
    name="zsh",
    argv=("zsh", "-f", "-i"),
    setup="PS1= PS2= RPS1=; unsetopt monitor zle promptcr promptsp bg_nice bang_hist; setopt interactive_comments;"
    " unset HISTFILE MAILCHECK TMOUT",
    word="\\builtin",
    reports_by_file=True,
    own_group=False,
    resends_report=False,
    hides_interrupt=True,
    holds_by=None,  # it runs the command in its foreground, and could not let go
    reads_history=False,
    keeps=ZSH_KEEPS,
)
DIALECTS: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in (BASH, SH, ZSH)}


def without_kept(env: Mapping[str, str], shell: str) -> dict[str, str]:
    """What a shell takes of an environment. A terminal is no shell of ours."""
    kept = DIALECTS[shell].keeps if shell in DIALECTS else frozenset()
    return {name: value for name, value in env.items() if name not in kept}


class Report(NamedTuple):
    kind: str
    number: int
    value: int


def parse_reports(data: bytes) -> list[Report]:
    """The reports in `data`, which holds whole lines (a report is one write, shorter than PIPE_BUF). Others' noise is skipped."""
    matches = (REPORT.fullmatch(line) for line in data.decode("ascii", "replace").splitlines())
    return [Report(match[1], int(match[2]), int(match[3])) for match in matches if match]


@attrs.frozen
class Request:
    """What the shell is to be told about one command."""

    number: int
    id: str
    env: Mapping[str, str]
    """For this command only."""
    cwd: str | None
    """For this command only."""
    stdin: bool
    """Whether it has a stdin FIFO; else its stdin is at its end."""


class Writer:
    """Writes control text for a shell of `dialect` with run directory `directory` (absolute, without odd characters)."""

    def __init__(self, dialect: Dialect, directory: str) -> None:
        self.dialect = dialect
        self.directory = directory
        self._report = f"{dialect.word} . {directory}/r" if dialect.reports_by_file else "__sessions_report"

    def report_file(self) -> str:
        """The content of file ``r``."""
        word = self.dialect.word
        return (
            f'case $1 in -) ;; *) {word} printf \'%s %s %s\\n\' "$1" "$2" "$3" 1<>{self.directory}/report ;; esac\n'
            # Under `set -e`, handing on a failure would end the shell.
            f'case $- in *e*) ;; *) {word} return "${{4-$3}}" ;; esac\n'
        )

    def setup(self, open_files: int, env: Mapping[str, str]) -> str:
        """The first control lines. `open_files` is the soft limit that commands shall see, `env` what could not be given at the start."""
        lines = [self.dialect.setup, f"ulimit -S -n {open_files}"]
        lines += [f"{self.dialect.word} export {assignment}" for assignment in assignments(env)]
        if not self.dialect.reports_by_file:
            lines.append(f"{self._report}() {{ {self.report_file().strip().replace(chr(10), '; ')}; }}")
        return "\n".join(lines) + f"\n{self._report} r 0 0\n"

    def foreground(self, request: Request, status: int) -> str:
        """Runs a command in the shell itself. `status` is what it shall find in ``$?``."""
        word, path = self.dialect.word, f"{self.directory}/{request.number}"
        source = f"{word} . {path} >{path}o 2>{path}e"
        if not (request.env or request.cwd or request.stdin):
            head = f"{word} export 'SESSIONS_COMMAND_ID={request.id}';"
            if status:
                head += f"{self._report} - - {status};"
            return f"{head}{source} </dev/null\n{self.report_again(request)}"
        prepare = " && ".join(self._preparation(request)) or f"{word} :"
        opened = f"{word} printf 'o {request.number} 0\\n' 1<>{self.directory}/report; " if request.stdin else ""
        keep = f"{self._report} - - {status}; " if status else ""
        stdin = f"{path}i" if request.stdin else "/dev/null"
        # What comes after `then` is no condition, so a user's `set -e` works in it. If the preparation failed, it is done
        # again to show why, and its report is the one that counts (the second is ignored); `|| :` keeps `set -e` from ending
        # the shell for it.
        return (
            f"{self._save(request)}{word} export 'SESSIONS_COMMAND_ID={request.id}'\n"
            f"if {{ {prepare}; }} 2>/dev/null; then {opened}{keep}{source};"
            f" else {{ {prepare}; }} 2>{path}e || {self._report} d {request.number} 1 || {word} :; fi <{stdin}\n"
            f"{self.report_again(request)}"
        )

    def _preparation(self, request: Request) -> list[str]:
        """What must succeed before the text is run."""
        word = self.dialect.word
        steps = [f"{word} export {assignment}" for assignment in assignments(request.env)]
        if request.cwd:
            steps.append(f"{word} cd -- {shlex.quote(request.cwd)}")
        return steps

    def report_again(self, request: Request) -> str:
        """The part of a foreground command's control text that may be sent twice: its report, and undoing what was set for it."""
        text = f'{self._report} d {request.number} "$?"\n'
        if request.env or request.cwd:
            text += self._restore(request)
        return text

    def _save(self, request: Request) -> str:
        word = self.dialect.word
        names = " ".join(request.env)
        lines = ["__sessions_pwd=$PWD __sessions_oldpwd=${OLDPWD-} __sessions_env="]
        if names and self.dialect.name == "sh":
            # dash can't print a single variable: whether one was exported is looked up in the list of all.
            for name in request.env:
                lines.append(
                    f'case ${{{name}+set}} in set) __sessions_env="$__sessions_env {name}=\\$__sessions_old_{name};"'
                    f" __sessions_old_{name}=${name}; case \"$(export -p)\" in *'export {name}='*)"
                    f' __sessions_env="$__sessions_env export {name};" ;; esac ;; esac'
                )
        elif names:
            lines.append(f"__sessions_env=$({word} typeset -p {names} 2>/dev/null) || {word} :")
        return "\n".join(lines) + "\n"

    def _restore(self, request: Request) -> str:
        word = self.dialect.word
        unset = f"{word} unset {' '.join(request.env)};" if request.env else ""
        # By way of the old directory, since zsh's `cd -` doesn't ask $OLDPWD.
        cd = (
            f'case $__sessions_oldpwd in ?*) {word} cd -- "$__sessions_oldpwd" || {word} : ;; esac;'
            f' {word} cd -- "$__sessions_pwd" || {word} :; OLDPWD=$__sessions_oldpwd;'
            if request.cwd
            else ""
        )
        undo = f'{word} eval "$__sessions_env";'
        if self.dialect.name == "bash":  # what was saved is not quoted so
            undo = f"case $- in *k*) {word} set +k; {undo} {word} set -k ;; *) {undo} ;; esac;"
        forget = "".join(f" __sessions_old_{name}" for name in request.env) if self.dialect.name == "sh" else ""
        return (
            f"__sessions_status=$?; case ${{__sessions_pwd+set}} in set) {unset} {undo} {cd}"
            f" {word} unset __sessions_pwd __sessions_oldpwd __sessions_env{forget} ;; esac;"
            f" {self._report} - - $__sessions_status\n"
        )

    def background(self, request: Request, status: int) -> str:
        """Starts file ``7b`` beside the shell. `status` is what ``$?`` was and shall stay."""
        word, number = self.dialect.word, request.number
        hold = f" {self.dialect.holds_by}>{self.directory}/{number}e" if self.dialect.holds_by is not None else ""
        return (
            f"( {word} . {self.directory}/{number}b ) </dev/null >/dev/null 2>/dev/null{hold}\n"
            f'{self._report} b {number} "$?" {status}\n'
        )

    def starter(self, request: Request, status: int) -> str:
        """The content of file ``7b``."""
        word, number, path = self.dialect.word, request.number, f"{self.directory}/{request.number}"
        tell = f"{word} printf '%s {number} %s\\n'"
        to = f"1<>{self.directory}/report"
        steps = [f"{word} export 'SESSIONS_COMMAND_ID={request.id}'"]
        for step in self._preparation(request):
            steps.append(f"{step} >/dev/null 2>&1 || {{ {step} >/dev/null 2>{path}e; {word} exit 1; }}")
        keep = [f"{self._report} - - {status}"] if status else []
        source, logged = f"{word} . {path}", f"2>{path}e >{path}o"  # stderr first: dash holds that by its stdout
        if self.dialect.name == "zsh":
            # zsh hangs on `wait` in such a fork, so there the command is a foreground subshell of the reporter.
            save = "__sessions_flags=$-; [[ -o errreturn ]] && __sessions_flags+=@; unsetopt errexit errreturn"
            begin = (
                "case $__sessions_flags in *e*) setopt errexit ;; esac;"
                " case $__sessions_flags in *@) setopt errreturn ;; esac; unset __sessions_flags"
            )
            pid = f"{word} zmodload zsh/system; {tell} s ${{sysparams[pid]}} {to}"
            source += f" {logged}"
            begun = [f"{tell} o 0 {to}"] if request.stdin else []
            stdin = f"{path}i" if request.stdin else "/dev/null"
            steps.append(f"{{ {'; '.join([*begun, *keep, source])}; }} <{stdin}")
            job = "\n".join(steps)
            return f"{{ {save}; (\n{begin}\n{pid}\n{job}\n) 0>{path}e\n{tell} e $? {to}\n}} &\n"
        # A fork of bash gives up aliases along with its interactivity, and learns of its own group only by `set -m`: before, a
        # user's `kill %1` would be for the whole command.
        monitor = "\\builtin set -m\n" if self.dialect.own_group else ""
        if self.dialect.own_group:
            steps.insert(0, f"{monitor}\\builtin set +m; \\builtin shopt -s expand_aliases")
        if request.stdin:
            steps.append(f"{tell} o 0 {to}")
        if self.dialect.holds_by:
            source += f" {self.dialect.holds_by}>&-"
        # What a trap for EXIT writes belongs to the log, so that is where its streams go for good. Who traces would see us
        # there, so for them it is only while the text is sourced. A DEBUG trap may have bash leave out the `exit`.
        traced = "; ".join([*keep, f"{source} {logged}", f"{word} exit"])
        steps.append(f"case $- in *[xvTE]*) {traced} ;; esac")
        plain = f"case $- in *[xvTE]*) ;; *) {'; '.join([*keep, source])} ;; esac"
        stdin = f"<{path}i" if request.stdin else "</dev/null"
        job = "\n".join(["{", *steps, "} >/dev/null 2>/dev/null", plain])
        # What bash's `builtin exec` redirects is as before when it is done.
        exec_ = "\\builtin unset -f exec; \\exec" if self.dialect.own_group else f"{word} exec"
        return (
            f"{monitor}{{\n{monitor}{{\n{job}\n}} {stdin} {logged} &\n"
            # In this order: a command that stops its reporter must not have it hold on.
            f'{exec_} {self.dialect.holds_by}>&-\n{tell} s "$!" {to}\n'
            f'{word} wait "$!" && {tell} e 0 {to} || {tell} e "$?" {to}\n'
            f"}} &\n"
        )


def assignments(env: Mapping[str, str]) -> list[str]:
    """As arguments of `export`, quoted: else, under `set -k`, it would not get them."""
    return [f"'{name}='{shlex.quote(value)}" for name, value in env.items()]

"""Any text that a shell can read runs as ``bash script.sh`` would run it: same bytes on both streams, same exit code."""

from __future__ import annotations

import random
import re
import signal
import subprocess
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions

# Scripts, each after a line with its name.
CORPUS = r"""
%% one word
pwd
%% quotes of both kinds
echo "it's" 'say "hi"' "a\"b" $'tab\there' "\$HOME" '\n'
%% quotes over several lines
echo "first
  second 'third
fourth"
%% quotes in a word
echo a'b'"c"\ d\'e
%% backtick substitution
echo `echo one; echo \`echo two\``
%% substitutions with quotes in them
echo "$(echo "in $(echo "deeper")")"
%% substitution with a case in it
echo "$(case x in x) echo found ;; esac)"
%% leading comment
# a comment
echo after
%% only comments
# nothing
  # at all
%% trailing comment
echo before # and a comment
%% trailing hash
echo before #
%% hash in a word
echo a#b '#c' "#d" \#e
%% backslash at the end of lines
echo one \
  two \
  three
%% backslash as the last character
echo one \
%% backslashes
printf '%s\n' \\ '\\' "\\" \\\\ 'a\b'
%% semicolon at the end
echo one;
%% ampersand at the end
: &
%% heredoc
cat <<EOF
line one
  line two
EOF
%% heredoc that expands
x=5
cat <<EOF
x is $x, $(echo "sub"), $((x * 2)), \$x, "quoted", 'single', `echo old`
EOF
%% heredoc that does not expand
cat <<'EOF'
$x $(echo no) `echo no` \$x "double" 'single' it's
EOF
%% heredoc with single quotes that don't match
cat <<EOF
don't "worry
EOF
%% heredoc with tabs removed
cat <<-EOF
		two tabs
	one tab
	EOF
%% two heredocs in one line
cat <<A; cat <<'B'
first
A
second $x
B
%% heredoc in a pipeline
cat <<EOF | tr a-z A-Z | rev
shout
EOF
%% heredoc in a function
f() {
cat <<EOF
in f: $1
EOF
}
f one; f two
%% heredoc in a substitution
x=$(cat <<EOF
some text
EOF
)
echo "[$x]"
%% heredoc in a loop
for i in 1 2 3; do cat <<EOF
round $i
EOF
done
%% heredoc of words that look like the shell's
cat <<'done'
for i in; do
fi
done
%% heredoc with an empty body
cat <<EOF
EOF
%% heredoc to another descriptor
cat 3<<EOF 0<&3
by three
EOF
%% unterminated heredoc
cat <<EOF
no end here
%% unterminated quoted heredoc
echo before
cat <<'END'
$x is not
ended
%% nested heredocs
cat <<OUTER
$(cat <<INNER
inside
INNER
)
OUTER
%% script that writes a script
cat > sub.sh <<'EOF'
echo "sub: $1"
exit 4
EOF
bash sub.sh arg; echo $?
%% here-string
cat <<< "a string with  two  blanks"
read -r a b <<< 'x y z'; echo "$b|$a"
%% subshell
(echo in; cd /; pwd; exit 3); echo $?; (exit 5)
%% nested subshells
( ( (echo deep) ; echo mid ) ; echo top )
%% subshell keeps variables to itself
x=1; (x=2; echo $x); echo $x
%% group
{ echo a; echo b >&2; } 2>&1 | sort
%% arithmetic
echo $((1 + 2 * 3)) $((7 % 3)) $((2 ** 10)) $((0x1f)) $((5 > 3 ? 10 : 20)); ((x = 4, x++)); echo $x
%% arithmetic that is false
((0))
%% arithmetic for
for ((i = 0; i < 3; i++)); do printf '%d ' $i; done; echo
%% division by zero in a subshell
(echo $((1 / 0)); echo no); echo after
%% let
let 'a = 3' 'b = a * 2'; echo $a $b
%% if, elif, else
x=b; if [ $x = a ]; then echo A; elif [[ $x == b ]]; then echo B; else echo C; fi
%% while with break and continue
i=0; while true; do i=$((i + 1)); [ $i = 2 ] && continue; [ $i = 5 ] && break; echo $i; done
%% until
i=3; until [ $i -eq 0 ]; do echo $i; ((i--)); done
%% for over words, globs and braces
touch f1.txt f2.txt; for f in *.txt {a..c} "x y"; do echo "<$f>"; done
%% for without words
set -- p "q r"; for a; do echo "$a"; done
%% case and esac
for w in apple banana cherry '' '*'; do
  case $w in
    a*) echo starts with a ;;
    (banana|berry) echo fruit ;;&
    *n*) echo has n ;;
    '') echo empty ;;
    \*) echo star ;;
    *) echo other
  esac
done
%% case that falls through
case a in a) echo 1 ;& b) echo 2 ;; c) echo 3 ;; esac
%% select at the end of input
select x in one two; do echo "$x"; done
%% function
greet() { local who=${1:-nobody}; echo "hello $who"; return 7; }
greet; greet you; echo $?
%% function with the keyword
function f { echo "$# $*"; }; f a 'b c'
%% function in a subshell
f() ( cd /; pwd; exit 9 ); f; echo $?
%% recursion
fact() { if (($1 < 2)); then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }; fact 6
%% local variables
x=outer; f() { local x=inner; g; }; g() { echo $x; }; f; echo $x
%% arrays
a=(one 'two three' four); a+=(five); echo ${#a[@]} "${a[1]}" "${!a[@]}" "${a[@]:1:2}"; unset 'a[0]'; echo "${a[*]}"
%% associative arrays
declare -A m=([k]=v ['two words']=2); echo "${m[k]}" "${m[two words]}" ${#m[@]}
%% mapfile
mapfile -t lines < <(printf '%s\n' a 'b c' d); echo "${#lines[@]}: ${lines[1]}"
%% parameter expansion
p=/usr/lib/file.tar.gz; echo ${p##*/} ${p%%.*} ${p/lib/LIB} ${p//./,} ${#p} ${p:5:3} ${p^^} ${none:-default} ${none+set}
%% assignment by default
echo ${v:=given}; echo $v
%% indirection and names
ab=1 ac=2 n=ab; echo ${!n} ${!a*} ${n@Q}
%% brace expansion
echo {1..5} {a,b}{1,2} pre{x,y}post {01..03}
%% globs that match nothing
echo nosuch*; echo [abc]
%% process substitution
diff <(echo same) <(echo same) && echo equal; cat <(echo from) <(echo two)
%% coprocess
coproc cat; echo to it >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo "got $l"; exec {COPROC[1]}>&-; wait
%% long pipeline
seq 1 100 | grep 1 | sed s/1/x/ | sort | uniq | head -n 20 | tail -n 5 | tr x y | cat | cat | cat | wc -l
%% pipeline whose parts fail
false | true; echo $? "${PIPESTATUS[@]}"; true | false
%% pipefail
set -o pipefail; false | true; echo $?; set +o pipefail
%% pipeline with both streams
{ echo out; echo err >&2; } |& sort
%% negation
! true; echo $?; ! false; echo $?; ! grep -q x /dev/null
%% and, or
true && echo yes || echo no; false && echo yes || echo no; false || true && echo both
%% writing to both streams
echo out; echo err >&2; echo out2; echo err2 1>&2
%% redirections
echo a > f; echo b >> f; cat < f; cat f nosuchfile 2>&1 | wc -l; echo c &> f; cat f; echo d > f 2>&1; cat f
%% descriptors of its own
exec 5> five; echo to five >&5; exec 5>&-; cat five
%% descriptors in variables
exec {fd}<<< data; read -r x <&$fd; echo $x; exec {fd}<&-
%% closed stdout
echo lost >&- ; echo $?
%% stdout moved for good
exec > moved; echo into the file; cat moved >&2
%% command not found
nosuchcommand_x; echo $?; nosuchcommand_y
%% program not found
./nosuchfile
%% directory as command
/tmp
%% program that is not executable
echo 'echo hi' > plain; ./plain
%% cd to nowhere
cd /nosuchdirectory; echo $?
%% exit codes
true; echo $?; false; echo $?; (exit 42); echo $?; bash -c 'exit 300'; echo $?
%% status of the last command
(exit 77)
%% status of a child killed
{ bash -c 'kill -9 $$'; } 2>/dev/null
%% exit
echo before; exit 3; echo after
%% exit with the last status
false; exit
%% exit in a function
f() { echo in; exit 6; }; f; echo not here
%% exit beside a heredoc
cat <<EOF; exit 8
bye
EOF
%% exec
echo before; exec echo replaced
%% exec of a shell
exec bash -c 'echo new; exit 12'
%% set -e with a failure
set -e; echo one; false; echo two
%% set -e with conditions
set -e; if false; then :; fi; false || true; ! true; echo alive
%% set -e in a subshell
(set -e; false; echo no); echo $?
%% set -u in a subshell
(set -u; echo $undefined_variable; echo no); echo $?
%% error when unset, in a subshell
(echo ${undefined_variable:?is not set}; echo no); echo after
%% set -x
set -x; echo traced; x=1; set +x; echo quiet
%% readonly in a subshell
(readonly r=1; r=2; echo no); echo after
%% syntax error in the first line
if then fi
%% syntax error after output
echo before
)
%% missing done
echo before
for i in 1 2; do echo $i
%% missing fi
if true; then
echo x
%% missing closing brace
f() { echo x
%% missing closing parenthesis
(echo x
%% missing double quote
echo "never closed
%% missing single quote
echo 'never closed
more
%% missing backtick
echo `date
%% unexpected esac
esac
%% unexpected semicolon
echo a || ; echo b
%% syntax error in eval
eval 'if'; echo $?
%% bad substitution in a subshell
(echo ${a b}); echo after
%% eval
eval 'echo "one   two"' ';' 'x=3'; echo $x
%% sourcing
echo 'echo sourced $1; y=4; return 3' > lib.sh; . ./lib.sh arg; echo $? $y
%% EXIT trap in a subshell
(trap 'echo bye $?' EXIT; exit 4); echo $?
%% trap of a signal
trap 'echo got USR1' USR1; kill -USR1 $BASHPID; echo after; trap - USR1
%% ERR trap
trap 'echo failed: $?' ERR; false; echo on; trap - ERR
%% DEBUG trap
trap 'echo next: $BASH_COMMAND' DEBUG; echo a; trap - DEBUG
%% background and wait
sleep 0.05 & p=$!; wait $p; echo $?; (exit 9) & wait $!; echo $?
%% wait for all
for i in 1 2 3; do (echo $i > w$i) & done; wait; cat w1 w2 w3
%% reading at the end of input
read x; echo "$? [$x]"; cat; echo end
%% reading from a pipe
printf 'a b\nc d\n' | while read -r x y; do echo "$y $x"; done
%% reading with a separator
IFS=: read -r a b c <<< "1:2:3"; echo "$c $b $a"
%% printf
printf '%5.2f|%-5s|%05d|%x|%q\n' 3.14159 ab 42 255 'a b'; printf -v v '%s-' a b; echo $v
%% echo with escapes
echo -e 'a\tb\n\x41'; echo -n no newline
%% NUL and other bytes
printf 'a\0b\001\002\377'
%% text that is not ASCII
g='naïve café 漢字 🎉'; echo "$g"; echo 'ünïcödé' | wc -c
%% getopts
set -- -a -b val rest; while getopts ab: o; do echo "$o ${OPTARG-}"; done; shift $((OPTIND - 1)); echo "$@"
%% positional parameters
set -- one 'two three'; echo $# "$2"; shift; echo "$1" "$*"
%% no positional parameters
echo "$# [$*]"
%% line numbers
echo $LINENO

echo $LINENO
%% extended test
[[ abc =~ ^a(.)c$ ]] && echo ${BASH_REMATCH[1]}; [[ -d / && ! -e /nosuch ]] && echo ok; [[ b > a ]]; echo $?
%% extended globs
shopt -s extglob
touch a.c b.c a.h
echo !(*.c) @(a|b).c
%% nullglob
shopt -s nullglob; echo none: nosuch*; shopt -u nullglob
%% integer variables
declare -i n=3; n+=4; echo $n; n=n*2; echo $n
%% name references
f() { declare -n ref=$1; ref=changed; }; v=old; f v; echo $v
%% printing definitions
f() { echo "x  y"; }; declare -f f; type -t f
%% arguments with odd characters
args() { printf '<%s>' "$@"; echo; }; args '' ' ' '*' '?' '[' '!' '!!' 'a!b' '~' '$' '&' ';' '|' '<' '>' '\' '`'
%% history characters
echo "wow!" "!x" !! !$ 'a!b'; x=!; echo $x
%% environment of one program
X=1 bash -c 'echo $X'; echo "[$X]"; X=2 Y=3 env | grep -c '^[XY]='
%% umask
(umask 077; touch private; stat -c %a private)
%% disown
sleep 0.01 & disown; echo gone
%% very long word
x=$(printf 'y%.0s' {1..5000}); echo ${#x}
%% python by heredoc
python3 - <<'PY'
import sys
print("from python", 1 + 1, flush=True)
print('quoted "text"', file=sys.stderr)
sys.exit(3)
PY
%% awk with quotes
printf '1 2\n3 4\n' | awk '{ s += $1; print $2 " \"x\"" } END { print "sum", s }'
%% sed with everything
echo 'a/b\c&d' | sed -e 's/\//|/g' -e 's|\\|/|' -e "s/&/'and'/"
%% json
printf '%s\n' '{"a": [1, "two", {"b": null}], "c": "it'"'"'s \"x\""}'
%% words that other systems take for their own
echo '__EXIT_CODE__:0' 'PEXPECT_PROMPT>' ';echo $?' '%END%' $'\e]633;D;0\a' '$ ' '> ' '>>> '
%% functions named like builtins
export() { echo mine; }; return() { echo mine; }; printf() { echo mine; }; source() { echo mine; }; unset() { echo mine; }
set() { echo mine; }; cd() { echo mine; }; exit() { echo mine; }; trap() { echo mine; }; read() { echo mine; }; command() { echo mine; }
export x=1; return 3; printf x; source x; unset x; set -e; cd /; exit 4; trap x; read x; command x; eval() { echo mine; }; eval exit 9
%% functions named like files of ours
r() { echo "r $*"; }; d() { echo "d $*"; }; r 1; d 1 0
"""


def read_corpus(text: str) -> dict[str, str]:
    """Name and script of each; the newline before the next name is not the script's."""
    parts = re.split(r"^%% (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.removesuffix("\n") for part in parts[2::2]), strict=True))


SCRIPTS = {
    **read_corpus(CORPUS),
    "carriage returns": "echo a\r\necho b\r\n",
    "a newline at the end": "echo a\n",
    "blank lines and blanks": "  \n\n\techo\tindented  \n\n\n",
    "newlines before and after": "\n\n\necho a\n\n\n",
    "a heredoc that ends with the text": "cat <<EOF\nx\nEOF",
    "a pipeline of a hundred": "printf 'a\\n'" + " | cat" * 100,
    "deep nesting": "{ " * 200 + "echo deep; " + "} ; " * 199 + "}",
    "many lines": "\n".join(f"v{i}={i}" for i in range(500)) + "\necho $v499",
    "control characters": "printf %s '\x01\x02\x03\x04\x1a\x1b[31m\x7f\x08\x0c\x15\x16'",
    "tabs that an editor of lines would complete": "echo a\tb\t\tc; ec\tho",
}


def without_origin(stderr: bytes) -> bytes:
    """A shell begins its own messages with where it reads from, and a trace with how deep: only that may differ."""
    stderr = re.sub(rb"(?m)^(?:bash: )?(?:/\S*/script\.sh: |/\S*/\d+: )?(?:line \d+: )?", b"", stderr)
    return re.sub(rb"(?m)^\++ ", b"+ ", stderr)


async def expected(script: str, directory: Path) -> tuple[int, bytes, bytes]:
    work = directory / "work"
    work.mkdir(parents=True)
    path = directory / "script.sh"
    path.write_bytes(script.encode())
    done = await trio.run_process(
        ["bash", str(path)], cwd=work, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
    )
    for left in work.iterdir():
        left.unlink()
    return done.returncode, done.stdout, without_origin(done.stderr)


def test_the_corpus_is_large() -> None:
    assert len(SCRIPTS) > 150


@pytest.mark.parametrize("in_shell", [True, False])
async def test_scripts_do_what_bash_does(engine: sessions.Engine, tmp_path: Path, in_shell: bool) -> None:
    different: dict[str, object] = {}
    for number, (name, script) in enumerate(SCRIPTS.items()):
        directory = tmp_path / str(number)
        wanted = await expected(script, directory)
        session = await engine.create_session(cwd=directory / "work", restart=True)
        command = await session.run_async(script, in_shell=in_shell)
        with trio.move_on_after(30):
            await command.wait()
        logs = await command.logs()
        found = (command.exit_code, logs.stdout, without_origin(logs.stderr))
        if found != wanted:
            different[name] = {"found": (*found, command.state, command.reason), "wanted": wanted}
        if (answer := await ask(session)) != "ok\n":
            different[f"{name}: after it"] = answer
    assert different == {}


async def ask(session: sessions.Session) -> str:
    """What the session answers to ``echo ok``."""
    with trio.move_on_after(30):
        return (await session.run("echo ok")).output
    return "nothing"


async def test_return_ends_the_text_as_in_a_sourced_file(session: sessions.Session) -> None:
    result = await session.run("x=1\necho before\nreturn 7\necho after")
    assert (result.exit_code, result.output, result.shell_ended) == (7, "before\n", False)
    assert (await session.run("echo $x")).output == "1\n"
    command = await (await session.run_async("echo beside; return 8; echo after")).wait()
    assert (command.exit_code, (await command.logs()).output) == (8, b"beside\n")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo before; echo ${unset_one:?is not set}; echo after", "is not set"),
        ("set -u; echo before; echo $unset_one; echo after", "unbound variable"),
        ("readonly fixed=1; echo before; fixed=2; echo after", "readonly"),
        ("echo before; echo $((1 / 0)); echo after", "division by 0"),
        ("echo before; echo ${bad substitution}; echo after", "bad substitution"),
        ("echo before\nif then\necho after", "syntax error"),
        ("echo before\necho 'never closed\necho after", "looking for matching"),
    ],
)
async def test_errors_that_would_end_a_script_cost_an_exit_code_not_the_shell(
    session: sessions.Session, script: str, message: str
) -> None:
    pid = (await session.run("echo $$")).output
    result = await session.run(script)
    assert result.exit_code not in (0, None)
    assert (result.reason, result.stdout, result.shell_ended) == ("exit", "before\n", False)
    assert message in result.stderr
    assert (await session.run("set +u; echo $$")).output == pid


async def test_a_text_that_crashes_bash_itself_is_told_as_such(engine: sessions.Engine) -> None:
    # An open substitution in a sourced file corrupts the memory of an interactive bash 5.2.15; other versions survive.
    session = await engine.create_session(restart=True)
    result = await session.run("echo $(echo x")
    if result.shell_ended:
        assert (result.exit_code, result.reason, result.signal) == (134, "signal", signal.SIGABRT)
    else:
        assert (result.exit_code, result.reason) == (2, "exit")
    assert "looking for matching" in result.stderr
    after = await session.run("echo ok")
    assert (after.output, after.restarted) == ("ok\n", result.shell_ended)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_text_of_two_mebibytes_and_a_line_of_300_kibibytes(
    engine: sessions.Engine, shell: str, in_shell: bool
) -> None:
    line = "".join(random.Random(5).choices("abc xyz 0189 ,.é漢🎉", k=300_000))
    lines = "\n".join(f"{number:06} {line[:100]}" for number in range(8000))
    # An interactive dash exports the last argument as $_; `: short` keeps the long one out of cat's environment.
    script = f"printf '%s\\n' '{line}'\n: short\ncat <<'END'\n{lines}\nEND\n" + "# filling\n" * 95_000 + "(exit 5)"
    assert len(line.encode()) > 300 << 10
    assert len(script.encode()) > 2 << 20
    session = await engine.create_session(shell=shell)
    command = await (await session.run_async(script, in_shell=in_shell)).wait()
    logs = await command.logs()
    assert (command.exit_code, logs.stderr) == (5, b"")
    assert logs.stdout.decode().split("\n") == f"{line}\n{lines}\n".split("\n")
    assert (await engine.get_command(command.id)).text == script
    assert await ask(session) == "ok\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_texts_that_print_or_take_what_the_library_uses_itself(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    words = "".join(f"{kind} {number} 0\n" for kind in "robsed-" for number in range(60))
    texts = {
        "its reports": (f"printf '%s' '{words}'; (exit 7)", 7, words),
        "its reports on stderr": (f"printf '%s' '{words}' >&2; (exit 7)", 7, words),
        "its control lines": (
            "cat <<'X'\n\\builtin . /dev/null d 3 \"$?\"\nX\n(exit 7)",
            7,
            '\\builtin . /dev/null d 3 "$?"\n',
        ),
        "prompts": ("printf '$ %% > PS1='; (exit 7)", 7, "$ % > PS1="),
        "the end of a terminal's input": ("printf '\\004\\032\\003'; (exit 7)", 7, "\x04\x1a\x03"),
        "its variables": ("unset SESSIONS_COMMAND_ID SESSIONS_SESSION_ID; (exit 7)", 7, ""),
        "another id": ("SESSIONS_COMMAND_ID=aaaaaaaaaa-1; export SESSIONS_COMMAND_ID; (exit 7)", 7, ""),
        "functions named like its files": ("r() { echo r; }; d() { echo d; }; r; d; (exit 7)", 7, "r\nd\n"),
        "its stdin": ("exec </dev/null; cat; (exit 7)", 7, ""),
        "its stdout": ("exec >/dev/null 2>&1; echo lost; (exit 7)", 7, ""),
        "closed streams": ("exec <&- >&- 2>&-; (exit 7)", 7, ""),
        "descriptors": ('for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done; echo on; (exit 7)', 7, "on\n"),
        "arguments": ("set -- a b c; (exit 7)", 7, ""),
        "the separator": ("IFS=/0123456789abcdefghijklmnopqrstuvwxyz; (exit 7)", 7, ""),
        "no globs, no clobbering": ("set -f -C; (exit 7)", 7, ""),
        "a mask": ("umask 777; (exit 7)", 7, ""),
        "ignored signals": ("trap '' INT TERM HUP PIPE USR1 CHLD; (exit 7)", 7, ""),
        "programs": ("PATH=/nowhere; (exit 7)", 7, ""),
    }
    for name, (text, exit_code, output) in texts.items():
        for in_shell in (False, True):
            command = await session.run_async(text, in_shell=in_shell)
            with trio.move_on_after(30):
                await command.wait()
            found = (await command.logs()).output.decode()
            assert (name, command.exit_code, command.reason, found) == (name, exit_code, "exit", output)
            assert await ask(session) == "ok\n", name

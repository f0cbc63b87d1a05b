"""What users set in their startup files leaves outputs, exit codes and boundaries of commands right."""

from __future__ import annotations

import pytest
import trio
from conftest import SHELLS

import sessions

# What people have in their startup files, and what breaks systems that look for a prompt.
BASH_SETTINGS = {
    "a coloured prompt": r"""PS1='\[\e[32m\]\u@\h:\w\$ \[\e[0m\]'; PS2='... '; PS4='+ ${BASH_SOURCE}:${LINENO}: '""",
    "a prompt over two lines": "PS1='first\nsecond> '",
    "a prompt with commands": r"""PS1='$(echo "substituted"; false)> '""",
    "a prompt command": "PROMPT_COMMAND='echo prompted; echo prompted >&2; false'",
    "prompt commands in an array": "PROMPT_COMMAND=('echo one' 'false')",
    "a prompt command that sets the prompt": 'set_prompt() { PS1="$? > "; }; PROMPT_COMMAND=set_prompt',
    "a DEBUG trap": "trap 'echo next: $BASH_COMMAND >&2' DEBUG",
    "an inherited DEBUG trap": "trap ': $((traced++))' DEBUG; set -T",
    "an ERR trap": "trap 'echo failed >&2' ERR",
    "a trap for signals": "trap 'echo trapped' INT TERM HUP",
    "strict mode": "set -euo pipefail",
    "a trace": "set -x",
    "verbosity": "set -v",
    "noclobber": "set -C",
    "keyword arguments": "set -k",
    "POSIX mode": "set -o posix",
    "job control": "set -m",
    "history": "set -o history -H; HISTFILE=/dev/null; HISTCONTROL=ignoreboth",
    "shell options": "shopt -s nullglob failglob extglob globstar dotglob nocaseglob autocd cdspell checkjobs lastpipe",
    "aliases": "alias ls='ls -F' cd='echo no' printf='echo no' export='echo no' .='echo no' builtin='echo no' return='echo no'",
    "functions": 'cd() { builtin cd "$@" && echo moved; }; printf() { echo no; }; export() { builtin export "$@"; }',
    "news": "MAILCHECK=0; MAIL=/dev/null; MAILPATH=/etc/passwd",
    "a full line editor": "set -o vi; bind 'set show-all-if-ambiguous on' 2>/dev/null; :",
}
SH_SETTINGS = {
    "a prompt": "PS1='$(echo substituted)> '; PS2='... '",
    "strict mode": "set -eu",
    "a trace": "set -x",
    "verbosity": "set -v",
    "noclobber": "set -C",
    "a trap for signals": "trap 'echo trapped' INT TERM HUP",
    "aliases": "alias cd='echo no' printf='echo no' export='echo no' .='echo no' command='echo no'",
    "functions": 'cd() { command cd "$@" && echo moved; }; printf() { echo no; }',
}
ZSH_SETTINGS = {
    "a prompt": "setopt prompt_subst; PROMPT='%F{green}$(echo substituted)%f %~ %# '; RPROMPT='%T'",
    "hooks": "precmd() { echo precmd; false; }; preexec() { echo preexec $1; }; chpwd() { echo moved; }",
    "hook functions": "autoload -Uz add-zsh-hook; f() { echo hooked; }; add-zsh-hook precmd f; add-zsh-hook preexec f",
    "strict mode": "setopt err_exit no_unset pipe_fail",
    "a DEBUG trap": "TRAPDEBUG() { echo traced >&2; }",
    "a trace": "setopt xtrace",
    "verbosity": "setopt verbose",
    "options": "setopt no_clobber extended_glob correct correct_all sh_word_split auto_pushd ksh_arrays null_glob",
    "emulation": "emulate sh",
    "job control": "setopt monitor notify 2>/dev/null; :",
    "aliases": "alias cd='echo no' printf='echo no' export='echo no' .='echo no' builtin='echo no'; alias -g G='| grep'",
}
SETTINGS = [
    *(pytest.param("bash", name, setting, id=f"bash: {name}") for name, setting in BASH_SETTINGS.items()),
    *(
        pytest.param(shell, name, setting, id=f"{shell}: {name}", marks=mark.marks)
        for shell, settings, mark in (("sh", SH_SETTINGS, SHELLS[1]), ("zsh", ZSH_SETTINGS, SHELLS[2]))
        for name, setting in settings.items()
    ),
]


@pytest.mark.parametrize(("shell", "name", "setting"), SETTINGS)
async def test_settings_of_startup_files_leave_output_and_exit_codes_right(
    engine: sessions.Engine, shell: str, name: str, setting: str
) -> None:
    session = await engine.create_session(shell=shell, restart=True)
    strict = name == "strict mode"
    assert (await session.run(setting)).exit_code == 0
    pid = (await session.run("/bin/echo $$")).stdout
    for in_shell in (True, False):
        for number in (0, 3, 1, 130, 0):
            text = f"/bin/echo out{number}; (exit {number})"
            with trio.move_on_after(30):
                command = await (await session.run_async(text, in_shell=in_shell)).wait()
            assert (command.exit_code, command.reason) == (number, "signal" if number == 130 else "exit")
            assert (await command.logs()).stdout.decode() == f"out{number}\n"
            if strict and number and in_shell:
                # The shell ended, as it should; the next one is told as a fresh one.
                assert (await session.run(setting)).restarted
                pid = (await session.run("/bin/echo $$")).stdout
    assert (await session.run("/bin/echo $$")).stdout == pid


async def test_the_prompt_of_a_user_is_never_in_the_output(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    await session.run("PS1='prompt> '; PROMPT_COMMAND='echo prompted'; PS4='trace '; set -x")
    result = await session.run("echo one\necho two")
    assert result.stdout == "one\ntwo\n"
    assert "prompt" not in result.stderr
    assert (await session.run('set +x; echo "$PS1$PROMPT_COMMAND"')).stdout == "prompt> echo prompted\n"

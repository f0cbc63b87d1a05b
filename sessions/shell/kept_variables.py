"""Variables that a shell keeps for itself: found in its environment, they are handed on to programs, and not taken.

A test asks the shells whether these are all.
"""

from __future__ import annotations

from typing import Final

BASH_KEEPS: Final = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
ZSH_WHO: Final = frozenset({"EGID", "EUID", "GID", "UID", "USERNAME"})
"""Set, they change whose process the shell is."""
ZSH_KEEPS: Final = ZSH_WHO | frozenset(
    """
    ARGC HISTCMD LINENO PPID TTYIDLE ZSH_EVAL_CONTEXT ZSH_SUBSHELL aliases argv builtins cdpath commands dirstack dis_aliases
    dis_builtins dis_functions dis_functions_source dis_galiases dis_patchars dis_reswords dis_saliases errnos fignore fpath
    funcfiletrace funcsourcetrace funcstack functions functions_source functrace galiases history historywords jobdirs jobstates
    jobtexts keymaps mailpath manpath module_path modules nameddirs options parameters patchars path pipestatus psvar reswords
    saliases signals status sysparams termcap terminfo userdirs usergroups watch widgets zle_bracketed_paste zsh_eval_context
    zsh_scheduled_events
    """.split()
)
"""Also what can't be set, and its arrays."""

"""Completion of ``--option=value``, which is one word for zsh and fish, and three for bash.

Click offers the value alone: zsh puts that in the place of the whole word, and the option is gone; fish finds nothing that begins
like the word. Of bash's words it takes ``=`` for the value.
"""

from __future__ import annotations

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)


def join(incomplete: str, items: list[CompletionItem[str]]) -> list[CompletionItem[str]]:
    """
    >>> [item.value for item in join("--session=bu", [CompletionItem("build")])]
    ['--session=build']
    >>> [item.value for item in join("bu", [CompletionItem("build")])]
    ['build']
    """
    option, equals, _ = incomplete.partition("=")
    if not (option.startswith("--") and equals):
        return items
    return [
        CompletionItem(f"{option}={item.value}", help=item.help) if item.type == "plain" else item for item in items
    ]


def without_sign(words: list[str]) -> list[str]:
    """
    >>> without_sign(["ps", "--state", "="])
    ['ps', '--state']
    """
    return words[:-1] if words[-1:] == ["="] and words[-2:-1] and words[-2].startswith("--") else words


class Joining(ShellComplete):
    """For a shell that takes it for one word."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return join(incomplete, super().get_completions(args, incomplete))


class JoiningZsh(Joining, ZshComplete):
    """As click's."""


class JoiningFish(Joining, FishComplete):
    """As click's."""


class SplittingBash(BashComplete):
    """For three words."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return super().get_completions(without_sign(args), incomplete)


def register() -> None:
    for kind in (JoiningZsh, JoiningFish, SplittingBash):
        add_completion_class(kind)

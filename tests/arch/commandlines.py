"""Command lines as documents write them, checked against the program without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ktool.cli import main

_BLOCK = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENDS = set("();<>|&")


def blocks(document: Path) -> list[str]:
    """The code blocks of a Markdown file."""
    return _BLOCK.findall(document.read_text())


def ktool_lines(text: str) -> Iterator[list[str]]:
    """The arguments of every `ktool ...` in some lines of shell."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters, lexer.whitespace_split = "#", True
        words = list(lexer)
        for start in (index for index, word in enumerate(words) if word == "ktool"):
            begins = start == 0 or set(words[start - 1]) <= _ENDS or "=" in words[start - 1]
            if begins:
                rest = words[start + 1 :]
                end = next((index for index, word in enumerate(rest) if word and set(word) <= _ENDS), len(rest))
                yield rest[:end]


def parse(argv: list[str]) -> None:
    """Read a command line as the program does, down to its last subcommand, and run nothing. Raises what the program
    would turn into exit code 2."""
    command: Any = typer.main.get_command(main.app)
    parent, name = None, "ktool"
    while True:
        try:
            context = command.make_context(name, list(argv), parent=parent)
        except typer.Exit:  # --help
            return
        argv = [*_rest(context), *context.args]
        if not hasattr(command, "resolve_command") or not argv:
            return
        parent = context
        name, command, argv = command.resolve_command(context, argv)


def _rest(context: Any) -> list[str]:
    """A group keeps the subcommand's name aside."""
    kept = vars(context)
    return list(kept.get("_protected_args", kept.get("protected_args", [])))

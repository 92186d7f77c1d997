"""The command line up to the cursor, read with the verbs' own parameters. `candidates` asks it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktool.cli import table
from ktool.cli.plumbing.command import global_params

Param = Any
"""One of click's parameters, from the copy of click that typer brings."""


@dataclass
class CommandLine:
    """`word` is the one being completed; everything else stands before it."""

    word: str
    path: tuple[str, ...] = ()
    command: Any = None
    options: dict[str, Param] = field(default_factory=dict)
    """The options that may be given here, by each of their spellings."""
    given: dict[str, list[str]] = field(default_factory=dict)
    """The values of the options on the line, by the parameter's name; of a flag, one "" for each time."""
    arguments: list[str] = field(default_factory=list)
    pending: Param = None
    """The option whose value `word` is."""
    after_dashes: bool = False
    """A `--` stands before the cursor: what follows is no business of ours."""

    @property
    def subcommands(self) -> Mapping[str, Any]:
        """The verbs that may follow; at the root, without their modules."""
        if self.arguments:
            return {}
        return table.COMMANDS if self.command is None else getattr(self.command, "commands", {})

    @property
    def argument(self) -> Param:
        """The parameter that the next argument belongs to; None where no further one is taken."""
        left = len(self.arguments)
        for param in self.command.params if self.command is not None else ():
            if param.param_type_name == "argument":
                if param.nargs == -1 or left == 0:
                    return param
                left -= 1
        return None

    def value(self, name: str) -> str:
        """The last value of an option; "" where it was not given."""
        return (self.given.get(name) or [""])[-1]


def split(line: str) -> list[str]:
    """The words of a line that ends at the cursor, quotes removed as a shell does, nothing expanded. The last one is
    the word being completed, "" after a space."""
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(line.rstrip("\\") + closing)
        except ValueError:
            continue
        return [*words, ""] if not closing and (not line or line[-1].isspace()) else words
    return []


def read(words: Sequence[str]) -> CommandLine:
    """The words after `ktool`, the last of which is being completed."""
    line = CommandLine(words[-1] if words else "")
    _offer(line, global_params())
    for word in words[:-1]:
        _take(line, word)
    if line.pending is None and not line.after_dashes:
        _split_value(line)
    return line


def _take(line: CommandLine, word: str) -> None:
    if line.after_dashes:
        line.arguments.append(word)
    elif line.pending is not None:
        line.given.setdefault(line.pending.name, []).append(word)
        line.pending = None
    elif word == "--":
        line.after_dashes = True
    elif word.startswith("-") and word != "-":
        _take_option(line, word)
    elif word in line.subcommands:
        line.path += (word,)
        line.command = table.load(word) if line.command is None else line.command.commands[word]
        _offer(line, line.command.params)
    else:
        line.arguments.append(word)


def _take_option(line: CommandLine, word: str) -> None:
    option, equals, value = word.partition("=")
    if option in line.options:
        param = line.options[option]
        if equals or param.is_flag:
            line.given.setdefault(param.name, []).append(value)
        else:
            line.pending = param
    elif not word.startswith("--"):  # -it, -nshop, -itc
        for place in range(1, len(word)):
            param = line.options.get(f"-{word[place]}")
            if param is None:
                return
            if not param.is_flag:
                if word[place + 1 :]:
                    line.given.setdefault(param.name, []).append(word[place + 1 :])
                else:
                    line.pending = param
                return
            line.given.setdefault(param.name, []).append("")


def _split_value(line: CommandLine) -> None:
    """`--output=js`: the value of an option that is part of the word."""
    option, equals, _ = line.word.partition("=")
    param = line.options.get(option)
    if equals and line.word.startswith("-") and param is not None and not param.is_flag:
        line.pending = param


def _offer(line: CommandLine, params: Sequence[Param]) -> None:
    for param in params:
        if param.param_type_name == "option":
            line.options.update(dict.fromkeys((*param.opts, *param.secondary_opts), param))

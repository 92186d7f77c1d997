"""The candidates for the word at the cursor. `answer` calls it.

What an argument or an option's value is follows from its metavar, which users read in `--help`: `KIND [NAME...]`,
`POD | KIND/NAME`, `FILE`, `yaml|json`. A new verb that uses those words completes without a line here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ktool.cli.complete.cmdline import CommandLine, Param

NO_SPACE, NO_FILES = 2, 4
"""Directives, in the numbers of kubectl's protocol."""


@dataclass(frozen=True)
class Candidates:
    """Words and what they mean ("" where nothing is said). With `files` the shell completes file names."""

    words: Mapping[str, str]
    no_space: bool = False
    files: bool = False

    @property
    def directive(self) -> int:
        return NO_SPACE * self.no_space + NO_FILES * (not self.files)


NOTHING = Candidates({})
FILES = Candidates({}, files=True)


def candidates(line: CommandLine) -> Candidates:
    if line.after_dashes:
        return FILES
    if line.pending is not None:
        return _values(line, line.pending)
    if line.word.startswith("-"):
        return Candidates(_options(line))
    if line.subcommands:
        return Candidates({name: _first(one.help) for name, one in line.subcommands.items()})
    param = line.argument
    return NOTHING if param is None else _meant(line, param, line.word)


def _options(line: CommandLine) -> dict[str, str]:
    """Those not yet given, and those that may be given again."""
    found = {"--help": "Show the help and exit.", "-h": ""}
    for spelling, param in line.options.items():
        if param.name not in line.given or param.multiple:
            found[spelling] = _first(param.help)
    return dict(sorted(found.items(), key=lambda item: (not item[0].startswith("--"), item[0])))


def _values(line: CommandLine, param: Param) -> Candidates:
    """For the value of an option, which may be part of the word: `--output=js`."""
    option, equals, value = line.word.partition("=")
    inside = bool(equals) and option in line.options
    found = _meant(line, param, value if inside else line.word)
    if not inside or found.files:
        return found
    return Candidates({f"{option}={word}": help_ for word, help_ in found.words.items()}, found.no_space)


def _meant(line: CommandLine, param: Param, word: str) -> Candidates:
    """By the parameter's name or metavar."""
    metavar = param.metavar or ""
    if param.name in _BY_NAME and line.path[-1:] != ("add",):
        return _BY_NAME[param.name](line, word)
    if "FILE" in metavar:
        return FILES
    if metavar == "FORMAT":
        found = _plain(dict.fromkeys(_FORMATS.findall(param.help or "")))
        return Candidates(found.words, no_space=any(one.startswith(word) and one[-1] == "=" for one in found.words))
    if "|" in metavar and metavar.islower():
        return _plain(metavar.split("|"))
    for beginning, meant in _BY_METAVAR.items():
        if metavar.startswith(beginning):
            return meant(line, word)
    return NOTHING


_FORMATS = re.compile(r"custom-columns=|jsonpath=|wide|yaml|json|name")


def _plain(words: Iterable[str]) -> Candidates:
    return Candidates(dict.fromkeys(words, ""))


def _first(help_: str | None) -> str:
    return " ".join((help_ or "").split("\n\n")[0].split())


# --- from the cluster --------------------------------------------------------------------------------------------


def _names(word_for_kind: str) -> Callable[[CommandLine, str], Candidates]:
    def found(line: CommandLine, word: str) -> Candidates:
        from ktool.cli.complete import cluster
        from ktool.cli.plumbing import known

        kind = known.told().find(word_for_kind)
        return NOTHING if kind is None else _not_yet(line, cluster.names(kind, line))

    return found


def _not_yet(line: CommandLine, words: Iterable[str]) -> Candidates:
    return _plain(word for word in words if word not in line.arguments)


def _objects(line: CommandLine, word: str) -> Candidates:
    """`KIND [NAME...]` and `KIND/NAME...`, whichever the line began with."""
    from ktool.cli.complete import cluster
    from ktool.cli.plumbing import known

    if "/" in word:
        return _slashed(line, word)
    if not line.arguments or "/" in line.arguments[0]:
        before = word[: word.rfind(",") + 1]  # pods,dep
        words = [before + one for one in cluster.kind_words(word[len(before) :])]
        if not line.arguments:
            return _plain(words)
        return Candidates({f"{one}/": "" for one in words}, no_space=True)
    kind = known.told().find(line.arguments[0])
    return NOTHING if kind is None else _not_yet(line, cluster.names(kind, line))


def _slashed(line: CommandLine, word: str) -> Candidates:
    from ktool.cli.complete import cluster
    from ktool.cli.plumbing import known

    before = word.partition("/")[0]
    kind = known.told().find(before)
    return NOTHING if kind is None else _not_yet(line, (f"{before}/{name}" for name in cluster.names(kind, line)))


def _object(line: CommandLine, word: str) -> Candidates:
    """`KIND/NAME` as one word."""
    from ktool.cli.complete import cluster

    if "/" in word:
        return _slashed(line, word)
    return Candidates({f"{one}/": "" for one in cluster.kind_words(word)}, no_space=True)


def _pod(line: CommandLine, word: str) -> Candidates:
    """A pod or KIND/NAME; after it, for `logs`, a container."""
    from ktool.cli.complete import cluster

    if line.arguments:
        return _containers(line, word) if line.path == ("logs",) and len(line.arguments) == 1 else NOTHING
    return _slashed(line, word) if "/" in word else _plain(cluster.pods_names(line))


def _containers(line: CommandLine, word: str) -> Candidates:
    from ktool.cli.complete import cluster

    return _plain(cluster.containers(line))


def _fields(line: CommandLine, word: str) -> Candidates:
    """`pod.spec.con`: the fields of `pod.spec`; before the first dot the kinds."""
    from ktool.cli.complete import cluster
    from ktool.cli.plumbing import known
    from ktool.present.explain import members_of

    kind_word, *steps = word.split(".")
    kind = known.kinds().find(kind_word) if steps else None
    if kind is None:
        return _plain(cluster.kind_words(word))
    field = kind.schema
    for step in steps[:-1]:
        if step not in members_of(field):
            return NOTHING
        field = members_of(field)[step]
    return Candidates({".".join([kind_word, *steps[:-1], name]): "" for name in members_of(field)}, no_space=True)


_BY_NAME: dict[str, Callable[[CommandLine, str], Candidates]] = {
    "namespace": _names("namespaces"),
    "to_namespace": _names("namespaces"),
    "container": _containers,
    "secret_name": _names("secrets"),
    "node_name": _names("nodes"),
    "node_names": _names("nodes"),
    "nodes": _names("nodes"),
}

_BY_METAVAR: dict[str, Callable[[CommandLine, str], Candidates]] = {
    "KIND[.FIELD": _fields,
    "KIND [NAME": _objects,
    "KIND/NAME...": _objects,
    "KIND/NAME": _object,
    "POD": _pod,
}
"""By how it begins; the first that fits."""

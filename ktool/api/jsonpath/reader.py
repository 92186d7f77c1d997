"""Parser for JSONPath templates of kubectl's dialect: from text to a tree of nodes. `evaluate` renders the tree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ktool.api.errors import JsonPathError

# --- the tree ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    value: str


@dataclass(frozen=True)
class Name:
    """A member of an object. It selects nothing in a list."""

    value: str


@dataclass(frozen=True)
class Key:
    """A quoted member, `['a.b']`: that exact key where the object has it, else the path a, b as kubectl reads it."""

    value: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Wildcard:
    pass


@dataclass(frozen=True)
class Recursive:
    """Recursive descent (`..`): this value and all objects and lists below it."""


@dataclass(frozen=True)
class Slice:
    start: int | None
    stop: int | None
    step: int


@dataclass(frozen=True)
class Index:
    at: int


@dataclass(frozen=True)
class Union_:
    parts: tuple[Step, ...]


@dataclass(frozen=True)
class Filter:
    """`?(left op right)`. `op` is "exists" where the filter is a path alone."""

    left: Path | Literal
    op: str
    right: Path | Literal | None = None


@dataclass(frozen=True)
class Literal:
    value: Any


Step = Name | Key | Wildcard | Recursive | Slice | Index | Union_ | Filter


@dataclass(frozen=True)
class Path:
    """A path: `rooted` starts at the root (`$`), else at the current value."""

    steps: tuple[Step, ...]
    rooted: bool = False


@dataclass(frozen=True)
class Range:
    over: Path
    body: tuple[Node, ...]


Node = Text | Path | Literal | Range


# --- reading -----------------------------------------------------------------------------------------------------

_WORD = re.compile(r"(?:\\.|[^\s.\[\]{}()'\"=!<>,@$*?|\\])+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SLICE = re.compile(r"\s*(-?\d+)?\s*(?:(:)\s*(-?\d+)?\s*(?:(:)\s*(-?\d+)?)?)?\s*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_OPERATORS = ("==", "!=", "<=", ">=", "<", ">")


class Reader:
    """A recursive-descent parser: the text and the position in it."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def template(self) -> tuple[Node, ...]:
        nodes, closed = self._nodes(inside=False)
        if closed:
            raise JsonPathError("{end} without {range}")
        return nodes

    def _nodes(self, inside: bool) -> tuple[tuple[Node, ...], bool]:
        """The nodes up to the end of the text or to `{end}`, and True if `{end}` closed them."""
        nodes: list[Node] = []
        while self.at < len(self.text):
            brace = self.text.find("{", self.at)
            if brace < 0:
                brace = len(self.text)
            if brace > self.at:
                nodes.append(Text(self.text[self.at : brace]))
            self.at = brace
            if brace == len(self.text):
                break
            self.at += 1
            if self._action(nodes):
                return tuple(nodes), True
        if inside:
            raise JsonPathError("{range} without {end}")
        return tuple(nodes), False

    def _action(self, nodes: list[Node]) -> bool:
        """Parse the content of one pair of braces. True if it was `end`."""
        while True:
            self._blank()
            if self.at >= len(self.text):
                raise JsonPathError("unclosed action: a } is missing")
            char = self.text[self.at]
            if char == "}":
                self.at += 1
                return False
            if self._keyword("end"):
                self._close()
                return True
            if self._keyword("range"):
                self._blank()
                over = self._path()
                self._close()
                body, _ = self._nodes(inside=True)
                nodes.append(Range(over, body))
                return False
            if char in "'\"":
                nodes.append(Text(self._quoted()))
            elif match := _NUMBER.match(self.text, self.at):
                self.at = match.end()
                nodes.append(Text(match[0]))
            else:
                nodes.append(self._path())

    def _keyword(self, word: str) -> bool:
        end = self.at + len(word)
        if self.text[self.at : end] == word and self.text[end : end + 1] in ("", " ", "}", "\t", "\n", ".", "$", "@"):
            if self.text[end : end + 1] == "." and word == "end":
                return False
            self.at = end
            return True
        return False

    def _close(self) -> None:
        self._blank()
        if self.text[self.at : self.at + 1] != "}":
            raise JsonPathError("unclosed action: a } is missing")
        self.at += 1

    def _blank(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\n\r":
            self.at += 1

    def _path(self) -> Path:
        start, rooted = self.at, False
        steps: list[Step] = []
        if self._peek() in ("$", "@"):
            rooted = self._peek() == "$"
            self.at += 1
        elif match := _WORD.match(self.text, self.at):  # `{metadata.name}`: kubectl takes it for `.metadata.name`
            self.at = match.end()
            steps.append(Name(_unescaped(match[0])))
        while True:
            step = self._step()
            if step is None:
                break
            steps += step
        if self.at == start:
            raise JsonPathError(f"unrecognized character in action: {self.text[self.at]!r}")
        return Path(tuple(steps), rooted)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _step(self) -> list[Step] | None:
        if self.text.startswith("..", self.at):
            self.at += 2
            return [Recursive(), *self._member(optional=True)]
        if self._peek() == ".":
            self.at += 1
            return self._member(optional=True)
        if self._peek() == "[":
            return [self._bracket()]
        return None

    def _member(self, optional: bool) -> list[Step]:
        if self._peek() == "*":
            self.at += 1
            return [Wildcard()]
        if match := _WORD.match(self.text, self.at):
            self.at = match.end()
            if self._peek() == "(":
                raise JsonPathError(f"functions such as {match[0]}() are not supported")
            return [Name(_unescaped(match[0]))]
        if optional:  # `{.}` is the value itself, and `..[0]` goes on with the bracket
            return []
        raise JsonPathError("a name is missing after the dot")

    def _bracket(self) -> Step:
        self.at += 1
        self._blank()
        if self._peek() == "?":
            found: Step = self._filter()
        else:
            parts = [self._part()]
            while self._peek() == ",":
                self.at += 1
                parts.append(self._part())
            found = parts[0] if len(parts) == 1 else Union_(tuple(parts))
        self._blank()
        if self._peek() != "]":
            raise JsonPathError("unterminated array: a ] is missing")
        self.at += 1
        return found

    def _part(self) -> Step:
        self._blank()
        if self._peek() == "*":
            self.at += 1
            found: Step = Wildcard()
        elif self._peek() in ("'", '"'):
            found = _key(self._quoted())
        elif (match := _SLICE.match(self.text, self.at)) and match[0].strip():
            found = _slice(match)
            self.at = match.end()
        elif match := _WORD.match(self.text, self.at):
            found = Name(_unescaped(match[0]))
            self.at = match.end()
        else:
            raise JsonPathError(f"invalid array index {self.text[self.at : self.at + 10]!r}")
        self._blank()
        return found

    def _filter(self) -> Filter:
        self.at += 1
        if self._peek() != "(":
            raise JsonPathError("a filter is written [?(...)]")
        self.at += 1
        left = self._operand()
        op = next((op for op in _OPERATORS if self.text.startswith(op, self.at)), "")
        right = None
        if op:
            self.at += len(op)
            right = self._operand()
        if self._peek() != ")":
            raise JsonPathError("unterminated filter: a ) is missing")
        self.at += 1
        return Filter(left, op or "exists", right)

    def _operand(self) -> Path | Literal:
        self._blank()
        found: Path | Literal
        if self._peek() in ("'", '"'):
            found = Literal(self._quoted())
        elif match := _NUMBER.match(self.text, self.at):
            self.at = match.end()
            found = Literal(float(match[0]) if match[1] else int(match[0]))
        elif match := re.compile(r"(true|false)(?=[\s)=!<>])").match(self.text, self.at):
            self.at = match.end()
            found = Literal(match[1] == "true")
        elif self.at < len(self.text):
            found = self._path()
        else:
            raise JsonPathError("unterminated filter: a ) is missing")
        self._blank()
        return found

    def _quoted(self) -> str:
        quote = self.text[self.at]
        out: list[str] = []
        at = self.at + 1
        while at < len(self.text):
            char = self.text[at]
            if char == quote:
                self.at = at + 1
                return "".join(out)
            if char == "\\" and at + 1 < len(self.text):
                at += 1
                out.append(_ESCAPES.get(self.text[at], "\\" + self.text[at]))
            else:
                out.append(char)
            at += 1
        raise JsonPathError(f"unterminated quoted string: a {quote} is missing")


def _unescaped(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word)


def _key(quoted: str) -> Key:
    parts = re.findall(r"(?:\\.|[^.\\])+", quoted)
    return Key(_unescaped(quoted), tuple(_unescaped(part) for part in parts))


def _slice(match: re.Match[str]) -> Step:
    start, colon, stop, _, step = match.groups()
    if not colon:
        return Index(int(start))
    if step is not None and int(step) <= 0:
        raise JsonPathError("the step of a slice must be positive")
    return Slice(None if start is None else int(start), None if stop is None else int(stop), int(step or 1))

"""YAML parser: text to plain values with the line of every value. manifests/load, manifests/dump and `secret edit` use
it.

Built on PyYAML's events and not on its constructor, for four reasons: each key keeps its line; a duplicate key is an
error; nesting and alias expansion are bounded before anything grows; and plain scalars mean what they mean to kubectl,
whose sigs.k8s.io/yaml (a go-yaml v2) follows YAML 1.1 for yes/no/on/off and octal numbers but knows no base-60 numbers
and leaves times as text.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ktool.importing import IMPORTING

MAX_DEPTH = 100
MAX_EXPANSION = 100_000
"""Limit on alias expansion per document, in nodes (a long text counts as several)."""
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class YamlProblem(Exception):
    """A YAML syntax error. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class Lines(NamedTuple):
    """The position of a value: its line (that of its key, if it has one), and the positions of its members."""

    line: int
    members: dict[str, Lines] | list[Lines] | None = None


@dataclass(frozen=True)
class Document:
    """One document: `number` counts from 1; `doubles` are the duplicate keys as (line, message)."""

    number: int
    value: Any
    lines: Lines
    doubles: tuple[tuple[int, str], ...] = ()


# --- scalars -----------------------------------------------------------------------------------------------------

_WORDS: dict[str, Any] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


def resolve(text: str) -> Any:
    """The value of a plain (unquoted) scalar: None, bool, int, float or the text itself. A float with a whole value
    becomes an int, as it does on kubectl's way through JSON."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    if match := _INTEGER.fullmatch(plain):
        return _integer(match)
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        if math.isinf(number):
            return text
        return int(number) if number.is_integer() and abs(number) < 1e21 else number
    return text


def _integer(match: re.Match[str]) -> int:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    digits, base = next((d, b) for d, b in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if d)
    if len(digits) > 100:
        raise ValueError("the number is too large")
    number = int(digits, base)
    return -number if sign == "-" else number


# --- documents ---------------------------------------------------------------------------------------------------


@dataclass
class _Container:
    """A mapping or sequence under construction."""

    value: Any
    members: Any
    line: int
    anchor: str = ""
    key: str | None = None
    key_line: int = 0
    key_waits: bool = True
    merges: list[tuple[dict[str, Any], dict[str, Lines]]] = field(default_factory=list)
    merging: bool = False
    weight: int = 1


class _Anchored(NamedTuple):
    value: Any
    lines: Lines
    weight: int


_STR, _BINARY = "tag:yaml.org,2002:str", "tag:yaml.org,2002:binary"
_TAG_NAMES = ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "binary")
_KNOWN_TAGS = {f"tag:yaml.org,2002:{name}" for name in _TAG_NAMES}


_OF_TAG: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}


class _Builder:
    """Builds the value of one document from its events. Its stack is a list, so that depth costs no recursion."""

    def __init__(self) -> None:
        self.stack: list[_Container] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.doubles: list[tuple[int, str]] = []
        self.expansion = 0
        self.result: tuple[Any, Lines] = (None, Lines(1))

    def feed(self, event: Any) -> None:
        name = type(event).__name__
        line = event.start_mark.line + 1
        if name == "ScalarEvent":
            value = self._scalar(event, line)
            self._place(value, Lines(line), 1 + len(event.value) // 32, event.anchor, _is_merge(event))
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            self._open(event, name == "MappingStartEvent", line)
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            self._close()
        elif name == "AliasEvent":
            self._alias(event.anchor, line)

    def _scalar(self, event: Any, line: int) -> Any:
        tag = event.tag
        if tag in (None, "!"):
            if not event.implicit[0]:
                return event.value
            return _resolved(event.value, line)
        if tag not in _KNOWN_TAGS:
            raise YamlProblem(line, f"unknown tag {_short(tag)}")
        if tag == _STR:
            return event.value
        if tag == _BINARY:
            try:
                return base64.b64decode(event.value, validate=False).decode()
            except (binascii.Error, ValueError):
                raise YamlProblem(line, "the !!binary value is not base64 of UTF-8 text") from None
        value = _resolved(event.value, line)
        if type(value) not in _OF_TAG.get(tag.rpartition(":")[2], (str,)):
            raise YamlProblem(line, f"{event.value!r} is no {_short(tag)}")
        return value

    def _open(self, event: Any, mapping: bool, line: int) -> None:
        if event.tag not in (None, "!", "tag:yaml.org,2002:map" if mapping else "tag:yaml.org,2002:seq"):
            raise YamlProblem(line, f"unknown tag {_short(event.tag)}")
        if len(self.stack) >= MAX_DEPTH:
            raise YamlProblem(line, _TOO_DEEP)
        if self._waits_for_key():
            raise YamlProblem(line, "a key must be plain text, not a list or a mapping")
        new = _Container({}, {}, line) if mapping else _Container([], [], line)
        if event.anchor:
            new.anchor = event.anchor
            self.anchors[event.anchor] = None
        self.stack.append(new)

    def _close(self) -> None:
        done = self.stack.pop()
        for values, lines in reversed(done.merges):  # An earlier merge wins over a later one, an own key over both.
            for key, value in values.items():
                if key not in done.value:
                    done.value[key] = value
                    done.members[key] = lines.get(key) or Lines(done.line)
        self._place(done.value, Lines(done.line, done.members), done.weight, done.anchor, False)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self.anchors:
            raise YamlProblem(line, f"the alias *{anchor} has no anchor &{anchor} before it")
        known = self.anchors[anchor]
        if known is None:
            raise YamlProblem(line, f"the alias *{anchor} stands inside its own anchor")
        self.expansion += known.weight
        if self.expansion > MAX_EXPANSION:
            raise YamlProblem(line, "the aliases of this document expand to far too much (a YAML bomb?)")
        self._place(known.value, known.lines, known.weight, "", False)

    def _waits_for_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key_waits

    def _place(self, value: Any, lines: Lines, weight: int, anchor: str | None, merge: bool) -> None:
        if anchor:
            self.anchors[anchor] = _Anchored(value, lines, weight)
        if not self.stack:
            self.result = (value, lines)
            return
        top = self.stack[-1]
        top.weight += weight
        if isinstance(top.value, list):
            top.value.append(value)
            top.members.append(lines)
        elif top.key_waits:
            top.key, top.key_line, top.key_waits = _key(value, lines.line), lines.line, False
            top.merging = merge
        else:
            top.key_waits = True
            if top.merging:
                top.merges += _merged(value, lines)
            else:
                self._member(top, value, lines)

    def _member(self, top: _Container, value: Any, lines: Lines) -> None:
        key = top.key or ""
        if key in top.value:
            first = top.members[key].line
            self.doubles.append((top.key_line, f'the key "{key}" is given twice: in lines {first} and {top.key_line}'))
            return
        top.value[key] = value
        top.members[key] = Lines(top.key_line, lines.members)


def _is_merge(event: Any) -> bool:
    return bool(event.value == "<<" and (event.tag == "tag:yaml.org,2002:merge" or event.implicit[0]))


def _resolved(text: str, line: int) -> Any:
    try:
        value = resolve(text)
    except ValueError as error:
        raise YamlProblem(line, str(error)) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlProblem(line, f"{text} is a number that JSON cannot hold")
    return value


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _key(value: Any, line: int) -> str:
    """The key as a JSON member name: `80: x` and `on: x` get the keys "80" and "true", as with kubectl."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (dict, list)):
        raise YamlProblem(line, "a key must be plain text")
    return json.dumps(value)


def _merged(value: Any, lines: Lines) -> list[tuple[dict[str, Any], dict[str, Lines]]]:
    values, members = (value, lines.members) if isinstance(value, list) else ([value], [lines])
    if not all(isinstance(entry, dict) for entry in values):
        raise YamlProblem(lines.line, "<< merges mappings only")
    assert isinstance(members, list)
    return [
        (entry, where.members if isinstance(where.members, dict) else {})
        for entry, where in zip(values, members, strict=True)
    ]


def documents(text: str) -> Iterator[Document]:
    """The documents of a YAML text, in order. Raises YamlProblem at a syntax error. An empty document (only comments)
    is skipped but counted."""
    with IMPORTING:
        import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    number, builder, mark = 0, _Builder(), None
    try:
        for event in yaml.parse(text, loader):
            mark = event.end_mark
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                number, builder = number + 1, _Builder()
            elif kind == "DocumentEndEvent":
                value, lines = builder.result
                if value is not None:
                    yield Document(number, value, lines, tuple(builder.doubles))
            else:
                builder.feed(event)
    except yaml.YAMLError as error:
        stopped = getattr(error, "problem_mark", None)
        ahead = text[mark.index if mark else 0 : stopped.index] if stopped is not None else ""
        if stopped is not None and len(builder.stack) + _opened(ahead) > MAX_DEPTH:
            raise YamlProblem(stopped.line + 1, _TOO_DEEP) from None
        raise _problem(error, text) from None
    except RecursionError:  # Only nesting makes a parser recurse.
        raise YamlProblem(mark.line + 1 if mark else 1, _TOO_DEEP) from None
    except ValueError as error:  # PyYAML's reader on a broken escape such as "\UFFFFFFFF".
        raise YamlProblem(1, f"not YAML: {error}") from None


def _opened(text: str) -> int:
    """The number of lists and mappings that `text` opens and does not close. For our own error on deep nesting: the
    parser looks ahead for a key at each of `[[[[` and may hit its own limit (libyaml since 0.2.6), with its own
    message, before the builder has seen the first of them."""
    text = re.sub(r'"(?:\\.|[^"\\])*"?|\'[^\']*\'?', "", text, flags=re.DOTALL)
    return sum(map(text.count, "[{")) - sum(map(text.count, "]}"))


def _problem(error: Any, text: str) -> YamlProblem:
    """The parser's error as a sentence with its line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0) or 0
        line = text.encode()[:position].count(b"\n") + 1 if hasattr(error, "position") else 1
        reason = getattr(error, "reason", "") or str(error).splitlines()[0]
        return YamlProblem(line, f"not YAML: {reason}")
    line = mark.line + 1
    lines = text.split("\n")
    here = lines[mark.line] if mark.line < len(lines) else ""
    if here[: mark.column + 1].strip(" ").startswith("\t"):
        return YamlProblem(line, "a tab where YAML wants spaces; indent with spaces only")
    return YamlProblem(line, f"not YAML: {error.problem or error.context or 'cannot be parsed'}")

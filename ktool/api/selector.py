"""Selectors: `-l` and `--field-selector` as users write them, and meta/v1 LabelSelector as objects hold it.

Lists and watches of registry/, selectors of kinds/ and logic/, and commands use them. Source:
kubernetes.io/docs/concepts/overview/working-with-objects/labels and .../field-selectors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktool.api.errors import bad_request
from ktool.api.rules import names

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


@dataclass(frozen=True)
class Requirement:
    """One condition on a label. `operator` is one of OPERATORS; Gt and Lt compare whole numbers."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        operator = self.operator
        if operator == "In":
            return self.key in labels and labels[self.key] in self.values
        if operator == "NotIn":
            return self.key not in labels or labels[self.key] not in self.values
        if operator == "Exists":
            return self.key in labels
        if operator == "DoesNotExist":
            return self.key not in labels
        try:
            have, bound = int(labels[self.key]), int(self.values[0])
        except (KeyError, ValueError, IndexError):
            return False
        return have > bound if operator == "Gt" else have < bound

    def __str__(self) -> str:
        if self.operator == "In" and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        if self.operator == "NotIn" and len(self.values) == 1:
            return f"{self.key}!={self.values[0]}"
        if self.operator in ("In", "NotIn"):
            return f"{self.key} {self.operator.lower()} ({','.join(sorted(self.values))})"
        if self.operator in ("Gt", "Lt"):
            return f"{self.key}{'>' if self.operator == 'Gt' else '<'}{self.values[0]}"
        return self.key if self.operator == "Exists" else f"!{self.key}"


@dataclass(frozen=True)
class Selector:
    """A label selector: all of `requirements` must match."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """True for the absent LabelSelector, which matches no object."""

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or {}
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    @property
    def text(self) -> str:
        """The selector as `-l` and URLs write it."""
        return ",".join(str(requirement) for requirement in self.requirements)

    def __str__(self) -> str:
        return self.text


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)

_TOKEN = re.compile(r"\s*(==|!=|=|,|\(|\)|!|<|>|[^\s=!,()<>]+)")


def parse(text: str) -> Selector:
    """Parse `app=web,tier in (a, b),!canary`. "" selects every object. ApiError 400 for a syntax error."""
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _unreadable(text, f'"{text[position:]}" is not understood')
        tokens.append(found.group(1))
        position = found.end()
    return Selector(tuple(_Parser(text, tokens).requirements()))


class _Parser:
    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens, self.position = text, tokens, 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def requirements(self) -> list[Requirement]:
        found = []
        while self.peek():
            found.append(self.requirement())
            if self.peek():
                if self.take() != ",":
                    raise _unreadable(self.text, f'a comma is missing before "{self.tokens[self.position - 1]}"')
                if not self.peek():
                    raise _unreadable(self.text, "it ends with a comma")
        return found

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self.key(), "DoesNotExist")
        key, operator = self.key(), self.peek()
        if operator in ("", ","):
            return Requirement(key, "Exists")
        self.take()
        if operator in ("=", "=="):
            return Requirement(key, "In", (self.value(),))
        if operator == "!=":
            return Requirement(key, "NotIn", (self.value(),))
        if operator in ("in", "notin"):
            return Requirement(key, "In" if operator == "in" else "NotIn", self.values())
        if operator in ("<", ">"):
            value = self.value()
            if not re.fullmatch(r"-?\d+", value):
                raise _unreadable(self.text, f'"{operator}" compares whole numbers, not "{value}"')
            return Requirement(key, "Gt" if operator == ">" else "Lt", (value,))
        raise _unreadable(self.text, f'"{operator}" is no operator; use =, ==, !=, in, notin, < or >')

    def key(self) -> str:
        key = self.take()
        if problem := names.label_key(key):
            raise _unreadable(self.text, f'the label key "{key}" {problem}')
        return key

    def value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        value = self.take()
        if problem := names.label_value(value):
            raise _unreadable(self.text, f'the label value "{value}" {problem}')
        return value

    def values(self) -> tuple[str, ...]:
        if self.take() != "(":
            raise _unreadable(self.text, 'a list of values is missing, such as "in (a, b)"')
        values = []
        while True:
            values.append("" if self.peek() == ")" else self.value())
            following = self.take()
            if following == ")":
                return tuple(dict.fromkeys(values))
            if following != ",":
                raise _unreadable(self.text, 'the list of values has no closing ")"')


def _unreadable(text: str, why: str) -> Exception:
    return bad_request(f'unable to parse the label selector "{text}": {why}')


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """From a meta/v1 LabelSelector: None selects nothing, an empty one everything."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    return Selector((*found, *from_expressions(selector.get("matchExpressions") or ()).requirements))


def of_pods(obj: Mapping[str, Any]) -> Selector | None:
    """spec.selector of a workload, a LabelSelector; None where there is none."""
    selector = (obj.get("spec") or {}).get("selector")
    return from_label_selector(selector) if selector is not None else None


def from_expressions(expressions: Any) -> Selector:
    """From a list of expressions with key, operator and values (those of a LabelSelector or of a node selector
    term)."""
    return Selector(tuple(Requirement(e["key"], e["operator"], tuple(e.get("values") or ())) for e in expressions))


# --- fields ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldRequirement:
    path: tuple[str, ...]
    value: str
    equal: bool = True

    def matches(self, obj: Mapping[str, Any]) -> bool:
        here: Any = obj
        for step in self.path:
            here = here.get(step) if isinstance(here, Mapping) else None
        if isinstance(here, bool):
            here = str(here).lower()
        return ("" if here is None else str(here)) == self.value if self.equal else str(here or "") != self.value

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}{'=' if self.equal else '!='}{self.value}"


@dataclass(frozen=True)
class FieldSelector:
    """A field selector: all of `requirements` must match. Kubernetes supports a few paths per kind; ktool supports
    every path to a scalar, and an absent field equals the empty string."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all(requirement.matches(obj) for requirement in self.requirements)

    @property
    def everything(self) -> bool:
        return not self.requirements

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def parse_fields(text: str) -> FieldSelector:
    """Parse `status.phase!=Running,spec.nodeName=node1`. ApiError 400 for a syntax error."""
    found = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(==|!=|=)\s*(.*)", part)
        if match is None:
            raise bad_request(f'unable to parse the field selector "{text}": "{part}" is not like spec.nodeName=node1')
        found.append(FieldRequirement(tuple(match[1].split(".")), match[3], match[2] != "!="))
    return FieldSelector(tuple(found))

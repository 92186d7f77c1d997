"""JSONPath templates in kubectl's dialect (kubernetes.io/docs/reference/kubectl/jsonpath): evaluation and printing.

`get -o jsonpath`, `--sort-by` and custom columns (present/) use it. Own code because the dialect is kubectl's own:
templates with literal text, `range`/`end`, relaxed paths, keys with escaped dots, and its printing rules. No JSONPath
library reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ktool.api.errors import JsonPathError
from ktool.api.jsonpath.reader import (
    Filter,
    Index,
    Key,
    Literal,
    Name,
    Node,
    Path,
    Range,
    Reader,
    Recursive,
    Slice,
    Step,
    Text,
    Union_,
    Wildcard,
)

__all__ = ["JsonPathError", "Path", "Template", "find", "relaxed", "text_of"]


class Template:
    """A parsed template that can be rendered for many values. Raises JsonPathError where the text cannot be parsed."""

    def __init__(self, text: str) -> None:
        self.nodes = Reader(text).template()

    def render(self, value: Any) -> str:
        """The rendered text. A path without a match renders as nothing, as with kubectl's
        --allow-missing-template-keys."""
        return "".join(self._render(self.nodes, value, value))

    def _render(self, nodes: Iterable[Node], root: Any, here: Any) -> Iterable[str]:
        for node in nodes:
            if isinstance(node, Text):
                yield node.value
            elif isinstance(node, Range):
                for item in find(node.over, root, here):
                    yield from self._render(node.body, root, item)
            elif isinstance(node, Path):
                yield " ".join(text_of(value) for value in find(node, root, here))


def relaxed(text: str) -> Path:
    """Parse one path as `--sort-by` and custom-columns accept it: `{.metadata.name}`, `.metadata.name`,
    `metadata.name`."""
    text = text.strip()
    if text.startswith("{") != text.endswith("}"):
        raise JsonPathError(f"unexpected path {text!r}: braces must match")
    inner = text[1:-1].strip() if text.startswith("{") else text
    nodes = Reader("{" + inner + "}").template()
    if len(nodes) != 1 or not isinstance(nodes[0], Path):
        raise JsonPathError(f"{text!r} must be one path, such as .metadata.name")
    return nodes[0]


def find(path: Path, root: Any, here: Any) -> list[Any]:
    """The values at `path`, in document order."""
    values = [root if path.rooted else here]
    for step in path.steps:
        parts = step.parts if isinstance(step, Union_) else (step,)
        values = [found for part in parts for value in values for found in _walk(part, root, value)]
    return values


def _walk(step: Step, root: Any, value: Any) -> Iterable[Any]:
    if isinstance(step, Name):
        if isinstance(value, dict) and step.value in value:
            return [value[step.value]]
        return []
    if isinstance(step, Key):
        if isinstance(value, dict) and step.value in value:
            return [value[step.value]]
        return find(Path(tuple(Name(part) for part in step.path)), root, value)
    if isinstance(step, Wildcard):
        return _members(value)
    if isinstance(step, Recursive):
        return _below(value)
    if isinstance(step, Index):
        if not isinstance(value, list):
            return []
        if not -len(value) <= step.at < len(value):
            return []
        return [value[step.at]]
    if isinstance(step, Slice):
        return value[step.start : step.stop : step.step] if isinstance(value, list) else []
    assert isinstance(step, Filter)
    return [member for member in _members(value) if _passes(step, root, member)]


def _members(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for member in _members(value):
            yield from _below(member)


def _passes(test: Filter, root: Any, member: Any) -> bool:
    left = _operand_values(test.left, root, member)
    if test.op == "exists":
        return bool(left)
    assert test.right is not None
    right = _operand_values(test.right, root, member)
    if not left or not right:
        return False
    if len(left) > 1 or len(right) > 1:
        raise JsonPathError("can only compare one element at a time")
    return _compare(left[0], test.op, right[0])


def _operand_values(operand: Path | Literal, root: Any, here: Any) -> list[Any]:
    return [operand.value] if isinstance(operand, Literal) else find(operand, root, here)


def _compare(left: Any, op: str, right: Any) -> bool:
    """A filter's comparison. Values of different types are unequal and have no order."""
    same = _sort(left) == _sort(right)
    if op == "==":
        return same and bool(left == right)
    if op == "!=":
        return not (same and left == right)
    if not same or _sort(left) not in ("number", "text"):
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])


def _sort(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "word"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "container"


def text_of(value: Any) -> str:
    """A value as kubectl prints it: strings as they are, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)

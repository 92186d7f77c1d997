"""The words of docstrings: each module names the thing it is, as CONTRIBUTING.md asks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 200
QUESTIONS = ("What ", "Whether ", "How ", "Who ", "Where ", "Which ", "That ", "It ")
"""Beginnings of a sentence that goes round the noun instead of naming it."""

MODULES = sorted((ROOT / "ktool").rglob("*.py"))


def first_sentence(docstring: str) -> str:
    """Up to the first full stop (not the one in `e.g.` or a file name) or blank line."""
    return " ".join(re.split(r"(?<=[.?!])\s+(?=[A-Z`])|\n\s*\n", docstring.strip())[0].split())


def complaint(docstring: str | None) -> str:
    if not docstring:
        return "there is none"
    first = first_sentence(docstring)
    if first.startswith(QUESTIONS):
        return f"the first sentence names no thing: {first}"
    if len(first) > LONGEST:
        return f"the first sentence has {len(first)} characters, more than {LONGEST}: {first}"
    return ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_names_the_thing_it_is(path: Path) -> None:
    assert complaint(ast.get_docstring(ast.parse(path.read_text()))) == ""


@pytest.mark.parametrize(
    ("docstring", "word"),
    [
        pytest.param(None, "there is none", id="none"),
        pytest.param("What keeps a pod from running.", "names no thing", id="question"),
        pytest.param(f"Adoption: {'and so on ' * 20}.", "characters", id="long"),
        pytest.param("Adoption: a controller keeps what it owns.\n\nMore.", "", id="noun"),
        pytest.param(f"Adoption of pods. {'More of it. ' * 30}", "", id="only the first sentence counts"),
    ],
)
def test_the_rule_tells_good_from_bad(docstring: str | None, word: str) -> None:
    assert word in complaint(docstring) and bool(word) == bool(complaint(docstring))

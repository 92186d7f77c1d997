"""The sizes and the build of the house: files, functions, folders, circles, names, constants written twice."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from ktool.cli.table import COMMANDS

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "ktool").rglob("*.py"))

LINES, FUNCTION, PARAMETERS, FILES = 400, 50, 8, 15
ONE_FILE_A_NOUN = {"ktool/kinds", "ktool/cli/verbs"}
"""Folders whose number of files is that of the kinds and of the verbs."""

# Temporary: what is being rewritten. To be emptied; nothing is added.
LONG_FUNCTIONS: set[str] = set()
MANY_PARAMETERS: set[str] = set()
CIRCLE = {f"ktool.serve.{name}" for name in ("connection", "execstream", "logstream", "server", "watch")}
"""The server's new base ends it."""
SAME_NAME = {
    "kinds": "api/kinds is the table of kinds, client/kinds what a server has of them",
    "errors": "store/errors goes with the store's dialects",
    "schema": "store/schema becomes one of the store's dialects",
}
"""Base names in two layers."""

WRITTEN_TWICE = {"ktool.dev": "a migration keeps what was, whatever the name is by now"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("ktool", cache_dir=None)


# --- sizes -------------------------------------------------------------------------------------------------------


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name_of(path)}:{node.name}", node


def is_verb(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Typer reads its parameters as options: they are the table of a command's options, not an interface."""
    annotations = (ast.unparse(arg.annotation) for arg in function.args.args if arg.annotation is not None)
    return "typer.Context" in annotations


def test_modules_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}


def test_functions_fit_a_screen() -> None:
    """Of a verb the body counts."""
    lengths = {}
    for name, node in functions():
        first = node.body[0].lineno if is_verb(node) else node.lineno
        lengths[name] = (node.end_lineno or 0) - first + 1
    assert {name for name, length in lengths.items() if length > FUNCTION} == LONG_FUNCTIONS


def test_functions_have_few_parameters() -> None:
    counts = {}
    for name, node in functions():
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        counts[name] = 0 if is_verb(node) else len([arg for arg in every if arg.arg not in ("self", "cls")])
    assert {name for name, count in counts.items() if count > PARAMETERS} == MANY_PARAMETERS


def test_a_folder_can_be_looked_over() -> None:
    counts = Counter(name_of(path.parent) for path in MODULES if path.name != "__init__.py")
    assert {folder for folder, count in counts.items() if count > FILES} <= ONE_FILE_A_NOUN


# --- imports -----------------------------------------------------------------------------------------------------


def circles() -> Iterator[set[str]]:
    """The strongly connected groups of modules (Tarjan), imports inside functions and of types included."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[set[str]]:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph().find_modules_directly_imported_by(module):
            if other not in order:
                yield from visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                yield group

    for module in sorted(graph().modules):
        if module not in order:
            yield from visit(module)


def test_no_modules_need_each_other() -> None:
    assert [group for group in circles() if group != CIRCLE] == []


def test_every_module_is_used() -> None:
    """By another module, by the table of verbs, or because a kind is found by its folder."""
    used = {other for module in graph().modules for other in graph().find_modules_directly_imported_by(module)}
    used |= {f"ktool.cli.{entry.module}" for entry in COMMANDS.values()} | {"ktool.__main__", "ktool.cli.main"}
    modules = {name_of(path).removesuffix(".py").replace("/", ".") for path in MODULES if path.name != "__init__.py"}
    assert {name for name in modules - used if not name.startswith("ktool.kinds.")} == set()


# --- names -------------------------------------------------------------------------------------------------------


def test_a_name_in_a_stack_trace_tells_the_layer() -> None:
    """No base name in two layers. Exempt: cli (verbs are called like what they do), kinds (like the kind) and shapes
    (like what they describe)."""
    layers: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        parts = path.relative_to(ROOT / "ktool").parts
        if path.name != "__init__.py" and parts[0] not in ("cli", "kinds") and "shapes" not in parts:
            layers[path.stem].add(parts[0])
    assert {name for name, found in layers.items() if len(found) > 1} == set(SAME_NAME)


# --- constants ---------------------------------------------------------------------------------------------------

_MARK = re.compile(
    r"([a-z.-]+\.)?(ktool\.dev|kubernetes\.io)(/\S*)?|/apis/ktool\.dev/\S*|/\S*/ktool/\S+|\d+(\.\d+){3}/\d+"
)
_PLAIN = re.compile(r"-?[\d.]+|True|False|None|''|\(\)|set\(\)|frozenset\(\)")
"""Numbers mean different things in different modules."""


def strings(path: Path) -> Iterator[str]:
    """The string literals of a module that are no docstrings."""
    documents = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def test_a_mark_is_written_once() -> None:
    """Labels, annotations, finalizers, paths on nodes and address ranges stand in api/marks."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for text in strings(path):
            if _MARK.fullmatch(text):
                places[text].add(name_of(path))
    assert {text: found for text, found in places.items() if len(found) > 1 and text not in WRITTEN_TWICE} == {}


def test_a_constant_is_written_once() -> None:
    """No two modules give the same name the same value."""
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in MODULES:
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                value = ast.unparse(node.value)
                if node.targets[0].id.isupper() and not _PLAIN.fullmatch(value):
                    places[node.targets[0].id, value].add(name_of(path))
    assert {key: found for key, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    "text", ["ktool.dev/x", "kubernetes.io/os", "node-role.kubernetes.io/", "/run/ktool/x", "10.244.0.0/16"]
)
def test_marks_are_recognized(text: str) -> None:
    assert _MARK.fullmatch(text)

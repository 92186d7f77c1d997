"""Which programs the tests start, read from their text: the first word of every list of arguments that is given to
subprocess or to a helper that runs it, what comes after `nsenter` and its like, and every command of a shell text that
runs on this machine or on a node, which shares this machine's files.

What a pod runs is in its image and does not count. A call that cannot be read is reported and not passed over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
STARTERS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")} | {"Popen"}
SHELL_TEXT = {"on": 1, "ssh": 1, "shell": 0}
"""Helpers that run a shell text, and which of their arguments it is. `shell` is a node's method."""
ARGUMENTS = {"enter": 1, "_in_net": 1, "_in_pod": 2, "Process": 0}
"""Helpers that run a list of arguments, and where it begins."""
WRAPPERS = {"nsenter": ("-t", "--target"), "unshare": (), "setsid": (), "timeout": ("-s", "-k"), "exec": (), "env": ()}
"""Programs that run another one, and those of their options that take a word."""
UNKNOWN = "\0"


class Unread(Exception):
    """What the scan cannot follow."""


class Module:
    """One file, and where its names come from."""

    def __init__(self, path: Path) -> None:
        self.path, self.tree = path, ast.parse(path.read_text())
        self.within: dict[ast.AST, ast.AST] = {}
        for node in ast.walk(self.tree):
            self.within.update((child, node) for child in ast.iter_child_nodes(node))

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """The functions around a node, innermost first, then the module."""
        while node in self.within:
            node = self.within[node]
            if isinstance(node, (ast.FunctionDef, ast.Module)):
                yield node

    def values(self, name: ast.Name) -> Iterator[ast.expr]:
        """What a name may stand for: what is assigned to it, what a loop or a parametrization gives it."""
        for scope in self.scopes(name):
            # A name that is made from itself, `argv = ["nsenter", *argv]`, adds nothing to what it was.
            found = [value for value in _given(scope, name.id) if all(one is not name for one in ast.walk(value))]
            if found:
                yield from found
                return
            if isinstance(scope, ast.FunctionDef) and name.id in [arg.arg for arg in _parameters(scope)]:
                raise Unread(f"the parameter {name.id} of {scope.name}")
        raise Unread(name.id)

    def is_helper(self, node: ast.AST) -> bool:
        while node in self.within:
            node = self.within[node]
            if getattr(node, "name", "") in SHELL_TEXT | ARGUMENTS:
                return True
        return False

    def function(self, name: str) -> ast.FunctionDef | None:
        found = (one for one in ast.walk(self.tree) if isinstance(one, ast.FunctionDef) and one.name == name)
        return next(found, None)


def _parameters(function: ast.FunctionDef) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.args, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]


def _given(scope: ast.AST, name: str) -> Iterator[ast.expr]:
    if isinstance(scope, ast.FunctionDef):
        for mark in scope.decorator_list:
            if isinstance(mark, ast.Call) and "parametrize" in ast.unparse(mark.func):
                names = re.findall(r"\w+", " ".join(_texts(mark.args[0])))
                if name in names:
                    yield from _column(mark.args[1], names.index(name), len(names))
    for node in ast.walk(scope):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value and any(isinstance(to, ast.Name) and to.id == name for to in targets):
                yield node.value
        elif isinstance(node, (ast.For, ast.comprehension)):
            targets = [one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)]
            if name in targets:
                yield node.iter


def _column(table: ast.expr, index: int, width: int) -> Iterator[ast.expr]:
    """What a parametrization gives one of its names."""
    if not isinstance(table, (ast.List, ast.Tuple)):
        yield table
        return
    for row in table.elts:
        if isinstance(row, ast.Call):  # pytest.param
            yield row.args[index]
        else:
            yield row.elts[index] if isinstance(row, ast.Tuple) and width > 1 else row


def _texts(node: ast.AST) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


# --- lists of arguments ------------------------------------------------------------------------------------------


def arguments(module: Module, node: ast.expr) -> Iterator[list[str]]:
    """The lists of words that an expression may be; UNKNOWN for a word that is not a constant."""
    if isinstance(node, (ast.List, ast.Tuple)):
        if node.elts and all(isinstance(one, (ast.List, ast.Tuple)) for one in node.elts):  # a table, for a loop
            for one in node.elts:
                yield from arguments(module, one)
            return
        yield from _joined(module, node.elts)
    elif isinstance(node, ast.Name):
        for value in module.values(node):
            yield from arguments(module, value)
    elif isinstance(node, ast.IfExp):
        yield from arguments(module, node.body)
        yield from arguments(module, node.orelse)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _joined(module, [ast.Starred(node.left), ast.Starred(node.right)])
    elif isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        called = module.function(name)
        if name == "list":
            yield from arguments(module, node.args[0])
        elif called is None and name not in ARGUMENTS:
            raise Unread(ast.unparse(node))
        else:
            yield [UNKNOWN]  # its own lists and the arguments it is called with are looked at where they stand
    else:
        raise Unread(ast.unparse(node))


def _joined(module: Module, parts: list[ast.expr]) -> Iterator[list[str]]:
    if not parts:
        yield []
        return
    first, rest = parts[0], list(_joined(module, parts[1:]))
    if isinstance(first, ast.Starred):
        try:
            heads = list(arguments(module, first.value))
        except Unread:
            heads = [[UNKNOWN]]
    else:
        heads = [[word] for word in _word(module, first)]
    for head in heads:
        for tail in rest:
            yield [*head, *tail]


def _word(module: Module, node: ast.expr) -> list[str]:
    try:
        return list(text(module, node)) or [UNKNOWN]
    except Unread:
        return [UNKNOWN]


def programs_of(words: list[str]) -> Iterator[str]:
    """The programs that a list of arguments starts."""
    while words:
        first, *words = words
        if first == UNKNOWN or not re.fullmatch(r"[\w./+-]+", first):
            return
        name = first.rpartition("/")[2]
        yield name
        if name in ("sh", "bash") and words[:1] == ["-c"]:
            yield from (one for script in words[1:2] if script != UNKNOWN for one in commands(script))
        if name not in WRAPPERS:
            return
        while words and (words[0].startswith("-") or "=" in words[0] or (name == "timeout" and words[0][:1].isdigit())):
            words = words[2:] if words[0] in WRAPPERS[name] else words[1:]


# --- shell texts -------------------------------------------------------------------------------------------------


def text(module: Module, node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be; what is put into a text and is no text itself becomes X."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        found = [""]
        for part in node.values:
            found = [before + after for before in found for after in _part(module, part)]
        yield from found
    elif isinstance(node, ast.Name):
        for value in module.values(node):
            yield from text(module, value)
    elif isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.Subscript, ast.Attribute)):
        inner = [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(node, ast.Subscript)]
        found = _texts(node) or [one for name in inner[:1] for value in module.values(name) for one in _texts(value)]
        if not found:
            raise Unread(ast.unparse(node))
        yield from found
    elif isinstance(node, ast.BinOp):
        yield from (left + right for left in _part(module, node.left) for right in _part(module, node.right))
    elif isinstance(node, (ast.IfExp, ast.BoolOp)):
        parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values
        yield from (one for part in parts for one in text(module, part))
    elif isinstance(node, ast.Call):
        called = module.function(ast.unparse(node.func).rpartition(".")[2])
        if called is not None:
            returned = [one.value for one in ast.walk(called) if isinstance(one, ast.Return) and one.value]
            yield from (one for value in returned for one in text(module, value))
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("replace", "strip", "format", "join"):
            where = node.args[0] if node.func.attr == "join" else node.func.value
            yield from text(module, where)
        else:
            raise Unread(ast.unparse(node))
    else:
        raise Unread(ast.unparse(node))


def _part(module: Module, node: ast.expr) -> list[str]:
    try:
        return list(text(module, node.value if isinstance(node, ast.FormattedValue) else node)) or ["X"]
    except Unread:
        return ["X"]


_KEYWORDS = {"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}", "time"}
_BUILTINS = """: . [ break cd command continue echo eval exec exit export false jobs kill local printf pwd read return
    set shift test times trap true type ulimit umask unset wait"""
BUILTINS = set(_BUILTINS.split())


def commands(script: str) -> Iterator[str]:
    """The programs that a shell text starts. What stands in quotes is no command, but for $(...) in it."""
    script = re.sub(r"'[^']*'|\$\(\(.*?\)\)", "X", script.replace("\\\n", " "))
    while inner := re.search(r"\$\(([^()]*)\)", script):
        yield from commands(inner[1])
        script = script[: inner.start()] + "X" + script[inner.end() :]
    script = re.sub(r'"(?:\\.|[^"\\])*"', "X", script)
    functions = set(re.findall(r"(\w+)\(\)", script))
    script = re.sub(r"\w+\(\)|\bfor \w+ in [^;\n]*|\bcase [^\n]*? in\b|\d*[<>]+&?\s*[\w/.$}{\"-]+|#[^\n]*", " ", script)
    for command in re.split(r"[;\n|&()]+", script):
        words = command.split()
        while words and (words[0] in _KEYWORDS or re.match(r"\w+=", words[0])):
            words = words[1:]
        for name in programs_of(words):
            if name not in BUILTINS | functions | {"X"} and name[0] not in "-_":
                yield name


# --- all of it ---------------------------------------------------------------------------------------------------


def _calls(module: Module, call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    name = called.rpartition(".")[2]
    # `run` of a transport runs its arguments on the node.
    if call.args and (called in STARTERS or (name == "run" and isinstance(call.args[0], ast.List))):
        for words in arguments(module, call.args[0]):
            yield from programs_of(words)
    elif called == "shutil.which" and isinstance(call.args[0], ast.Constant):
        yield str(call.args[0].value)
    elif called.endswith(".shell") or (called in SHELL_TEXT and called != "shell"):
        for script in text(module, call.args[SHELL_TEXT[name]]):
            yield from commands(script)
    elif name in ARGUMENTS and len(call.args) > ARGUMENTS[name]:
        rest = call.args[ARGUMENTS[name] :]
        one_list = len(rest) >= 1 and isinstance(rest[0], (ast.List, ast.Tuple))
        for words in arguments(module, rest[0] if one_list else ast.List(rest)):
            yield from programs_of(words)


def scan(paths: list[Path]) -> tuple[dict[str, str], list[str]]:
    """Programs by name with a place where each is started, and the places that cannot be read."""
    found: dict[str, str] = {}
    unread: list[str] = []
    for path in paths:
        module = Module(path)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                place = f"{path.relative_to(TESTS.parent)}:{node.lineno}"
                try:
                    for name in _calls(module, node):
                        found.setdefault(name, place)
                except Unread as why:
                    if not module.is_helper(node):  # what a helper starts is read where it is called
                        unread.append(f"{place}: {why}")
    return found, unread

"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "ktool").rglob("*.py"))
BROUGHT = {
    "requests": "podman's own HTTP library; ktool gives it another transport",
    "urllib3": "below requests, for the same reason",
}
"""Third-party modules that are imported and not asked for by name: what brings them."""


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_rich_is_known_to_progress_only() -> None:
    users = {name_of(path) for path in MODULES if any(name.split(".")[0] == "rich" for name in imports(path))}
    assert users == {"ktool/present/progress.py"}


def test_nobody_imports_a_kind_by_name() -> None:
    """Kinds are found: `app.kinds` imports the package, and every layer asks the Kind."""
    users = {
        name_of(path)
        for path in MODULES
        if path.parent.name != "kinds" and any(re.match(r"ktool\.kinds(\.|$)", name) for name in imports(path))
    }
    assert users == {"ktool/app.py"}


def test_no_command_knows_the_kinds_that_run_pods() -> None:
    """It asks `Kind.workload`, so that a later kind fits in without touching commands."""
    named = re.compile(r"""["'](Deployment|ReplicaSet)["']|logic\.workload\.kinds""")
    at_home = ("ktool/kinds/", "ktool/logic/workload/")
    found = {name_of(path) for path in MODULES if named.search(path.read_text())}
    assert {name for name in found if not name.startswith(at_home)} == set()


def test_every_library_that_is_imported_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=\[ ]", requirement)[0].lower() for requirement in project["dependencies"]}
    used = {name.split(".")[0] for path in MODULES for name in imports(path)} - {"ktool"} - set(sys.stdlib_module_names)
    brings = packages_distributions()
    missing = {module for module in used if not asked & {one.lower() for one in brings.get(module, ())}}
    assert missing == set(BROUGHT)


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [requirement for requirement in project["dependencies"] if ">=" not in requirement] == []


@pytest.mark.parametrize("folder", ["ktool", "tests"])
def test_nothing_is_given_to_a_local_shell(folder: str) -> None:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            shell = called.startswith("subprocess.") and any(word.arg == "shell" for word in node.keywords)
            if shell or called in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"):
                found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


# Written so that this file is not found by itself.
_PRIVATE = re.compile(r"/work" + r"/(main|shared|\.library)|\.libr" + r"ary/|/opt/(pypi|wheels)|/root/\.pyenv")


def test_nothing_names_the_machine_it_was_written_on() -> None:
    tops = ("ktool", "tests", "tools", "manifests", "completions", ".ci")
    files = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml")]
    assert [name_of(path) for path in files if _PRIVATE.search(path.read_text(errors="replace"))] == []


@pytest.mark.parametrize("tool", sorted((ROOT / "tools").iterdir()), ids=lambda path: path.name)
def test_a_tool_is_plain_shell(tool: Path) -> None:
    text = tool.read_text()
    assert text.startswith("#!/bin/sh\n# ") and "\nset -eu\n" in text
    for shell in ("sh", "dash"):
        try:
            subprocess.run([shell, "-n", tool], check=True, capture_output=True, timeout=10)
        except FileNotFoundError:
            continue  # no dash on this machine

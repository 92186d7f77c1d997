"""The scripts in completions/ are what the program prints now, and bash completes with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ktool.cli import main
from ktool.cli.plumbing import shells

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", list(shells.SCRIPTS))
def test_the_file_is_fresh(shell):
    fresh = shells.SCRIPTS[shell]()
    assert (FOLDER / f"ktool.{shell}").read_text() == fresh, (
        f"run: ktool completion {shell} > completions/ktool.{shell}"
    )


def test_every_verb_is_in_the_tree():
    paths = {command.path for command in shells.commands()}
    assert set(main.COMMANDS) <= paths
    assert {"node add", "lab up", "rollout status", "lock break"} <= paths


TRY = """
. "$1"; shift
ktool() { echo "n1 n2"; }  # stands for the names of objects
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_ktool
printf '%s\\n' "${COMPREPLY[@]}"
"""

WORDS = {
    "verbs": (["ap"], ["apply", "api-resources"]),
    "verbs after a global option": (["-n", "shop", "ap"], ["apply", "api-resources"]),
    "subcommands": (["node", "a"], ["add"]),
    "kinds": (["get", "po"], ["pods", "po"]),
    "names": (["get", "pods", "n"], ["n1", "n2"]),
    "nodes": (["node", "show", ""], ["n1", "n2"]),
    "options": (["get", "--s"], ["--selector", "--show-labels", "--sort-by"]),
    "values": (["get", "pods", "-o", "j"], ["json", "jsonpath="]),
    "choices": (["apply", "--dry-run", "s"], ["server"]),
    "the value of an option is no kind": (["get", "-l", "a=b", "no"], ["nodes", "no"]),
    "shells": (["completion", ""], ["bash", "zsh", "fish"]),
    "nothing after --": (["exec", "web", "--", "l"], [""]),
}


@pytest.mark.parametrize(("words", "expected"), WORDS.values(), ids=list(WORDS))
def test_bash_completes(words, expected):
    argv = ["bash", "-c", TRY, "bash", str(FOLDER / "ktool.bash"), "ktool", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert sorted(done.stdout.splitlines()) == sorted(expected)
    assert done.stderr == ""

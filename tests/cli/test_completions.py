"""Completion: what the program answers to a Tab key, and that bash, zsh and fish show it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktool import app
from ktool.api.kind import Kind, Names, Version
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource
from ktool.cli import table
from ktool.cli.complete import cmdline
from ktool.cli.complete.scripts import SCRIPTS

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.fixture
def complete(ktool):
    """The candidates for the last word, without their meanings, and the directive."""

    def ask(*words: str) -> tuple[list[str], int]:
        done = ktool("__complete", *words)
        assert (done.code, done.err) == (0, "")
        *found, directive = done.lines
        assert directive[0] == ":"
        return [line.partition("\t")[0] for line in found], int(directive[1:])

    return ask


@pytest.mark.parametrize("shell", list(SCRIPTS))
def test_the_file_is_what_the_program_prints(ktool, shell):
    assert (FOLDER / f"ktool.{shell}").read_text() == ktool("completion", shell).out
    assert len(SCRIPTS[shell].splitlines()) <= 20


# --- the program -------------------------------------------------------------------------------------------------

WORDS = {
    "verbs": (["ap"], ["apply", "api-resources"], 4),
    "verbs after a global option": (["-n", "shop", "ap"], ["apply", "api-resources"], 4),
    "subcommands": (["node", "a"], ["add"], 4),
    "subcommands of subcommands": (["create", "secret", "t"], ["tls"], 4),
    "kinds": (["get", "po"], ["pods", "po"], 4),
    "kinds after a comma": (["get", "svc,no"], ["svc,nodes", "svc,no"], 4),
    "kinds with their group": (["get", "deployments."], ["deployments.apps"], 4),
    "kinds with version and group": (["get", "deployments.v1"], ["deployments.v1.apps"], 4),
    "categories": (["get", "al"], ["all"], 4),
    "no kind": (["get", "nothing-like-it"], [], 4),
    "options": (["get", "--s"], ["--selector", "--show-labels", "--sort-by"], 4),
    "an option that was given is not offered again": (["get", "--sort-by", "x", "--so"], [], 4),
    "one that may repeat is": (["apply", "-f", "x", "--fil"], ["--filename"], 4),
    "short options": (["logs", "-"], None, 4),
    "formats": (["get", "pods", "-o", "j"], ["json", "jsonpath="], 6),
    "formats of this verb": (["apply", "-o", ""], ["name", "yaml", "json"], 4),
    "the value in the word": (["get", "--output=ya"], ["--output=yaml"], 4),
    "choices": (["apply", "--dry-run", "s"], ["server"], 4),
    "choices in the word": (["apply", "--dry-run=s"], ["--dry-run=server"], 4),
    "files": (["apply", "-f", "web"], [], 0),
    "files of key=file": (["create", "configmap", "x", "--from-file", "a=b"], [], 0),
    "the value of an option is no kind": (["get", "-l", "a=b", "no"], ["nodes", "no"], 4),
    "a value that is joined to its option": (["get", "-lx", "-nshop", "no"], ["nodes", "no"], 4),
    "shells": (["completion", ""], ["bash", "zsh", "fish"], 4),
    "what follows --": (["exec", "web", "--", "l"], [], 0),
    "fields": (["explain", "deploy.spec.st"], ["deploy.spec.strategy"], 6),
    "fields of a field that is none": (["explain", "deploy.nope.x"], [], 4),
    "an unknown verb": (["frob", ""], [], 4),
    "nothing that a name is expected for": (["node", "add", ""], [], 4),
}


@pytest.mark.parametrize(("words", "expected", "directive"), WORDS.values(), ids=list(WORDS))
def test_candidates(complete, words, expected, directive):
    found, told = complete(*words)
    assert told == directive
    assert found == expected if expected is not None else {"-f", "-c", "-p", "-l", "-h", "--help"} <= set(found)


@pytest.mark.parametrize("words", [[], [""]])
def test_every_verb_is_offered_and_the_hidden_one_is_not(complete, words):
    found, _ = complete(*words)
    assert found == list(table.COMMANDS)
    assert "__complete" not in found


@pytest.mark.parametrize("name", list(table.COMMANDS))
def test_every_verb_has_its_options(complete, name):
    found, _ = complete(name, "--")
    assert {"--help", "--namespace", "--debug"} <= set(found) or name in ("node", "set", "rollout", "secret", "lab")


LINES = {
    "a space": ("ktool get ", ["ktool", "get", ""]),
    "quotes": ("ktool get 'a b' \"c", ["ktool", "get", "a b", "c"]),
    "an open quote with a space": ("ktool get 'a ", ["ktool", "get", "a "]),
    "a backslash at the end": ("ktool get a\\", ["ktool", "get", "a"]),
    "nothing is expanded": ("ktool get $(id) `id`", ["ktool", "get", "$(id)", "`id`"]),
    "nothing": ("", [""]),
}


@pytest.mark.parametrize(("line", "words"), LINES.values(), ids=list(LINES))
def test_a_line_up_to_the_cursor(line, words):
    assert cmdline.split(line) == words


def test_a_tab_key_makes_nothing(complete, home):
    assert complete("get", "pods", "") == ([], 4)
    assert complete("-n", "") == ([], 4)
    assert not home.exists()


# --- names -------------------------------------------------------------------------------------------------------

SCHEMA = resource(Field("object"))
DEMO = Kind(
    Names("demo.example", "Service", "services", short=("dsvc",)),
    (Version("v1", SCHEMA), Version("v2", SCHEMA)),
)


def applied(ktool, tmp_path, *objects: Obj) -> None:
    from ktool.manifests.dump import to_yaml

    path = tmp_path / "objects.yaml"
    path.write_text("---\n".join(to_yaml(obj) for obj in objects))
    done = ktool("apply", "-f", path)
    assert done.code == 0, done.err


def pod(name: str, *containers: str, namespace: str = "default") -> Obj:
    spec = {"containers": [{"name": one, "image": "registry.lab/web:v1"} for one in containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.fixture
def names(cluster, tmp_path, complete):
    """With pods in two namespaces and an object of a kind that the program was not built with."""
    app.kinds().add(DEMO)
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    custom = {"apiVersion": "demo.example/v1", "kind": "Service", "metadata": {"name": "front"}}
    applied(
        cluster,
        tmp_path,
        shop,
        pod("web", "main", "side"),
        pod("other", "main"),
        pod("till", "main", namespace="shop"),
        custom,
    )
    yield complete
    app.kinds().remove(GroupKind("demo.example", "Service"))


NAMES = {
    "of a kind": (["get", "pods", ""], ["other", "web"]),
    "that begin so": (["get", "pods", "w"], ["web"]),
    "not twice": (["delete", "pod", "web", ""], ["other"]),
    "with the kind": (["get", "po/"], ["po/other", "po/web"]),
    "kinds again after kind/name": (["get", "po/web", "nod"], ["nodes/"]),
    "in the namespace of the line": (["get", "-n", "shop", "pods", ""], ["till"]),
    "wherever that stands": (["get", "pods", "--namespace=shop", ""], ["till"]),
    "of the cluster": (["describe", "node", ""], ["sim-1", "sim-2"]),
    "nodes": (["node", "show", ""], ["sim-1", "sim-2"]),
    "nodes, several": (["node", "remove", "sim-1", ""], ["sim-2"]),
    "namespaces": (["get", "-n", "s"], ["shop"]),
    "namespaces in the word": (["get", "--namespace=s"], ["--namespace=shop"]),
    "pods": (["logs", "w"], ["web"]),
    "pods by kind": (["exec", "pod/w"], ["pod/web"]),
    "containers": (["logs", "web", "-c", ""], ["main", "side"]),
    "containers of exec": (["exec", "web", "-c", "s"], ["side"]),
    "containers as the second word": (["logs", "web", "s"], ["side"]),
    "kind/name of an option": (["events", "--for", "pod/w"], ["pod/web"]),
    "a custom kind": (["get", "services."], ["services.demo.example"]),
    "its versions": (["get", "services.v"], ["services.v1.demo.example", "services.v2.demo.example"]),
    "its short name": (["get", "ds"], ["dsvc"]),
    "its names": (["get", "services.demo.example", ""], ["front"]),
    "its names, of a version": (["get", "services.v2.demo.example/f"], ["services.v2.demo.example/front"]),
    "of nothing": (["get", "nothing-like-it", ""], []),
    "of nothing with a slash": (["get", "nothing/"], []),
    "containers of no pod": (["logs", "nobody", "-c", ""], []),
}


def test_names(names):
    assert {case: names(*words)[0] for case, (words, _) in NAMES.items()} == {
        case: expected for case, (_, expected) in NAMES.items()
    }


def test_errors_are_silent(ktool, home, complete, monkeypatch):
    home.mkdir()
    (home / "ktool.db").write_text("this is no database")
    assert complete("get", "pods", "") == ([], 4)
    monkeypatch.setattr("ktool.cli.complete.cluster.kind_words", lambda word: 1 / 0)
    assert complete("get", "p") == ([], 4)


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a b",
    "a'b",
    'a"b',
    "a\nb",
    "a\tb",
    "*",
    "~root",
    "-x$y",
]


def test_a_name_that_is_more_than_a_word_to_a_shell_is_left_out(complete, monkeypatch):
    monkeypatch.setattr("ktool.cli.complete.cluster.names", lambda kind, line: [*HOSTILE, "web-1.b:c"])
    assert complete("get", "pods", "") == (["web-1.b:c"], 4)


# --- the shells --------------------------------------------------------------------------------------------------

BASH = """
. "$1"; COMP_LINE=$2; COMP_POINT=${#2}
_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); }
eval "_words $3"
_ktool
printf '%s\\n' "${COMPREPLY[@]}"
"""

ZSH = """
compdef() { :; }
compadd() { print -l -- "${names[@]}"; }
_files() { print FILES; }
. "$1"; shift
words=("$@"); CURRENT=$#; PREFIX=${words[-1]}
_ktool
"""

FISH = """
source $argv[1]
complete -C $argv[2] | string replace -r '\\t.*' ''
"""


@pytest.fixture
def shells_home(home, tmp_path, monkeypatch):
    """`ktool` first on the PATH, and nothing of the user's."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return home


# the line, its words as bash splits them, and what is shown
SHOWN = {
    "verbs": ("ktool ap", "ktool ap", ["apply", "api-resources"]),
    "names": ("ktool get pods w", "ktool get pods w", ["web"]),
    "values": ("ktool get pods -o j", "ktool get pods -o j", ["json", "jsonpath="]),
    "a custom kind": ("ktool get services.d", "ktool get services.d", ["services.demo.example"]),
}
BREAKS = {
    "a value after =": ("ktool apply --dry-run=s", "ktool apply --dry-run = s", ["server"]),
    "nothing after =": ("ktool apply --dry-run=", "ktool apply --dry-run =", ["none", "client", "server"]),
    "quoted words": ("ktool get 'pods' w", "ktool get \"'pods'\" w", ["web"]),
    "a file": ("ktool apply -f w", "ktool apply -f w", [""]),
    "a command that is none": ("ktool get $(touch pwned) ", "ktool get '$(touch' 'pwned)' ''", [""]),
}


@pytest.fixture
def served(shells_home, cluster, tmp_path, ktool):
    """The objects are in the database; the kind is the server's alone, so a server is what the program asks."""
    app.kinds().add(DEMO)
    applied(cluster, tmp_path, pod("web", "main"))
    stop, said = threading.Event(), []
    server = threading.Thread(target=app.serve, args=(said.append, stop))
    server.start()
    try:
        while not said:
            assert server.is_alive()
            stop.wait(0.01)
        yield
    finally:
        stop.set()
        server.join()
        app.kinds().remove(DEMO.gk)


def in_bash(line: str, words: str) -> list[str]:
    argv = ["bash", "--norc", "-c", BASH, "bash", str(FOLDER / "ktool.bash"), line, words]
    return shown(subprocess.run(argv, capture_output=True, text=True, timeout=30))


def in_zsh(line: str) -> list[str]:
    argv = ["zsh", "-f", "-c", ZSH, "zsh", str(FOLDER / "ktool.zsh"), *line.split(" ")]
    return shown(subprocess.run(argv, capture_output=True, text=True, timeout=30))


def in_fish(line: str) -> list[str]:
    argv = ["fish", "--no-config", "-c", FISH, str(FOLDER / "ktool.fish"), line]
    return shown(subprocess.run(argv, capture_output=True, text=True, timeout=30))


def shown(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stderr == ""
    return sorted(done.stdout.splitlines())


def test_the_shells_show_them(served, tmp_path):
    (tmp_path / "web.yaml").touch()
    for case, (line, words, expected) in {**SHOWN, **BREAKS}.items():
        assert in_bash(line, words) == sorted(expected), case
    for case, (line, _, expected) in SHOWN.items():
        assert in_zsh(line) == sorted(expected), case
        assert in_fish(line) == sorted(expected), case
    assert in_zsh("ktool apply -f w") == ["FILES"]
    assert in_fish("ktool apply -f w") == ["web.yaml"]
    assert not (tmp_path / "pwned").exists()


TYPED = {
    "a name": ("ktool get pods w\t", "ktool get pods web "),
    "a value in the word": ("ktool get --output=ya\t", "ktool get --output=yaml "),
    "no space after =": ("ktool get -o jsonp\t", "ktool get -o jsonpath="),
    "a file": ("ktool apply -f my\t", "ktool apply -f my\\ web.yaml "),
    "what a shell would run": ("ktool get $(touch pwned) \t", "ktool get $(touch pwned) "),
}


def test_with_a_server(served, complete):
    assert complete("get", "serv") == (["services", "services.demo.example"], 4)
    assert complete("get", "deploy") == (["deployments", "deploy"], 4)
    assert complete("logs", "web", "-c", "") == (["main"], 4)
    assert complete("logs", "pod/web", "-c", "") == (["main"], 4)
    assert complete("explain", "pod.spec.con") == (["pod.spec.containers"], 6)


def test_a_tab_key_in_a_terminal(served, tmp_path):
    """bash with readline on a pseudo-terminal: what the line is after the key."""
    (tmp_path / "my web.yaml").touch()
    for case, (keys, line) in TYPED.items():
        terminal, other = pty.openpty()
        shell = subprocess.Popen(
            ["bash", "--norc", "-i"], stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        try:
            os.write(terminal, f"PS1='>'; . {FOLDER / 'ktool.bash'}; echo rea''dy\n".encode())
            assert read_until(terminal, "ready\r\n"), case
            os.write(terminal, keys.encode())
            assert read_until(terminal, line), case
        finally:
            shell.kill()
            shell.wait()
            os.close(terminal)
            os.close(other)
    assert not (tmp_path / "pwned").exists()


def read_until(terminal: int, text: str) -> bool:
    """Whether the terminal shows a text within ten seconds."""
    seen, end = "", time.monotonic() + 10
    while text not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace").replace("\a", "")
    return text in seen


def test_a_program_that_is_broken_completes_nothing(shells_home, tmp_path, monkeypatch):
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "ktool").write_text("#!/bin/sh\necho oops >&2\nexit 1\n")
    (broken / "ktool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{os.environ['PATH']}")
    assert (in_bash("ktool ap", "ktool ap"), in_zsh("ktool ap"), in_fish("ktool ap")) == ([""], [], [])

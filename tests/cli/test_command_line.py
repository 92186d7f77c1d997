"""The command line itself: every verb's help, where global options may stand, Go's ways, and how errors are told."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from ktool.api import errors
from ktool.api.errors import ERROR, INTERRUPTED, UsageError
from ktool.cli import table
from ktool.cli.plumbing.command import go_style
from ktool.cli.plumbing.durations import seconds


def leaves() -> list[str]:
    return [path for name in table.COMMANDS for path in below(table.load(name), name)]


def below(command, path: str) -> list[str]:
    """The verbs that act: those without verbs of their own, and those that act by themselves as well."""
    children = getattr(command, "commands", {})
    own = [path] if not children or getattr(command, "invoke_without_command", False) else []
    return own + [found for name, child in children.items() for found in below(child, f"{path} {name}")]


@pytest.mark.parametrize("path", leaves())
def test_every_verb_has_help_with_examples(ktool, path):
    shown = ktool(*path.split(), "--help")
    assert shown.code == 0
    assert "Examples:" in shown.out
    assert f"ktool {path.split()[0]}" in shown.out.split("Examples:")[1]
    assert "--namespace" in shown.out
    assert not re.search(r"\[default:\s+-\d+\]", shown.out), "a number that stands for none is not shown"
    assert ktool(*path.split(), "-h").out == shown.out


def test_the_help_of_the_root_lists_every_verb(ktool):
    shown = ktool("--help")
    assert all(f"  {name} " in shown.out for name in table.COMMANDS)
    assert ktool().out == shown.out


@pytest.mark.parametrize(
    ("argv", "loaded"),
    [
        ("['--help']", "cli.get cli.apply rich yaml sqlalchemy paramiko podman pydantic"),
        ("['get', '--help']", "rich yaml sqlalchemy paramiko podman cli.apply"),
        ("['version', '--client']", "rich yaml sqlalchemy paramiko podman pydantic http.client"),
        ("['api-resources']", "rich yaml sqlalchemy paramiko podman pydantic"),
        ("['explain', 'pod']", "rich yaml sqlalchemy paramiko podman pydantic"),
    ],
)
def test_what_a_command_does_not_need_is_not_imported(argv, loaded):
    code = f"import sys; from ktool.cli.main import run; run({argv}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = done.stderr.split()
    unwanted = [f"ktool.{word}" if word.startswith("cli.") else word for word in loaded.split()]
    assert [module for module in unwanted if module in modules] == []


@pytest.mark.parametrize(
    "argv",
    [
        ["-n", "shop", "get", "pods"],
        ["get", "-n", "shop", "pods"],
        ["get", "pods", "--namespace=shop"],
        ["get", "pods", "-n=shop"],
        ["--namespace", "other", "get", "pods", "-nshop"],
    ],
    ids=" ".join,
)
def test_the_namespace_may_stand_anywhere(ktool, argv):
    assert ktool(*argv).err == "No resources found in shop namespace.\n"


def test_the_namespace_from_the_environment(ktool, monkeypatch):
    monkeypatch.setenv("KTOOL_NAMESPACE", "shop")
    assert "in shop namespace" in ktool("get", "pods").err
    assert "in blue namespace" in ktool("-n", "blue", "get", "pods").err


class Param:
    def __init__(self, *opts, flag=False, secondary=()):
        self.opts, self.secondary_opts, self.is_flag = list(opts), list(secondary), flag


PARAMS = [
    Param("--wait", flag=True, secondary=["--no-wait"]),
    Param("-A", "--all-namespaces", flag=True),
    Param("-o", "--output"),
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--wait=false x", "--no-wait x"),
        ("--wait=true", "--wait"),
        ("--all-namespaces=false", ""),
        ("-A=true", "-A"),
        ("-o=yaml --output=json", "-o yaml --output=json"),
        ("a=b -- --wait=false", "a=b -- --wait=false"),
    ],
)
def test_options_as_go_programs_take_them(given, expected):
    assert go_style(PARAMS, given.split()) == expected.split()


def test_a_flag_takes_only_true_or_false():
    with pytest.raises(UsageError, match="--wait takes true or false"):
        go_style(PARAMS, ["--wait=maybe"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1.5h", 5400), ("45", 45), ("0", 0), ("2d", 172800)],
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "1m x", "m5", "٣s"])
def test_no_durations(text):
    with pytest.raises(UsageError, match="is not a duration"):
        seconds(text)


USAGE = {
    "unknown verb": (["aply"], "error: unknown command 'aply'; did you mean 'apply'?"),
    "unknown option": (["get", "pods", "--nope"], "error: no such option"),
    "no argument": (["get"], "error: you must say what to get"),
    "unknown format": (["get", "pods", "-o", "xml"], "unable to match a printer suitable for the output format 'xml'"),
    "bad template": (["get", "pods", "-o", "jsonpath={.a"], "error parsing jsonpath '{.a'"),
    "jsonpath without a template": (["get", "pods", "-o", "jsonpath"], "-o jsonpath needs its template"),
    "bad sort path": (["get", "pods", "--sort-by", "{.a"], "--sort-by"),
    "names in all namespaces": (["get", "pod", "x", "-A"], "by name across all namespaces"),
    "both forms": (["get", "pods", "pod/x"], "there is no need to specify a resource type"),
    "apply of nothing": (["apply"], "must specify what to apply"),
    "apply with a bad dry run": (["apply", "-f", "x", "--dry-run", "maybe"], "'maybe' is none of none, client, server"),
    "a bad timeout": (["apply", "-f", "x", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
    "delete without a name": (["delete", "pods"], "no name was specified"),
    "delete with both": (["delete", "pod", "x", "--all"], "exclude each other"),
    "delete with --now and a grace": (["delete", "pod", "x", "--now", "--grace-period=5"], "exclude each other"),
    "scale without a number": (["scale", "deploy/x"], "--replicas=N is required"),
    "a number that is none": (["scale", "deploy/x", "--replicas=two"], "'two' is not a "),
    "exec without a command": (["exec", "x"], "at least one command"),
    "logs of nobody": (["logs"], "say whose logs"),
    "a node without an address": (["node", "add", "x"], "say how to reach the node"),
    "a node with too many": (["node", "add", "x", "h", "--local"], "say how to reach the node"),
    "a host that is an option": (["node", "add", "x", "root@-oProxyCommand=reboot"], "is not of the form"),
    "simulated options alone": (["node", "add", "x", "--local", "--cpu", "3"], "--cpu is for --simulated nodes only"),
    "a bad label": (["node", "add", "x", "--local", "--label", "x"], "is not of the form key=value"),
    "a bad taint": (["node", "add", "x", "--local", "--taint", "a=b:Never"], "is not of the form key=value:Effect"),
    "an unknown shell": (["completion", "tcsh"], "'tcsh' is none of bash, zsh, fish"),
}


@pytest.mark.parametrize(("argv", "message"), USAGE.values(), ids=list(USAGE))
def test_a_wrong_command_line_is_exit_code_2_and_one_message(ktool, argv, message):
    done = ktool(*argv)
    assert done.code == errors.USAGE
    assert message in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err and done.out == ""


REFUSED = {
    "unknown kind": (["get", "pdos"], 'error: the server doesn\'t have a resource type "pdos"; did you mean "pods"?'),
    "not there": (["get", "pod", "x"], 'Error from server (NotFound): pods "x" not found'),
    "no file": (["apply", "-f", "/nowhere/x.yaml"], 'error: the path "/nowhere/x.yaml" does not exist'),
    "logs of a ConfigMap": (["logs", "cm/x"], "NotFound"),
    "unknown field": (["explain", "pod.spec.contaners"], 'does not exist in Pod.spec; did you mean "containers"?'),
    "unschedulable kind": (["scale", "cm/x", "--replicas=1"], "configmaps cannot be scaled"),
    "an identity that is not there": (
        ["node", "add", "x", "h", "--identity", "/nowhere/key"],
        "the identity /nowhere/key cannot be read",
    ),
    "an unreachable node": (
        ["node", "add", "x", "root@127.0.0.1:1"],
        "error: x: cannot reach x (127.0.0.1:1): Connection refused\nno node was added",
    ),
}


@pytest.mark.parametrize(("argv", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_refusal_is_exit_code_1_and_one_message(ktool, argv, message):
    done = ktool(*argv)
    assert done.code == ERROR
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_mistake_of_ours_is_one_sentence_and_kept(ktool, home, monkeypatch):
    monkeypatch.setattr("ktool.cli.plumbing.resourceargs.kinds", lambda: 1 / 0)
    done = ktool("api-resources")
    assert done.code == ERROR
    path = home / "crash.log"
    assert (
        done.err == f"error: ktool made a mistake (ZeroDivisionError); the details are in {path}; please report them\n"
    )
    assert "ZeroDivisionError: division by zero" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("KTOOL_TRACEBACK", "1")
    assert "Traceback" in ktool("api-resources").err


def test_a_reader_that_leaves_is_no_error_to_talk_about(home):
    program = [sys.executable, "-m", "ktool", "explain", "pod", "--recursive"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == 1


def test_ctrl_c_is_130(ktool, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("ktool.cli.plumbing.resourceargs.kinds", interrupt)
    done = ktool("api-resources")
    assert (done.code, done.err) == (INTERRUPTED, "interrupted\n")


def test_the_start_of_a_hot_command_is_quick(home):
    """Not a benchmark: only that nothing heavy crept in. The best of three is well below a second."""
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "ktool", "api-resources"], check=True, capture_output=True, timeout=30)
        best = min(best, time.monotonic() - began)
    assert best < 1.0

"""What is wrong with the input is said in plain sentences with an exit code, and nothing of it is stored. The program
alone: no node is needed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Ktool

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec:\n  containers:\n  - name: c\n"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}\nspec:\n"

FILES = {
    "binary": (bytes(range(256)), ["FILE: a binary file, not YAML or JSON text"]),
    "not UTF-8": (CONFIG + "data: {a: \xe9}\n", ["FILE:4: not UTF-8 text (byte 0xe9)"]),
    "YAML bomb": (BOMB, ["FILE:6: the aliases of this document expand to far too much (a YAML bomb?)"]),
    "nested deeply": ("[" * 100_000, ["FILE:1: nested more than 100 levels deep"]),
    "10 MB": (f"{CONFIG}data: {{a: {'x' * 10_000_000}}}\n", ["FILE: larger than 3 MiB; a manifest is not that large"]),
    "duplicate keys": (
        CONFIG + "data:\n  a: '1'\n  a: '2'\n",
        ['FILE:6: document 1: the key "a" is given twice: in lines 5 and 6'],
    ),
    "wrong types": (
        DEPLOYMENT + "  replicas: many\n  selector: {matchLabels: {a: 1}}\n  template: []\n",
        [
            'FILE:5: document 1: Deployment bad: spec.replicas: must be an integer, not "many"',
            "FILE:6: document 1: Deployment bad: spec.selector.matchLabels[a]: must be a string, not 1;"
            ' put quotes around it: "1"',
            "FILE:7: document 1: Deployment bad: spec.template: must be an object, not []",
        ],
    ),
    "unknown kind": (
        "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: bad}\n",
        ['FILE:2: document 1: Deploymnet bad: kind: unknown kind "Deploymnet" (apps/v1); did you mean "Deployment"?'],
    ),
    "unknown field": (
        POD + "    imaeg: registry.lab/web:v1\n",
        ['FILE:7: document 1: Pod bad: spec.containers[0].imaeg: unknown field; did you mean "image"?'],
    ),
    "shell metacharacters in a name": (
        CONFIG.replace("bad", '"x; $(touch /tmp/x) `id`"'),
        [
            "FILE:3: document 1: ConfigMap x; $(touch /tmp/x) `id`: metadata.name:"
            " \"x; $(touch /tmp/x) `id`\" must be lower case letters, digits, '-' and '.',"
            " and begin and end with a letter or digit"
        ],
    ),
    "a Python object": (
        CONFIG + "data: {a: !!python/object/apply:os.system [id]}\n",
        ["FILE:4: unknown tag !!python/object/apply:os.system"],
    ),
    "half a character": ('{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "\\ud800"}}', None),
    "no number of JSON's": (
        POD + "    image: i\n  terminationGracePeriodSeconds: .nan\n",
        ["FILE:8: .nan is a number that JSON cannot hold"],
    ),
    "a list": ("- 1\n", ["FILE:1: document 1: must be an object, not a list"]),
    "a tab": ("apiVersion: v1\n\tkind: Pod\n", ["FILE:2: a tab where YAML wants spaces; indent with spaces only"]),
    "JSON cut off": ('{"apiVersion": "v1",', None),
}


@pytest.fixture(scope="module")
def ktool(tmp_path_factory: pytest.TempPathFactory) -> Ktool:
    ktool = Ktool(tmp_path_factory.mktemp("home"))
    ktool("apply", "-f", "-", stdin=CONFIG.replace("bad", "good"))
    return ktool


@pytest.fixture
def unchanged(ktool: Ktool) -> Iterator[None]:
    """Nothing but the Lease changes in the store during the test."""
    before = _stored(ktool)
    yield
    assert _stored(ktool) == before
    assert not (ktool.home / "crash.log").exists(), (ktool.home / "crash.log").read_text()


def _stored(ktool: Ktool) -> list[Any]:
    with sqlite3.connect(ktool.home / "ktool.db") as store:
        rows = store.execute("select key, rv from objects where key not like '%/ktool' order by key").fetchall()
    store.close()
    assert any("ConfigMap" in key for key, _ in rows)
    return rows


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", FILES)
def test_file(ktool: Ktool, tmp_path: Path, name: str) -> None:
    content, problems = FILES[name]
    file = tmp_path / "file.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    done = ktool("apply", "-f", str(file), status=1, timeout=20)
    said = done.stderr.replace(str(file), "FILE").splitlines()
    if problems is None:
        assert len(said) == 2 and re.match(r"error: FILE:\d: .", said[0])
    else:
        assert said[:-1] == [f"error: {problems[0]}", *problems[1:]]
    assert said[-1] == "nothing was applied"
    assert done.stdout == ""


@pytest.mark.usefixtures("unchanged")
def test_half_of_a_folder_is_wrong(ktool: Ktool, tmp_path: Path) -> None:
    (tmp_path / "a-good.yaml").write_text(CONFIG.replace("bad", "a"))
    (tmp_path / "b-pod.yaml").write_text(f"{CONFIG}---\n{POD}    imaeg: i\n---\n{CONFIG.replace('bad', 'A_b')}")
    (tmp_path / "c-good.yaml").write_text(CONFIG.replace("bad", "c"))
    (tmp_path / "d-text.yaml").write_text("a: [1, 2\n")
    (tmp_path / "e-kind.json").write_text('{"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "x"}}\n')
    done = ktool("apply", "-f", str(tmp_path), status=1)
    said = done.stderr.replace(f"{tmp_path}/", "").splitlines()
    expected = (
        'error: b-pod.yaml:11: document 2: Pod bad: spec.containers[0].imaeg: unknown field; did you mean "image"?',
        'b-pod.yaml:15: document 3: ConfigMap A_b: metadata.name: "A_b" must be lower case',
        "d-text.yaml:2: not YAML: ",
        'e-kind.json:1: document 1: Podd x: kind: unknown kind "Podd" (v1); did you mean "Pod"?',
        "nothing was applied",
    )
    assert len(said) == len(expected)
    for line, beginning in zip(said, expected, strict=True):
        assert line.startswith(beginning)
    assert done.stdout == ""


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("apply", "-f", "nowhere.yaml"), 1, 'error: the path "nowhere.yaml" does not exist'),
        (("apply", "-f", "EMPTY"), 1, "error: no *.yaml, *.yml, *.json files in EMPTY;"),
        (("apply", "-f", "/dev/null"), 1, "error: no objects found in /dev/null"),
        (("apply",), 2, "error: must specify what to apply"),
        (("apply", "-f", "x", "--recursiv"), 2, "error: no such option: --recursiv"),
        (("apply", "-f", "x", "--timeout=soon"), 2, "error: --timeout: 'soon' is not a duration"),
        (("aply", "-f", "x"), 2, "error: unknown command 'aply'; did you mean 'apply'?"),
        (("get", "pdos"), 1, 'error: the server doesn\'t have a resource type "pdos"; did you mean "pods"?'),
        (("get", "pod/a/b"), 2, "error: 'pod/a/b' is not of the form kind/name"),
        (("get", "pod", "; $(id)"), 1, 'Error from server (NotFound): pods "; $(id)" not found'),
        (("scale", "deploy/x", "--replicas=many"), 2, "error: invalid value for '--replicas'"),
        (("delete", "pod"), 2, "error: resource(s) were provided, but no name was specified"),
        (("exec", "x"), 2, "error: you must specify at least one command for the container"),
        (("logs", "x", "--since=ever"), 2, "error: --since: 'ever' is not a duration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_command_line(ktool: Ktool, tmp_path: Path, words: tuple[str, ...], status: int, message: str) -> None:
    done = ktool(*(str(tmp_path) if word == "EMPTY" else word for word in words), status=status)
    assert done.stderr.replace(str(tmp_path), "EMPTY").startswith(message)
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""

"""A kind is one file: this one is written to a folder of its own, and everything else follows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktool import app
from ktool.api.kind import Kind
from ktool.api.kinds import discover
from ktool.cli.main import run

GREETING = '''
"""Greeting: keeps a ConfigMap with its text."""
from ktool.api.action import Create, Plan
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Version, owned
from ktool.api.obj import get, name, namespace, owner_reference
from ktool.api.ref import CONFIG_MAP, GroupKind, Ref
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource

SCHEMA = resource(spec=Field("object", fields={"text": Field("string", "What to say.", default="hello")}, default={}))


def plan(obj, world, now):
    if world.get(Ref(CONFIG_MAP, namespace(obj), name(obj))):
        return Plan(because="it is there")
    metadata = {"name": name(obj), "namespace": namespace(obj), "ownerReferences": [owner_reference(obj)]}
    data = {"text": obj["spec"]["text"]}
    return Plan((Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),))


KIND = Kind(
    Names("test.dev", "Greeting", "greetings", short=("gr",)),
    (Version("v1", SCHEMA),),
    looks=Looks((
        Column("NAME", lambda obj, now: name(obj)),
        Column("TEXT", lambda obj, now: get(obj, "spec", "text")),
    )),
    controller=Controller((owned(CONFIG_MAP, by=GroupKind("test.dev", "Greeting")),), plan),
)
'''


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    package = tmp_path / "morekinds"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "greeting.py").write_text(GREETING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KTOOL_HOME", str(tmp_path / "home"))
    (kind,) = discover(importlib.import_module("morekinds"))
    app.kinds().add(kind)
    yield kind
    app.kinds().remove(kind.gk)
    for module in ("morekinds", "morekinds.greeting"):
        del sys.modules[module]


def test_a_kind_in_a_file_of_its_own_works_from_end_to_end(
    greeting: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ktool(*argv: str) -> str:
        assert run(argv) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    manifest = tmp_path / "greeting.yaml"
    manifest.write_text("{apiVersion: test.dev/v1, kind: Greeting, metadata: {name: g}, spec: {text: good morning}}")
    assert ktool("apply", "-f", str(manifest)) == "greeting.test.dev/g created\n"
    assert ktool("apply", "-f", str(manifest)).splitlines()[0] == "greeting.test.dev/g unchanged"
    assert ktool("get", "gr").split() == ["NAME", "TEXT", "g", "good", "morning"]
    assert ktool("get", "cm", "g", "-o", "jsonpath={.data.text}") == "good morning"
    assert "What to say." in ktool("explain", "greeting.spec")
    assert "greetings" in ktool("api-resources", "--api-group=test.dev")
    ktool("delete", "greeting", "g")
    assert ktool("get", "cm", "g", "--ignore-not-found") == ""


def test_its_mistakes_are_found(greeting: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "greeting.yaml"
    manifest.write_text("{apiVersion: test.dev/v1, kind: Greeting, metadata: {name: g}, spec: {txt: good morning}}")
    assert run(["apply", "-f", str(manifest)]) == 1
    assert 'spec.txt: unknown field; did you mean "text"?' in capsys.readouterr().err

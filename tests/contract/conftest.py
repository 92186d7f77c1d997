"""Both clients on the same real Registry: in this process, and through a server on a unix socket."""

from __future__ import annotations

import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

from ktool.api.kind import Kind
from ktool.api.kinds import discover
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind
from ktool.client.http import HttpClient
from ktool.client.local import LocalClient
from ktool.registry.client import Client
from ktool.registry.registry import Registry
from ktool.serve.server import Server
from ktool.store.store import Store
from tests.contract.contract_backend import Backend
from tests.everykind import KINDS

GADGET = '''
"""A kind in twenty lines."""

from ktool.api.errors import Cause
from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource

SPEC = Field("object", required=True, fields={
    "size": Field("integer", minimum=1, default=1),
    "colour": Field("string", enum=("red", "green")),
    "replicas": Field("integer", minimum=0, default=1),
})


def validate(obj, old):
    if obj["spec"]["size"] == 13:
        return [Cause("spec.size", "13 is unlucky")]
    return []


STATUS = Field("object", fields={"phase": Field("string")})
KIND = Kind(
    Names("test.ktool.dev", "Gadget", "gadgets", short=("gd",)),
    (Version("v1", resource(SPEC, STATUS)),),
    rules=Rules(validate=validate),
    looks=Looks((Column("Size", lambda obj, now: str(obj["spec"]["size"]), type="integer"),)),
    subresources=("status", "scale"),
)
'''


@pytest.fixture
def gadget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    """The kind of a package that nothing else knows; gone again after the test."""
    package = tmp_path / "gadget_kinds"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "gadget.py").write_text(textwrap.dedent(GADGET))
    monkeypatch.syspath_prepend(str(tmp_path))
    invalidate_caches()
    try:
        (kind,) = discover(import_module("gadget_kinds"))
        KINDS.add(kind)
        yield kind
    finally:
        KINDS.remove(GroupKind("test.ktool.dev", "Gadget"))
        for module in [name for name in sys.modules if name.split(".")[0] == "gadget_kinds"]:
            del sys.modules[module]


@dataclass
class Plane:
    """A store, a registry, a backend and, where it is wanted, a server."""

    registry: Registry
    backend: Backend
    server: Server
    said: list[str] = field(default_factory=list)

    @property
    def socket(self) -> str:
        return self.server.path


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    """A control plane without controllers. Its socket stands in a short directory: a unix socket's path is bounded."""
    directory = tempfile.mkdtemp(prefix="ktool-")
    store = Store(tmp_path / "state.db")
    said: list[str] = []
    registry, backend = Registry(store, KINDS), Backend()
    server = Server(registry, backend, f"{directory}/ktool.sock", said.append)
    server.start()
    try:
        yield Plane(registry, backend, server, said)
        assert said == [], "the server had a fault"
    finally:
        server.close()
        backend.close()
        store.close()
        shutil.rmtree(directory)


@pytest.fixture(params=["local", "http"])
def client(request: pytest.FixtureRequest, plane: Plane) -> Iterator[Client]:
    found = (
        HttpClient(plane.socket, plane.registry.kinds)
        if request.param == "http"
        else LocalClient(plane.registry, plane.backend)
    )
    yield found
    found.close()


def configmap(name: str, namespace: str = "default", data: dict[str, str] | None = None, **metadata: object) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data or {},
    }


def pod(name: str, *containers: str, node: str = "node1", **metadata: object) -> Obj:
    spec: Obj = {"containers": [{"name": one, "image": "registry.test/app:1"} for one in containers or ("main",)]}
    if node:
        spec["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": spec,
    }


def deployment(name: str, replicas: int = 1, image: str = "registry.test/app:1") -> Obj:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    }

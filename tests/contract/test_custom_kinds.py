"""Kinds that are added to a running server and taken away again, seen by a program that was not built with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ktool.kinds
from ktool.api.errors import ApiError
from ktool.api.kind import Kind, Names, Version
from ktool.api.kinds import Kinds, discover
from ktool.api.obj import Obj
from ktool.api.ref import CONFIG_MAP, SERVICE, GroupKind, Ref
from ktool.cli import main
from ktool.client.http import HttpClient
from ktool.client.kinds import OPEN
from ktool.control.controller import Controllers, Stepper
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.serve.server import Server
from ktool.store.store import Store
from tests.contract import customkind
from tests.contract.contract_backend import Backend

CORE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "front", "namespace": "default"},
    "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.7.7"},
}


@dataclass
class Running:
    """A server with controllers, on kinds of its own, and the program beside it."""

    home: Path
    registry: Registry
    cache: Cache

    @property
    def kinds(self) -> Kinds:
        return self.registry.kinds

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KTOOL_HOME": str(self.home)}
        argv = (sys.executable, "-m", "ktool", *argv)
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    def ktool(self, *argv: str) -> str:
        done = self.run(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def completed(self, *words: str) -> list[str]:
        *found, directive = self.ktool("__complete", *words).splitlines()
        assert directive == ":4"
        return found

    def apply(self, obj: Obj, *options: str) -> str:
        path = self.home / "manifest.json"
        path.write_text(json.dumps(obj))
        return self.ktool("apply", "-f", str(path), *options)

    def client(self) -> HttpClient:
        return HttpClient(str(self.home / "ktool.sock"), self.kinds)


def within(seconds: float, condition: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    home = Path(tempfile.mkdtemp(prefix="ktool-"))
    store = Store(tmp_path / "state.db")
    said: list[str] = []
    registry, backend = Registry(store, discover(ktool.kinds)), Backend()
    cache = Cache(store)
    controllers = Controllers(registry, cache, registry.kinds, clock=time.time)

    def watch() -> None:
        if cache.wait(0.05):
            cache.sync()

    steppers = [Stepper("controllers", lambda: controllers.step(0.05)), Stepper("watch", watch)]
    server = Server(registry, backend, f"{home}/ktool.sock", said.append)
    server.start()
    for stepper in steppers:
        stepper.start()
    try:
        yield Running(home, registry, cache)
        assert said == [], "the server had a fault"
    finally:
        for stepper in steppers:
            stepper.stop(controllers.close)
        server.close()
        cache.close()
        backend.close()
        store.close()
        shutil.rmtree(home)


def test_a_kind_added_to_a_running_server_is_there_for_every_command(running: Running) -> None:
    running.apply(CORE)
    before = running.run("get", "services.demo.example")
    assert before.returncode == 1
    assert before.stderr.startswith('error: the server doesn\'t have a resource type "services.demo.example"')

    running.kinds.add(customkind.custom_service())
    assert running.apply(customkind.manifest("v1", {"port": 8080})) == "service.demo.example/front created\n"
    assert running.apply(customkind.manifest("v1", {"port": 8080})) == "service.demo.example/front unchanged\n"
    in_v2 = customkind.manifest("v2", {"ports": [9090]})
    told = json.loads(running.apply(in_v2, "-o", "json"))
    assert (told["apiVersion"], told["spec"]) == ("demo.example/v2", {"ports": [9090]})

    assert running.ktool("get", "services").splitlines()[1].split()[:3] == ["front", "ClusterIP", "10.96.7.7"]
    header, row = running.ktool("get", "services.demo.example").splitlines()
    assert (header.split(), row.split()[0]) == (["NAME", "AGE"], "front")
    names = running.ktool("get", "all", "-o", "name").split()
    assert {"service/front", "service.demo.example/front"} <= set(names)
    described = running.ktool("describe", "dsvc", "front")
    assert "9090" in described and "10.96.7.7" not in described
    listed = [line.split() for line in running.ktool("api-resources", "--api-group=demo.example").splitlines()]
    assert listed[1] == ["services", "dsvc", "demo.example/v2", "true", "Service"]
    assert running.completed("get", "serv") == ["services", "services.demo.example"]
    assert running.completed("get", "services.demo.example", "") == ["front"]
    assert running.completed("get", "services.v2.demo.example/") == ["services.v2.demo.example/front"]


@pytest.mark.parametrize(
    ("word", "version", "spec"),
    [
        ("services.demo.example", "v2", {"ports": [8080]}),
        ("services.v1.demo.example", "v1", {"port": 8080}),
        ("services.v2.demo.example", "v2", {"ports": [8080]}),
        ("Service.v1.demo.example", "v1", {"port": 8080}),
        ("dsvc", "v2", {"ports": [8080]}),
    ],
)
def test_the_version_asked_for_is_the_version_shown(
    running: Running, word: str, version: str, spec: dict[str, object]
) -> None:
    running.kinds.add(customkind.custom_service())
    running.apply(customkind.manifest("v1", {"port": 8080}))
    for arguments in ([f"{word}/front"], [word, "front"]):
        shown = json.loads(running.ktool("get", *arguments, "-o", "json"))
        assert (shown["apiVersion"], shown["spec"]) == (f"demo.example/{version}", spec)
    (item,) = json.loads(running.ktool("get", word, "-o", "json"))["items"]
    assert (item["apiVersion"], item["spec"]) == (f"demo.example/{version}", spec)


def test_its_controller_and_the_garbage_collector_work_at_once(running: Running) -> None:
    running.kinds.add(customkind.custom_service())
    running.apply(customkind.manifest("v1", {"port": 8080}))
    made = Ref(CONFIG_MAP, "default", "front")
    client = running.client()

    def there() -> bool:
        return any(Ref.of(obj) == made for obj in client.list(CONFIG_MAP, "default").items)

    assert within(10, there)
    running.ktool("delete", "services.demo.example", "front")
    assert within(10, lambda: not there())
    client.close()


def test_objects_that_were_there_before_their_kind_had_a_planner_are_planned(running: Running) -> None:
    running.kinds.add(customkind.custom_service())
    running.kinds.remove(customkind.SERVICE)
    plain = Kind(Names("demo.example", "Service", "services"), (Version("v1", OPEN),))
    running.kinds.add(plain)
    running.apply(customkind.manifest("v1", {"port": 1}))
    running.kinds.remove(customkind.SERVICE)
    running.kinds.add(customkind.custom_service())
    client = running.client()
    assert within(10, lambda: client.list(CONFIG_MAP, "default").items)
    client.close()


def test_a_kind_that_is_taken_away_is_gone_everywhere(running: Running) -> None:
    running.apply(CORE)
    running.kinds.add(customkind.custom_service())
    running.apply(customkind.manifest("v1", {"port": 8080}))
    client = running.client()
    assert [event.obj["spec"] for event in client.watch(customkind.SERVICE, timeout=0.2)] == [{"port": 8080}]
    events = client.watch(customkind.SERVICE)
    assert next(events).type == "ADDED"
    ended = threading.Event()
    reader = threading.Thread(target=lambda: (list(events), ended.set()), daemon=True)
    reader.start()

    running.kinds.remove(customkind.SERVICE)
    assert ended.wait(5), "its watch goes on"
    for path in ("/apis/demo.example", "/apis/demo.example/v1", "/apis/demo.example/v1/services"):
        with pytest.raises(ApiError) as refused:
            client.document(path)
        assert refused.value.code == 404
    assert "demo.example" not in json.dumps(client.document("/apis"))
    for words in ("get services.demo.example", "delete dsvc front", "explain dsvc"):
        done = running.run(*words.split())
        assert done.returncode == 1
        assert "the server doesn't have a resource type" in done.stderr
    refused_apply = running.run("apply", "-f", str(running.home / "manifest.json"))
    assert refused_apply.returncode == 1
    assert 'a Service is "v1", not "demo.example/v1"' in refused_apply.stderr
    assert "demo.example" not in running.ktool("api-resources")
    assert running.completed("get", "serv") == ["services"]
    assert running.completed("get", "services.demo.example", "") == []
    assert running.ktool("get", "all", "-o", "name").split() == ["service/front"]
    client.close()


def test_a_namespace_goes_although_objects_of_a_kind_that_is_gone_are_in_it(running: Running) -> None:
    running.kinds.add(customkind.custom_service())
    running.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    in_shop = customkind.manifest("v1", {"port": 1})
    running.apply({**in_shop, "metadata": {"name": "front", "namespace": "shop"}})
    running.kinds.remove(customkind.SERVICE)
    running.ktool("delete", "namespace", "shop")
    assert "shop" not in running.ktool("get", "namespaces", "-o", "name")


def test_two_groups_may_have_the_same_plural(running: Running) -> None:
    for group in ("one.example", "two.example"):
        running.kinds.add(Kind(Names(group, "Lamp", "lamps", namespaced=False), (Version("v1", OPEN),)))
        running.apply({"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": group[:3]}})
    assert running.ktool("get", "lamps.one.example", "-o", "name") == "lamp.one.example/one\n"
    assert running.ktool("get", "lamps.two.example", "-o", "name") == "lamp.two.example/two\n"
    assert running.ktool("get", "lamps", "-o", "name") == "lamp.one.example/one\n"
    table = running.ktool("get", "lamps.one.example,lamps.two.example").splitlines()
    assert [line.split()[0] for line in table if line] == [
        "NAME",
        "lamp.one.example/one",
        "NAME",
        "lamp.two.example/two",
    ]


def test_the_copy_of_discovery_is_private_and_follows_the_server(running: Running) -> None:
    running.kinds.add(customkind.custom_service())
    running.ktool("get", "services.demo.example")
    copy = running.home / "discovery.json"
    assert copy.stat().st_mode & 0o777 == 0o600
    kept = copy.read_text()
    running.ktool("get", "dsvc")
    assert copy.read_text() == kept
    running.kinds.add(Kind(Names("two.example", "Lamp", "lamps"), (Version("v1", OPEN),)))
    running.ktool("get", "lamps")
    assert copy.read_text() != kept
    copy.write_text('{"kinds": "broken"')
    running.ktool("get", "lamps")
    assert sorted(path.name for path in running.home.iterdir() if "discovery" in path.name) == ["discovery.json"]


def test_a_built_in_word_costs_no_request(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    whole = HttpClient.document
    monkeypatch.setattr(HttpClient, "document", lambda self, path: asked.append(path) or whole(self, path))
    monkeypatch.setenv("KTOOL_HOME", str(running.home))

    def ktool(*argv: str) -> None:
        assert main.run(argv) == 0

    (running.home / "list.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [CORE]}))
    ktool("get", "pods,svc,deploy")
    ktool("apply", "-f", str(running.home / "list.json"))
    ktool("delete", "svc", "front")
    assert asked == []
    running.kinds.add(customkind.custom_service())
    ktool("get", "dsvc,services.demo.example")
    assert asked[:3] == ["/version", "/api", "/apis"]
    asked.clear()
    ktool("get", "all")
    assert asked == ["/version"]


def test_an_unknown_word_is_told_as_ever(running: Running) -> None:
    done = running.run("get", "deplyments")
    assert done.stderr == (
        'error: the server doesn\'t have a resource type "deplyments"; did you mean "deployments"?\n'
    )
    assert SERVICE in running.kinds and GroupKind("demo.example", "Service") not in running.kinds

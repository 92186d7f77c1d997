"""No request is lost while pods come and go: real clients from outside and in pods, with connections that are kept and
new ones, on every node."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import container, documents, pod, serving, space

pytestmark = pytest.mark.podman

REPLICAS = 4


class Load:
    """Clients at these addresses until the block ends; `lost` holds what was not answered well."""

    def __init__(self, addresses: list[str], port: int, *, keep: bool = True) -> None:
        self.lost: list[str] = []
        self.answers = 0
        self._stop, self._lock = threading.Event(), threading.Lock()
        kinds = (True, False) if keep else (False,)
        self._threads = [
            threading.Thread(target=self._ask, args=(address, port, kept)) for address in addresses for kept in kinds
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, address: str, port: int, kept: bool) -> None:
        connection = http.client.HTTPConnection(address, port, timeout=10)
        headers = {} if kept else {"Connection": "close"}
        while not self._stop.wait(0.002):
            try:
                connection.request("GET", "/", headers=headers)
                answer = connection.getresponse()
                text = answer.read().decode()
                if answer.status != 200 or not text.startswith("v"):
                    self._note(f"{answer.status} {text}")
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self._note(f"{address} kept={kept}: {error!r}")
                connection.close()
        connection.close()

    def _note(self, what: str) -> None:
        with self._lock:
            self.lost.append(f"{time.time():.2f} {what}")


def web(image: str, replicas: int, **env: str) -> dict[str, Any]:
    made = {
        "name": "web",
        "image": f"registry.lab/web:{image}",
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [made]}}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": body}


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


@pytest.fixture(scope="module")
def town(cluster: Ktool) -> Iterator[tuple[Ktool, str]]:
    with serving(cluster), space(cluster) as namespace:
        cluster(
            "apply", "-n", namespace, "-f", "-", "--wait",
            stdin=documents(web("v1", REPLICAS), SERVICE, pod("client", container("main"))),
        )  # fmt: skip
        yield cluster, namespace


def names(ktool: Ktool, namespace: str) -> list[str]:
    listed = ktool.json("get", "pods", "-n", namespace, "-l", "app=web")["items"]
    return [one["metadata"]["name"] for one in listed if "deletionTimestamp" not in one["metadata"]]


def port_of(ktool: Ktool, namespace: str) -> int:
    found = until(lambda: ktool.json("get", "svc", "web", "-n", namespace)["spec"]["ports"][0].get("nodePort"))
    return int(found)


def test_no_request_is_lost_while_pods_are_deleted_scaled_and_rolled(town: tuple[Ktool, str], lab: Lab) -> None:
    ktool, namespace = town
    port, addresses = port_of(ktool, namespace), [node.address for node in lab.nodes]
    inside = ktool.start(
        "exec", "-n", namespace, "client", "--", "sh", "-c",
        "n=0; while [ ! -f /stop ]; do wget -qO- http://web/ >/dev/null || echo lost; n=$((n+1)); done; echo asked $n",
    )  # fmt: skip
    try:
        with Load(addresses, port) as load:
            for _ in range(2):
                ktool("delete", "pod", names(ktool, namespace)[0], "-n", namespace)
            ktool("scale", "deployment", "web", "-n", namespace, "--replicas", "2")
            ktool("apply", "-n", namespace, "-f", "-", "--wait", stdin=documents(web("v2", REPLICAS)))
            until(lambda: len(names(ktool, namespace)) == REPLICAS)
    finally:
        ktool("exec", "-n", namespace, "client", "--", "touch", "/stop", status=None)
        said, _ = inside.communicate(timeout=30)
    assert load.lost == [] and load.answers > 1000, (load.answers, load.lost[:5])
    assert b"lost" not in said and b"asked" in said, said


def test_new_connections_are_served_also_where_the_application_ends_at_once(town: tuple[Ktool, str], lab: Lab) -> None:
    """It has no time to end well after SIGTERM, so nobody may be sent to it then."""
    ktool, namespace = town
    objects = documents(web("v2", 3, EXIT_AT_ONCE="1"))
    ktool("apply", "-n", namespace, "-f", "-", "--wait", stdin=objects)
    with Load([node.address for node in lab.nodes], port_of(ktool, namespace), keep=False) as load:
        for _ in range(3):
            ktool("delete", "pod", names(ktool, namespace)[0], "-n", namespace)
        ktool("scale", "deployment", "web", "-n", namespace, "--replicas", "1")
    assert load.lost == [] and load.answers > 300, (load.answers, load.lost[:5])

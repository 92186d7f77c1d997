"""The floors of the rows without real nodes: the same work by plain Python, with nothing of ktool. Each is a process of
its own, `python bare.py WHAT ...`; where a whole command is compared, so is its start, with the libraries that a
command line cannot do without."""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

NOW = "2026-01-01T00:00:00Z"


def pod(number: int, running: bool = True) -> dict[str, Any]:
    """A Pod of one container as Kubernetes keeps it, about 1.6 KB."""
    conditions = ("PodScheduled", "Initialized", "Ready", "ContainersReady")
    container = {"name": "web", "image": "registry.lab/web:v1", "imagePullPolicy": "IfNotPresent", "resources": {}}
    own = {"name": "web", "ready": True, "restartCount": 0, "started": True, "state": {"running": {"startedAt": NOW}}}
    digest = f"{number:064x}"
    identity = {"image": container["image"], "imageID": f"sha256:{digest}", "containerID": f"podman://{digest}"}
    address = f"10.244.{number // 250}.{number % 250}"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8c7b9f6d", "controller": True}
    status = {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": NOW} for kind in conditions],
        "containerStatuses": [own | identity],
        "hostIP": "192.0.2.7",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "BestEffort",
        "startTime": NOW,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-5d8c7b9f6d-{number:05d}",
            "namespace": "default",
            "uid": f"{number:08x}-0000-4000-8000-000000000000",
            "resourceVersion": str(number),
            "creationTimestamp": NOW,
            "labels": {"app": "web", "pod-template-hash": "5d8c7b9f6d"},
            "ownerReferences": [owner],
        },
        "spec": {
            "containers": [container | {"terminationMessagePath": "/dev/termination-log"}],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
        },
        "status": status if running else {"phase": "Pending", "qosClass": "BestEffort"},
    }


def database(path: str) -> sqlite3.Connection:
    """As a store would have it: a write-ahead log, and what is there by key."""
    found = sqlite3.connect(path, isolation_level=None)
    found.execute("PRAGMA journal_mode = WAL")
    found.execute("PRAGMA synchronous = NORMAL")
    found.execute("CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")
    return found


def put(found: sqlite3.Connection, objects: list[dict[str, Any]]) -> None:
    """Write them in one transaction."""
    rows = [(_key(obj), json.dumps(obj)) for obj in objects]
    found.execute("BEGIN IMMEDIATE")
    found.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?)", rows)
    found.execute("COMMIT")


def _key(obj: dict[str, Any]) -> str:
    return f"{obj['kind']}/{obj['metadata']['namespace']}/{obj['metadata']['name']}"


# --- what a process does -----------------------------------------------------------------------------------------


def start() -> None:
    """What every command does first: an interpreter and a library for command lines."""
    import typer

    assert typer


def get(path: str) -> None:
    """A command that reads every row of a database and prints a line for each."""
    start()
    for (body,) in database(path).execute("SELECT body FROM objects ORDER BY key").fetchall():
        found = json.loads(body)
        own = found["status"]["containerStatuses"][0]
        ready = f"{int(own['ready'])}/{len(found['spec']['containers'])}"
        print(f"{found['metadata']['name']:<30} {ready:<7} {found['status']['phase']:<9} {own['restartCount']}")


def manifests(path: str, what: str, file: str) -> None:
    """A command that reads YAML and creates these objects, finds them unchanged or deletes them, in a transaction."""
    start()
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    wanted = list(yaml.load_all(Path(file).read_text(), Loader=loader))
    found = database(path)
    if what == "create":
        put(found, wanted)
        return
    found.execute("BEGIN IMMEDIATE")
    for obj in wanted:
        (body,) = found.execute("SELECT body FROM objects WHERE key = ?", (_key(obj),)).fetchone()
        assert json.loads(body) == obj
        if what == "delete":
            found.execute("DELETE FROM objects WHERE key = ?", (_key(obj),))
    found.execute("COMMIT")


def simulated(path: str, count: str) -> None:
    """Each pod written three times (made, placed, running), a hundred in a transaction; prints the seconds."""
    found = database(path)
    begun = time.monotonic()
    for first in range(0, int(count), 100):
        made = [pod(number, running=False) for number in range(first, first + 100)]
        put(found, made)
        placed = [{**one, "spec": {**one["spec"], "nodeName": f"n{number}"}} for number, one in enumerate(made)]
        put(found, placed)
        running = [pod(first + number) for number in range(100)]
        put(found, [{**one, "status": now["status"]} for one, now in zip(placed, running, strict=True)])
    print(time.monotonic() - begun)


def probes(port: str, count: str) -> None:
    """So many probes as a kubelet makes them, a connection each; prints the seconds of processor time."""
    import http.client

    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(int(count)):
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def rules(file: str) -> None:
    """Services and slices read from JSON, and a formatted line for each service and endpoint; prints the seconds."""
    text = Path(file).read_text()
    begun = time.monotonic()
    services, slices = json.loads(text)
    lines = [f"add element ip svc {{ {one['spec']['clusterIP']} . tcp . 80 : goto svc }}" for one in services]
    for one in slices:
        for number, endpoint in enumerate(one["endpoints"]):
            lines.append(f"add element ip to {{ {number} : {endpoint['addresses'][0]} . {one['ports'][0]['port']} }}")
    "\n".join(lines).encode()
    print(time.monotonic() - begun)


if __name__ == "__main__":
    WORK = (start, get, manifests, simulated, probes, rules)
    {work.__name__: work for work in WORK}[sys.argv[1]](*sys.argv[2:])

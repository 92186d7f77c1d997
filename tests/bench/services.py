"""The rows about services: what their address costs beside the pod's own, and how long a thousand of them take."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from ktool.logic.network.balance import frontends, render
from ktool.node.network.nftables import RULES, transaction
from tests.bench.rows import Bench, Result, deployment

SERVICES, ENDPOINTS, CONNECTS = 1000, 10, 1500

PROBE = """
import json, socket, statistics, struct, sys, time

direct, service, count = json.loads(sys.argv[1])

def ask(name):
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + question + struct.pack(">2H", 1, 1), ("10.96.0.10", 53))
        answer = s.recv(512)
    return socket.inet_ntoa(answer[-4:])

def connect(address):
    began = time.perf_counter()
    socket.create_connection((address, 8080), 5).close()
    return time.perf_counter() - began

def whole(name):
    began = time.perf_counter()
    socket.create_connection((ask(name), 8080), 5).close()
    return time.perf_counter() - began

addresses = [ask(name) for name in (service, direct)]
plain, named = ([], []), ([], [])
for turn in range(count):
    for index in ((0, 1) if turn % 2 else (1, 0)):
        plain[index].append(connect(addresses[index]))
        named[index].append(whole((service, direct)[index]))
print(json.dumps([[statistics.median(times) for times in kind] for kind in (plain, named)]))
"""


def manifest(kind: str, api: str, name: str, labels: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", **({"labels": labels} if labels else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def many(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Services without a selector, and a slice of endpoints for each, written by hand."""
    services, slices = [], []
    for n in range(count):
        spec = {"ports": [{"port": 80, "targetPort": 8080}], "clusterIP": f"10.96.{100 + n // 250}.{1 + n % 250}"}
        services.append(manifest("Service", "v1", f"s{n}", spec=spec))
        labels = {"kubernetes.io/service-name": f"s{n}"}
        endpoints = [{"addresses": [f"10.244.{200 + n % 50}.{10 + k}"]} for k in range(ENDPOINTS)]
        body = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}
        slices.append(manifest("EndpointSlice", "discovery.k8s.io/v1", f"s{n}-1", labels, **body))
    return services, slices


def a_thousand_services(bench: Bench, runs: int) -> Iterator[Result]:
    """Connections from a pod to one on another node, by the service's address and by the pod's own, alternating."""
    home = bench.cluster()
    server = bench.serve(home)
    first, second = bench.lab.nodes[:2]
    text = [deployment("target", 1, node=second.name), deployment("asker", 1, node=first.name)]
    port = [{"port": 8080}]
    text.append(json.dumps(manifest("Service", "v1", "target", spec={"selector": {"app": "target"}, "ports": port})))
    bare = {"selector": {"app": "target"}, "ports": port, "clusterIP": "None"}
    text.append(json.dumps(manifest("Service", "v1", "bare", spec=bare)))
    bench.ktool(home, "apply", "--wait", "-f", "-", stdin="\n---\n".join(text))
    services, slices = many(SERVICES - 1)
    applied = bench.ktool(home, "apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, [*services, *slices])))
    waited = _until_loaded(first.pid)
    connects = Result("connect by a service's address, 1000 there", 1.1, [])
    connects.notes.append(f"{SERVICES} services applied in {applied:.1f} s, on the node {waited:.1f} s later")
    lookups = Result("name lookup and connect, the same", 1.1, [])
    names = ["bare.default.svc.cluster.local", "target.default.svc.cluster.local", CONNECTS]
    for _ in range(runs):
        plain, named = json.loads(_in_pod(first.pid, "asker", ["python3", "-c", PROBE, json.dumps(names)]))
        connects.pairs.append((plain[0], plain[1]))
        lookups.pairs.append((named[0], named[1]))
    yield connects
    yield lookups
    bench.end(server)


def _until_loaded(node: int) -> float:
    begun = time.monotonic()
    while time.monotonic() < begun + 120:
        if _in_net(node, ["nft", "list", "map", "ip", "ktool-svc", "svc"]).count("goto svc-") >= SERVICES:
            return time.monotonic() - begun
        time.sleep(0.2)
    raise SystemExit("the services are not on the node")


def _in_net(node: int, argv: list[str], stdin: str = "") -> str:
    argv = ["nsenter", "-t", str(node), "--net", *argv]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout


def _in_pod(node: int, pod: str, argv: list[str]) -> str:
    """What a program prints in the network of the first container of this Deployment's pod."""
    inside = ["nsenter", "-t", str(node), "--mount", "--net", "--pid", "--uts", "--ipc"]
    find = "podman inspect -f '{{.State.Pid}}' $(podman ps -q --filter name=^web_" + pod + "-)"
    pid = subprocess.run([*inside, "sh", "-c", find], capture_output=True, text=True, check=True, timeout=30).stdout
    argv = [*inside, "nsenter", "--net", "-t", pid.split()[0], *argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stdout


def rules(bench: Bench, runs: int) -> Iterator[Result]:
    """1,000 services of 10 endpoints: rendered within a second, and given to nft in one transaction."""
    node = bench.lab.nodes[0].pid
    rendered = Result(f"rules of {SERVICES} services x {ENDPOINTS}: rendered", 1.0, [])
    loaded = Result("the same: loaded by nft (beside rendering)", None, [])
    uids = [{**one, "metadata": {**one["metadata"], "uid": str(n)}} for n, one in enumerate(many(SERVICES)[0])]
    for _ in range(runs):
        begun = time.monotonic()
        text = render(frontends(uids, many(SERVICES)[1]), "n1").text
        took = time.monotonic() - begun
        rendered.pairs.append((took, 1.0))
        begun = time.monotonic()
        _in_net(node, ["nft", "-f", "-"], transaction(RULES, "", text))
        loaded.pairs.append((time.monotonic() - begun, took))
        _in_net(node, ["nft", "delete", "table", "ip", "ktool-svc"])
    yield rendered
    yield loaded

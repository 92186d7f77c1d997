"""The rows about services: what their address costs beside the pod's own, and how long a thousand of them take."""

from __future__ import annotations

import json
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import inside
from tests.bench.alone import floor, in_turns
from tests.bench.side import ENVIRONMENT, Side, deployment, documents
from tests.bench.table import Runs, Sample

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


def a_thousand_services(side: Side) -> Runs:
    """Connections from a pod to one on another node by the service's address, 1,000 services being there. The floor is
    the pod's own address, in turns. Then the same with a look-up of the name before each; the floor is the look-up of
    the pod's own address, by a service without one."""
    home = side.cluster()
    first, second = side.lab.nodes[:2]
    pods = [deployment("target", 1, node=second.name), deployment("asker", 1, node=first.name)]
    port = [{"port": 8080}]
    bare = {"selector": {"app": "target"}, "ports": port, "clusterIP": "None"}
    address = "10.96.200.1"  # none of the crowd's, as one that is given might be
    own = [
        manifest("Service", "v1", "target", spec={"selector": {"app": "target"}, "ports": port, "clusterIP": address}),
        manifest("Service", "v1", "bare", spec=bare),
    ]
    names = ["bare.default.svc.cluster.local", "target.default.svc.cluster.local", CONNECTS]
    services, slices = many(SERVICES - 1)
    crowd = documents([*services, *slices])
    with side.server(home), side.applied(home, "\n---\n".join([*pods, documents(own)])):
        try:
            applied = side.ktool(home, "apply", "-f", "-", stdin=crowd)
            waited = _until_loaded(first.pid)
            notes = [f"{SERVICES} services applied in {applied:.1f} s, on the node {waited:.1f} s later"]
            while True:
                plain, named = json.loads(_in_pod(first.pid, "asker", ["python3", "-c", PROBE, json.dumps(names)]))
                note = notes.pop() if notes else ""
                yield [
                    Sample("connect by a service's address, 1000 there", plain[0], plain[1], 1.1, note),
                    Sample("name lookup and connect, the same", named[0], named[1], 1.1),
                ]
        finally:
            side.ktool(home, "delete", "--ignore-not-found", "-f", "-", stdin=crowd)


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


def rules(side: Side) -> Runs:
    """1,000 services of 10 endpoints, without a node: rendered to nftables, and the text given to nft in a network of
    its own. Floors: a Python process that reads the same objects from JSON and formats a line for each service and
    endpoint; and nft with a plain text that sends as many addresses to as many endpoints. Both sides of the first
    count without the start of their process."""
    services, slices = many(SERVICES)
    objects = side.root / "services.json"
    numbered = [{**one, "metadata": {**one["metadata"], "uid": str(n)}} for n, one in enumerate(services)]
    objects.write_text(json.dumps([numbered, slices]))
    plain = _plain(services, slices)
    name = f"{SERVICES} services x {ENDPOINTS}"
    while True:
        told = _rendered(side, objects)
        table = f"ip {told['table']}"
        text = f"add table {table}\ndelete table {table}\n{told['text']}"
        render = lambda: float(_rendered(side, objects)["seconds"])  # noqa: E731
        load = partial(_loaded, text)
        yield [
            in_turns(f"rules of {name}: rendered", render, lambda: float(floor("rules", str(objects))[1]), 6.0),
            in_turns("the same: loaded by nft", load, lambda: _loaded(plain), 1.5),
        ]


def _rendered(side: Side, objects: Path) -> Any:
    """What `inside.py` tells of rendering them."""
    argv = [side.python, "-P", inside.__file__, "rules", str(objects)]
    done = subprocess.run(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def _loaded(text: str) -> float:
    """The seconds nft takes for this in one transaction, in a network that ends with it."""
    begun = time.monotonic()
    argv = ["unshare", "--net", "nft", "-f", "-"]
    subprocess.run(argv, input=text, text=True, check=True, timeout=120, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def _plain(services: list[dict[str, Any]], slices: list[dict[str, Any]]) -> str:
    """A map from every service's address to a chain that picks one of its endpoints, and nothing else."""
    chains, elements = [], []
    for number, (service, slice_) in enumerate(zip(services, slices, strict=True)):
        ends = [endpoint["addresses"][0] for endpoint in slice_["endpoints"]]
        picks = ", ".join(f"{index} : {address} . 8080" for index, address in enumerate(ends))
        pick = f"meta l4proto tcp dnat to numgen random mod {len(ends)} map {{ {picks} }}"
        chains.append(f"chain svc-{number} {{\n{pick}\n}}")
        elements.append(f"{service['spec']['clusterIP']} . tcp . 80 : goto svc-{number}")
    every = ",\n".join(elements)
    svc = f"map svc {{\ntype ipv4_addr . inet_proto . inet_service : verdict\nelements = {{ {every} }}\n}}"
    hook = "chain pre {\ntype nat hook prerouting priority dstnat\nip daddr . meta l4proto . th dport vmap @svc\n}"
    return "\n".join(["table ip floor {", *chains, svc, hook, "}", ""])


ROWS = {"rules": rules, "services": a_thousand_services}

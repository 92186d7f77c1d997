"""Throughput between pods of two nodes, through the service's address and to the pod itself, in each mode."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.bench.side import IMAGE, Side, documents
from tests.bench.table import Runs, Sample

MODES = ("vxlan", "wireguard", "hostgw")
"""As `ktool network set` has them; the last one is what a cluster begins with."""
GIGABYTE = 1_000_000_000
SECONDS = 4
# The node's own iperf3 with the libraries it was built for; the image has none.
IPERF = "$(ls /host/lib/*/ld-linux*.so.* | head -n 1) --library-path $(ls -d /host/lib/*-linux-gnu*) /host/bin/iperf3"


def throughput(side: Side) -> Runs:
    """Seconds for a gigabyte by iperf3's receiver. The floor is the same to the pod's own address, right before or
    after; the goal is 0.95 of that throughput."""
    if not shutil.which("iperf3"):
        raise SystemExit("this row needs iperf3: apt-get install -y iperf3")
    home = side.cluster()
    first, second = (node.name for node in side.lab.nodes[:2])
    objects = [_pod("server", first, f"exec {IPERF} -s"), _pod("client", second, "exec sleep 100000")]
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": "default"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 5201}]},
        }
    )
    with side.server(home), side.applied(home, documents(objects)):
        turn = 0
        while True:
            turn += 1
            yield [_mode(side, home, mode, turn) for mode in MODES]


def _mode(side: Side, home: Path, mode: str, turn: int) -> Sample:
    side.ktool(home, "network", "set", mode)
    address = str(side.get(home, "service", "server")["spec"]["clusterIP"])
    pod = str(side.get(home, "pod", "server")["status"]["podIP"])
    _seconds(side, home, pod)  # the first one warms up caches, tables and the processor
    order = (address, pod) if turn % 2 else (pod, address)
    took = {target: _seconds(side, home, target) for target in order}
    note = f"directly {8 / took[pod]:.2f} Gbit/s; both ends share this machine"
    return Sample(f"iperf3 through a service, {mode}", took[address], took[pod], 1 / 0.95, note)


def _pod(name: str, node: str, command: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", command],
        "volumeMounts": [{"name": "usr", "mountPath": "/host", "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
        },
    }


def _seconds(side: Side, home: Path, target: str) -> float:
    """How long a gigabyte takes at the rate at which the receiver gets it."""
    script = f"exec {IPERF} -J -c {target} -t {SECONDS}"
    told = json.loads(side.say(home, "exec", "client", "--", "sh", "-c", script)[1])
    return 8 * GIGABYTE / float(told["end"]["sum_received"]["bits_per_second"])


ROWS = {"network": throughput}

"""Throughput between pods of two nodes, through the service's address and to the pod itself, in each mode."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ktool.logic.network.links import MODES
from tests.bench.rows import ENVIRONMENT, IMAGE, KTOOL, Bench, Result

GIGABYTE = 1_000_000_000
SECONDS = 4
# The node's own iperf3 with the libraries it was built for; the image has none.
IPERF = "$(ls /host/lib/*/ld-linux*.so.* | head -n 1) --library-path $(ls -d /host/lib/*-linux-gnu*) /host/bin/iperf3"


def throughput(bench: Bench, runs: int) -> Iterator[Result]:
    """Seconds for a gigabyte by iperf3's receiver. The goal is 0.95 of the direct throughput."""
    if not shutil.which("iperf3"):
        raise SystemExit("this row needs iperf3: apt-get install -y iperf3")
    home = bench.cluster()
    server = bench.serve(home)
    first, second = (node.name for node in bench.lab.nodes[:2])
    objects = [_pod("server", first, f"exec {IPERF} -s"), _pod("client", second, "exec sleep 100000")]
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": "default"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 5201}]},
        }
    )
    bench.ktool(home, "apply", "--wait", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))
    for mode in (*MODES[1:], MODES[0]):
        bench.ktool(home, "network", "set", mode)
        address = str(_get(home, "service", "server")["spec"]["clusterIP"])
        pod = str(_get(home, "pod", "server")["status"]["podIP"])
        result = Result(f"iperf3 through a service, {mode}", 1 / 0.95, [])
        _seconds(home, pod)  # the first one warms up caches, tables and the processor
        for turn in range(max(2, runs)):
            order = (address, pod) if turn % 2 else (pod, address)
            took = {target: _seconds(home, target) for target in order}
            result.pairs.append((took[address], took[pod]))
        rates = [8 / direct for _, direct in result.pairs]
        result.notes.append(f"directly {min(rates):.2f} to {max(rates):.2f} Gbit/s; both ends share this machine")
        yield result
    bench.end(server)


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


def _get(home: Path, kind: str, name: str) -> Any:
    return json.loads(_run(home, "get", kind, name, "-o", "json"))


def _seconds(home: Path, target: str) -> float:
    """How long a gigabyte takes at the rate at which the receiver gets it."""
    script = f"exec {IPERF} -J -c {target} -t {SECONDS}"
    told = json.loads(_run(home, "exec", "client", "--", "sh", "-c", script))
    return 8 * GIGABYTE / float(told["end"]["sum_received"]["bits_per_second"])


def _run(home: Path, *words: str) -> str:
    env = {**ENVIRONMENT, "KTOOL_HOME": str(home)}
    done = subprocess.run([*KTOOL, *words], env=env, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"ktool {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout

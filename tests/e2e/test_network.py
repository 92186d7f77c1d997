"""`ktool network`: the mode changed under running pods, what is shown and checked, and nodes that share no link."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import WEB, container, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

LONGEST_GAP = 3.0
"""Seconds between two answered requests while a mode is changed: a lost SYN is sent again after one."""
ASKS = r"""
now() { cut -d' ' -f1 /proc/uptime; }
while :; do
    if wget -qO- http://$SERVER:8080/ >/dev/null 2>&1; then echo "ok $(now)"; else echo "failed $(now)"; fi
    sleep 0.1
done >/tmp/asked
"""
STREAM = "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done | nc $SERVER 9000; echo ended >/tmp/ended"


def on_node(node: str) -> dict[str, Any]:
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def test_the_mode_is_changed_and_no_pod_or_connection_notices(cluster: Ktool, lab: Lab) -> None:
    with serving(cluster), space(cluster) as namespace:
        here, there = lab.nodes[0].name, lab.nodes[1].name
        receiver = container("receiver", "sh", "-c", "sleep 100000 | nc -l -p 9000 >/tmp/got")
        server = pod("server", {"name": "web", "image": WEB}, receiver, **on_node(there))
        cluster("apply", "--wait", "-n", namespace, "-f", "-", stdin=documents(server))
        address = cluster.json("get", "pod", "server", "-n", namespace)["status"]["podIP"]
        env = [{"name": "SERVER", "value": address}]
        parts = [container(name, "sh", "-c", text, env=env) for name, text in (("asks", ASKS), ("stream", STREAM))]
        cluster("apply", "--wait", "-n", namespace, "-f", "-", stdin=documents(pod("client", *parts, **on_node(here))))

        def inside(pod_name: str, part: str, command: str) -> str:
            return cluster("exec", "-n", namespace, pod_name, "-c", part, "--", "sh", "-c", command).stdout

        def streamed() -> int:
            return int((inside("server", "receiver", "tail -n 1 /tmp/got") or "0").strip())

        until(streamed)
        before = {one["metadata"]["name"]: one["status"] for one in cluster.pods(namespace)}
        for mode, device in (("vxlan", "ktool-vxlan"), ("wireguard", "ktool-wg"), ("hostgw", "eth0")):
            assert f"network mode {mode} set" in cluster("network", "set", mode).stdout
            for node in lab.nodes[:2]:
                routes = on(node, "ip -4 route show proto 76").splitlines()
                assert len(routes) == 2 and all(f" dev {device} " in f"{route} " for route in routes), routes
            reached = streamed()
            until(lambda reached=reached: streamed() > reached + 20, 10)
            rows = cluster("network", "show", "--no-headers").stdout.splitlines()
            assert [row.split()[1:5:2] for row in rows] == [["Ready", mode]] * len(lab.nodes), rows
            checked = cluster("network", "check", "-o", "json")
            found = json.loads(checked.stdout)
            assert found["failed"] == 0 and len([one for one in found["checks"] if one["what"] == "pods"]) == 6
        answers = [line.split() for line in inside("client", "asks", "cat /tmp/asked").splitlines()]
        times = [float(at) for word, at in answers if word == "ok"]
        assert len(times) == len(answers) > 50, [line for line in answers if line[0] != "ok"]
        assert max(b - a for a, b in itertools.pairwise(times)) < LONGEST_GAP
        numbers = inside("server", "receiver", "cat /tmp/got").split()
        assert numbers == [str(number) for number in range(1, len(numbers) + 1)], "nothing lost, nothing twice"
        assert inside("client", "stream", "ls /tmp/ended 2>/dev/null || true") == ""
        after = {one["metadata"]["name"]: one["status"] for one in cluster.pods(namespace)}
        ids = [[[c["containerID"] for c in s["containerStatuses"]] for s in one.values()] for one in (before, after)]
        assert ids[0] == ids[1], "no pod was made anew"
        for node in lab.nodes:
            assert (
                on(node, "ip -o link | grep -E 'ktool-(wg|vxlan|probe)'; ls /var/lib/ktool/wireguard.key", check=False)
                == ""
            )


def test_what_is_not_as_it_should_be_is_named(cluster: Ktool, lab: Lab) -> None:
    node, other = lab.nodes[0], lab.nodes[1]
    subnet = cluster.json("get", "node", other.name)["spec"]["podCIDR"]
    on(node, f"ip route delete {subnet} proto 76")
    try:
        said = cluster("network", "show", status=1)
        assert f"{node.name}: route {subnet}: missing" in said.stderr
        checked = cluster("network", "check", "--timeout", "1s", status=1)
        failed = {(line.split()[0], line.split()[2]) for line in checked.stdout.splitlines() if " failed " in line}
        assert failed == {(node.name, other.name), (other.name, node.name)}, checked.stdout
    finally:
        cluster("network", "set", "hostgw")
    assert cluster("network", "show").stdout.count(" Ready ") == len(lab.nodes)
    on(node, "chmod -x /usr/bin/wireguard-go")  # the node's own copy of the file
    on(other, "chmod -x /usr/bin/wg")
    try:
        refused = cluster("network", "set", "wireguard", status=1)
        assert f"{node.name}: its kernel has no WireGuard and wireguard-go cannot be found" in refused.stderr
        assert f"{other.name}: wg cannot be found: apt-get install -y wireguard-tools" in refused.stderr
        assert "nothing was changed" in refused.stderr
        assert json.loads(cluster("network", "show", "-o", "json").stdout)["mode"] == "hostgw"
    finally:
        on(node, "chmod +x /usr/bin/wireguard-go")
        on(other, "chmod +x /usr/bin/wg")


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        pytest.param(["set", "vxlam"], 2, "unknown network mode 'vxlam': use hostgw, vxlan, wireguard; did", id="mode"),
        pytest.param(["show", "-o", "xml"], 2, "-o", id="format"),
        pytest.param(["check", "--timeout", "0s"], 2, "--timeout", id="no-time"),
    ],
)
def test_words_that_make_no_network(cluster: Ktool, words: list[str], status: int, text: str) -> None:
    assert text in cluster("network", *words, status=status).stderr


def test_an_unknown_mode_in_the_config_map_is_refused(cluster: Ktool) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ktool-network", "namespace": "kube-system"},
    }
    refused = cluster("apply", "-f", "-", stdin=documents({**config, "data": {"mode": "pigeon"}}), status=1)
    assert '"pigeon" is no mode of the pod network; use one of hostgw, vxlan, wireguard' in refused.stderr


# --- two links ---------------------------------------------------------------------------------------------------


@pytest.fixture
def far() -> Iterator[Ktool]:
    home = Path(tempfile.mkdtemp(prefix="ktool-links-", dir="/var/tmp"))
    try:
        yield Ktool(home)
    finally:
        Ktool(home)("lab", "down", "--name", f"far{os.getpid() % 100_000}", status=None)
        shutil.rmtree(home)


def test_nodes_that_share_no_link_need_a_tunnel(far: Ktool) -> None:
    """In the command's own life: no server runs."""
    name = f"far{os.getpid() % 100_000}"
    far("lab", "up", "--nodes", "2", "--links", "2", "--name", name)
    nodes = [f"{name}-node1", f"{name}-node2"]
    addresses = {
        one["name"]: one["address"]
        for one in json.loads(far("network", "show", "-o", "json", status=1).stdout)["nodes"]
    }
    plain = far("network", "set", "hostgw", status=1).stderr
    assert "nothing was changed" in plain
    for node, other in (nodes, nodes[::-1]):
        assert f"{node}: hostgw needs nodes that share a link, and {addresses[other]} is on no link of it" in plain
    assert "is on no link of this node: use `ktool network set vxlan`" in far("events").stdout
    assert f"{nodes[0]}" in far("network", "check", "--timeout", "1s", status=1).stdout
    web = [pod(f"web{i}", {"name": "web", "image": WEB}, **on_node(node)) for i, node in enumerate(nodes)]
    far("apply", "-f", "-", stdin=documents(*web))
    for mode in ("vxlan", "wireguard"):
        far("network", "set", mode)
        assert " failed " not in far("network", "check").stdout
        address = far.json("get", "pod", "web1")["status"]["podIP"]
        seen = far("exec", "web0", "--", "wget", "-qO-", f"http://{address}:8080/client").stdout.strip()
        assert seen == far.json("get", "pod", "web0")["status"]["podIP"], "the server sees the pod that asks"

"""What a person made on a node is never touched, however much it looks like ours."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool
from tests.e2e.support import WEB, deployment, documents, on, pod, script, serving, space

pytestmark = pytest.mark.podman

SETUP = f"""
set -eu
podman pull -q {WEB} >/dev/null
podman network create --subnet 10.77.1.0/24 ktool-2 >/dev/null
podman pod create --name web_default_12345678 --label ktool.dev/podd=x --network ktool-2 >/dev/null
podman run -d --pod web_default_12345678 --name main_web_default_12345678 --label app=web {WEB} sleep 1000 >/dev/null
podman run -d --name ktool --label ktool.dev=x --network none {WEB} sleep 1000 >/dev/null
podman pod create --name other --label ktool.dev/cluster=CLUSTER --label ktool.dev/uid=UID \
    --label ktool.dev/namespace=default --label ktool.dev/pod=web --label ktool.dev/ip=10.244.0.250 >/dev/null
podman run -d --pod other --name other-main --label ktool.dev/cluster=CLUSTER --label ktool.dev/uid=UID \
    --label ktool.dev/container=main {WEB} sleep 1000 >/dev/null
podman volume create ktool >/dev/null
nft add table ip ktool-2 && nft add table inet ktool
nft add chain ip ktool-2 postrouting '{{ type nat hook postrouting priority 95; }}'
ip route add 10.244.200.0/24 via GATEWAY
ip route add 10.78.0.0/16 via GATEWAY proto static
mkdir -p /var/lib/ktool-2/pods/UID /var/lib/ktool/mine && echo mine >/var/lib/ktool/mine/file
"""

SEEN = r"""
podman ps -a --format '{{.Names}} {{.ID}} {{.Pid}} {{.StartedAt}}' | grep -E 'web_default_12345678|^ktool |^other'
podman pod ps --format '{{.Name}} {{.Status}} {{.ID}}' | grep -E '^(web_default_12345678|other) '
podman network ls --format '{{.Name}}' | grep -x ktool-2
podman volume ls --format '{{.Name}}' | grep -x ktool
nft list table ip ktool-2; nft list table inet ktool
ip -4 route show | grep -E '10.244.200.0|10.78.0.0'
ls -d /var/lib/ktool-2/pods/*; cat /var/lib/ktool/mine/file
"""

REMOVE = """
podman pod rm -f -t 0 web_default_12345678 other; podman rm -f -t 0 ktool; podman network rm ktool-2
podman volume rm ktool
nft delete table ip ktool-2; nft delete table inet ktool; ip route del 10.244.200.0/24; ip route del 10.78.0.0/16
rm -rf /var/lib/ktool-2 /var/lib/ktool/mine
"""


def test_what_others_made_is_left_alone(cluster: Ktool, lab: Lab) -> None:
    """Containers, pods, networks, tables, routes and files with names like ours, and a pod with our labels and another
    cluster's id: through apply, scale, delete, a server's life, and the node's leaving and coming back."""
    node = lab.nodes[0]
    words = {"CLUSTER": str(uuid.uuid4()), "UID": str(uuid.uuid4()), "GATEWAY": lab.nodes[1].address}
    setup = SETUP
    for word, value in words.items():
        setup = setup.replace(word, value)
    on(node, setup)
    try:
        before = on(node, SEEN)
        assert len(before.splitlines()) >= 16, before
        with space(cluster) as namespace:
            web = deployment("web", 3, nodeName=node.name)
            cluster("apply", "-n", namespace, "-f", "-", stdin=documents(web))
            cluster("scale", "deployment/web", "-n", namespace, "--replicas=1")
            with serving(cluster):
                cluster("scale", "deployment/web", "-n", namespace, "--replicas=2")
                cluster("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
                cluster("delete", "pods", "--all", "-n", namespace, "--now")
            assert on(node, SEEN) == before
            assert all(one["metadata"]["namespace"] != "default" for one in cluster.json("get", "pods", "-A")["items"])
        assert on(node, SEEN) == before
        cluster("node", "remove", node.name)
        try:
            assert on(node, SEEN) == before
        finally:
            login = f"{node.user}@{node.address}:{node.port}"
            cluster("node", "add", node.name, login, "--identity", node.identity, "--accept-new-host-keys")
        assert on(node, SEEN) == before
    finally:
        on(node, REMOVE)


def test_a_name_that_is_taken_is_said(cluster: Ktool, lab: Lab) -> None:
    """A network of our name that somebody else made is neither used nor removed."""
    node = lab.nodes[2]
    cluster("node", "remove", node.name)
    on(node, "podman network create --subnet 10.79.0.0/24 ktool >/dev/null")
    login = (f"{node.user}@{node.address}:{node.port}", "--identity", node.identity, "--accept-new-host-keys")
    try:
        cluster("node", "add", node.name, *login)
        with space(cluster) as namespace:
            made: Any = pod("web", script("main", "sleep 1000"), nodeName=node.name)
            late = cluster("apply", "-n", namespace, "--timeout=4s", "-f", "-", stdin=documents(made), status=None)
            assert late.returncode in (1, 6)
            events = json.loads(cluster("get", "events", "-A", "-o", "json").stdout)["items"]
            assert any("Podman network ktool is there and not ours" in one["message"] for one in events)
            assert on(node, "podman network inspect ktool --format '{{(index .Subnets 0).Subnet}}'") == "10.79.0.0/24"
            on(node, "podman network rm ktool")
            cluster("apply", "-n", namespace, "--timeout=60s", "-f", "-", stdin=documents(made))
    finally:
        on(node, "podman network inspect ktool --format '{{.Labels}}' | grep -q ktool.dev || podman network rm ktool")

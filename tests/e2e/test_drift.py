"""`ktool drift` with real harm on a real node: it names each thing, changes nothing and disturbs nobody."""

from __future__ import annotations

import json

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import WEB, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

OWNER = "cat /var/lib/ktool/owner"


def service(name: str) -> dict[str, object]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_drift_names_what_was_done_by_hand_and_the_next_command_repairs_it(cluster: Ktool, lab: Lab) -> None:
    node = lab.nodes[0]
    web = {"name": "main", "image": WEB}
    with space(cluster) as namespace:
        objects = documents(service("web"), *(pod(name, web, nodeName=node.name) for name in ("first", "second")))
        cluster("apply", "-n", namespace, "-f", "-", stdin=objects)
        assert cluster("drift").stdout == "", "nothing has drifted"
        routes = on(node, "ip -4 route show proto 76").splitlines()
        gone = routes[0].split()[0]
        podman = f"podman pod ls -q --filter label=ktool.dev/namespace={namespace} --filter label=ktool.dev/pod="
        on(node, f"ip route delete {gone} proto 76; nft flush ruleset; kill -KILL $(cat /run/ktool/dns/pid)")
        on(node, f"podman pod rm -f -t 0 $({podman}first)")
        labels = {"cluster": on(node, OWNER).split()[0], "namespace": namespace, "pod": "stray", "uid": "stray"}
        marks = " ".join(f"--label ktool.dev/{key}={value}" for key, value in labels.items())
        on(node, f"podman pod create {marks} --name stray")
        before = on(node, OWNER)
        told = cluster("drift", status=1).stdout.splitlines()
        assert told[0].split() == ["NODE", "WHAT", "FOUND", "REPAIR"]
        assert all(line.startswith(node.name) for line in told[1:]), "the other nodes are as desired"
        for words in (
            ("pod network", "the rule that keeps pod addresses is gone"),
            (f"route {gone}", "missing"),
            ("service rules", "missing"),
            ("name server", "not running"),
            (f"pod {namespace}/first", "missing", "will be made and started"),
            (f"pod {namespace}/stray", "extra", "will be stopped and removed"),
        ):
            assert any(all(word in line for word in words) for line in told), (words, told)
        data = json.loads(cluster("drift", node.name, "-o", "json", status=1).stdout)
        assert [one["name"] for one in data["nodes"]] == [node.name] and len(data["nodes"][0]["drift"]) == len(told) - 1
        assert on(node, OWNER) == before, "nothing was claimed"
        assert len(on(node, "ip -4 route show proto 76").splitlines()) == len(routes) - 1, "nothing was repaired"

        cluster("apply", "-n", namespace, "-f", "-", stdin=objects)
        until(lambda: cluster("drift", status=None).returncode == 0, 20)
        assert "stray" not in on(node, "podman pod ls --format '{{.Name}}'")


def test_a_server_goes_on_while_somebody_looks(cluster: Ktool, lab: Lab) -> None:
    with serving(cluster):
        session = until(lambda: _claimed(cluster, lab), 20)
        until(lambda: cluster("drift", status=None).returncode == 0, 20)
        assert _claimed(cluster, lab) == session, "its connections are the same"
        assert cluster("drift", "nobody", status=1).stderr.strip().endswith('nodes "nobody" not found')


def _claimed(cluster: Ktool, lab: Lab) -> list[str]:
    """The owner of each node, once all are claimed by connections that live; [] before that."""
    alive = f"read -r a b pid d </var/lib/ktool/owner; [ -d /proc/$pid ] && {OWNER} || :"
    found = [on(node, alive) for node in lab.nodes]
    return found if all(found) else []

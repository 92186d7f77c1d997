"""Rollouts on real nodes: back to what ran before although its tag was moved, restarts by configuration, the plan, a
node that is lost on the way."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool
from tests.e2e.support import SLEEP, config, documents, space

pytestmark = pytest.mark.podman

_TYPES = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def place(cluster: Ktool) -> Iterator[str]:
    with space(cluster) as name:
        yield name


class Tag:
    """A tag in the lab's registry that is moved from image to image."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._registry, self._name = lab.registry, name
        self.image = f"registry.lab/web:{name}"

    def move(self, to: str) -> str:
        """Let it name what another tag names; the digest of that."""
        connection = http.client.HTTPConnection(self._registry, timeout=10)
        connection.request("GET", f"/v2/web/manifests/{to}", headers={"Accept": _TYPES})
        answer = connection.getresponse()
        digest, manifest = answer.headers["Docker-Content-Digest"], answer.read()
        headers = {"Content-Type": answer.headers["Content-Type"]}
        connection.request("PUT", f"/v2/web/manifests/{self._name}", body=manifest, headers=headers)
        assert connection.getresponse().status == 201
        connection.close()
        return digest


def web(name: str, image: str, replicas: int = 2, **fields: Any) -> dict[str, Any]:
    container = {"name": "web", "image": image, "imagePullPolicy": "Always", **fields}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


CRASHES = ["sh", "-c", "echo the disk is on fire >&2; exit 7"]


def test_a_rollback_brings_back_what_ran_although_its_tag_was_moved(cluster: Ktool, place: str, lab: Lab) -> None:
    tag = Tag(lab, "moving")
    first = tag.move("v1")
    good = web("back", tag.image)
    good["metadata"]["annotations"] = {"ktool.dev/rollback-on-failure": "true"}
    cluster("apply", "-n", place, "-f", "-", stdin=documents(good))
    (rs,) = cluster.json("get", "rs", "-n", place, "-l", "app=back")["items"]
    assert json.loads(rs["metadata"]["annotations"]["ktool.dev/images"]) == {tag.image: f"registry.lab/web@{first}"}

    tag.move("v2")
    bad = json.loads(json.dumps(good))
    bad["spec"]["template"]["spec"]["containers"][0]["command"] = CRASHES
    done = cluster("apply", "-n", place, "-f", "-", "--timeout=60s", stdin=documents(bad), status=3)
    assert "deployment.apps/back was rolled back: revision 1 is back: " in done.stderr
    for said in ("CrashLoopBackOff", "exit code 7", "the disk is on fire"):
        assert said in done.stderr

    cluster("scale", "deploy/back", "-n", place, "--replicas=3")
    pods = [pod for pod in cluster.pods(place) if pod["metadata"]["labels"]["app"] == "back"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["status"]["containerStatuses"][0]["imageID"] == f"registry.lab/web@{first}"
    newest = max(pods, key=lambda pod: pod["status"]["startTime"])["metadata"]["name"]
    said = cluster("exec", "-n", place, newest, "--", "sh", "-c", "echo $VERSION").stdout
    assert said == "v1\n", "the new pod, too"


def test_a_host_port_that_a_program_on_the_node_holds_is_said_at_once(cluster: Ktool, place: str, lab: Lab) -> None:
    port = int(lab.nodes[0].port)  # sshd listens there
    obj = web("taken", "registry.lab/web:v1", 1, command=SLEEP, ports=[{"containerPort": 8080, "hostPort": port}])
    obj["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": lab.nodes[0].name}
    done = cluster("apply", "-n", place, "-f", "-", "--timeout=40s", stdin=documents(obj), status=1)
    assert "port in use" in done.stderr, done.stderr
    assert "timed out" not in done.stderr
    cluster("delete", "deploy/taken", "-n", place)


def test_the_plan_comes_true_and_a_changed_config_map_rolls_the_pods_that_read_it(cluster: Ktool, place: str) -> None:
    """The nodes that the plan names for new pods are those on which they start."""
    obj = web("reader", "registry.lab/web:v1", envFrom=[{"configMapRef": {"name": "settings"}}])
    obj["metadata"]["annotations"] = {"ktool.dev/restart-on-config-change": "true"}
    text = documents(config("settings", COLOUR="blue"), obj)
    planned = cluster("apply", "-n", place, "-f", "-", "--dry-run=server", stdin=text).stdout
    (nodes,) = re.findall(r"start 2 pods of reader-\w+ on (.*)", planned)
    cluster("apply", "-n", place, "-f", "-", stdin=text)
    assert sorted(nodes.split(", ")) == sorted(pod["spec"]["nodeName"] for pod in _pods(cluster, place))
    assert cluster("diff", "-n", place, "-f", "-", stdin=text).stdout == ""

    red = documents(config("settings", COLOUR="red"))
    planned = cluster("apply", "-n", place, "-f", "-", "--dry-run=server", stdin=red).stdout
    assert "deployment.apps/reader would go this way (at most 3 pods, at least 2 available):\n" in planned
    cluster("apply", "-n", place, "-f", "-", stdin=red)
    assert cluster("exec", "-n", place, "deploy/reader", "--", "sh", "-c", "echo $COLOUR").stdout == "red\n"
    assert len(_pods(cluster, place)) == 2


def _pods(cluster: Ktool, place: str) -> list[Any]:
    return [pod for pod in cluster.pods(place) if pod["metadata"]["labels"]["app"] == "reader"]

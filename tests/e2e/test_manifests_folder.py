"""Every example folder in manifests/ does what it says when it is applied."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool
from tests.e2e.nodes import look, settled

pytestmark = pytest.mark.podman

MANIFESTS = Path(__file__).parents[2] / "manifests"
FOLDERS = sorted(folder.name for folder in MANIFESTS.iterdir() if folder.name != "guestbook")
"""test_guestbook.py has that one."""


def check_features(ktool: Ktool, pods: list[Any]) -> None:
    script = """
        id -u; id -g; id -G
        grep db.example /etc/hosts
        cat /work/order /etc/app.conf
        echo "$SUMMARY on $NODE_NAME at $POD_IP, app $APP, $MEMORY_MIB MiB"
        cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null
        grep CapEff /proc/self/status
        echo written > /scratch/file && cat /scratch/file
        touch /file 2>/dev/null || echo root is read-only
        touch /work/file 2>/dev/null || echo work is read-only
        wget -qO- http://localhost:8080/
    """
    (pod,) = pods
    told = ktool("exec", "-n", "features", "tour", "--", "sh", "-c", script).stdout.splitlines()
    assert [line.replace("\t", " ") for line in told] == [
        "1000",
        "1000",
        "1000 2000",
        "10.0.0.10 db.example",
        "first",
        "second",
        "colour = blue",
        f"tour is blue on {pod['spec']['nodeName']} at {pod['status']['podIP']}, app tour, 64 MiB",
        str(64 * 1024 * 1024),
        "CapEff: 0000000000000000",
        "written",
        "root is read-only",
        "work is read-only",
        "v1 tour",
    ]


def check_scheduling(ktool: Ktool, pods: list[Any]) -> None:
    by_app: dict[str, Counter[str]] = {}
    for pod in pods:
        by_app.setdefault(pod["metadata"]["labels"]["app"], Counter())[pod["spec"]["nodeName"]] += 1
    assert sorted(by_app["store"].values()) == [1, 1]
    assert set(by_app["near"]) <= set(by_app["store"]) and by_app["near"].total() == 2
    assert sorted(by_app["spread"].values()) == [1, 1, 2]


CHECKS = {"features": check_features, "scheduling": check_scheduling}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder(cluster: Ktool, lab: Lab, folder: str) -> None:
    path = str(MANIFESTS / folder)
    try:
        created = cluster("apply", "-f", path).stdout.splitlines()
        assert all(line.endswith(" created") for line in created)
        pods = cluster.pods(folder)
        settled(look(lab), pods, cluster.json("get", "pods", "-A")["items"])
        CHECKS[folder](cluster, pods)
        again = cluster("apply", "-f", path).stdout.splitlines()
        assert again == [line.replace(" created", " unchanged") for line in created]
    finally:
        cluster("delete", "-f", path, "--ignore-not-found")
    left = look(lab).of({folder})
    assert (left.pods, left.containers) == ((), ())

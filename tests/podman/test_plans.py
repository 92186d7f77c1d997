"""Plans and statuses against real Podman: what the pure models assume about it is true."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ktool.api.obj import get, put
from ktool.logic.node.nodeaction import Failure, NodeAction
from ktool.logic.plan import nodeplan
from ktool.logic.pod import podstatus
from ktool.logic.pod.context import Context
from tests.podman.support import SUBNETS, Node, pod

pytestmark = pytest.mark.podman


class Loop:
    """The least node loop: observe, report, plan, act."""

    def __init__(self, node: Node, *pods: dict[str, Any]) -> None:
        self.node = node
        self.obj = {
            "metadata": {"name": node.machine.name},
            "spec": {"podCIDR": SUBNETS[0]},
            "status": {"addresses": [{"type": "InternalIP", "address": node.machine.address}]},
        }
        self.pods = {pod["metadata"]["uid"]: pod for pod in pods}
        self.failures: dict[tuple[str, str], Failure] = {}
        self.addresses: dict[str, str] = {}

    def step(self, limit: int = 10**6) -> list[NodeAction]:
        """One pass with at most `limit` actions; what was done."""
        facts = self.node.runtime.observe()
        result = nodeplan.plan(
            list(self.pods.values()),
            facts,
            Context(self.obj, self.node.cluster, self.failures, lambda ref: None, time.time()),
            nodeplan.Underway(addresses=self.addresses),
        )
        assert not result.setup and not result.problems
        seen = {fact.uid: fact for fact in facts.pods}
        for uid, obj in self.pods.items():
            status = podstatus.status(obj, seen.get(uid), node=self.obj, failures=self.failures, now=time.time())
            self.pods[uid] = put(obj, "status", status)
        self.addresses |= result.addresses
        for gone in result.gone:
            self.pods.pop(gone.uid)
        actions = [action for lane in result.lanes for action in lane.actions][:limit]
        for action in actions:
            outcome = self.node.runtime.perform(action)
            assert outcome.failure is None, outcome.failure
        return actions

    def settle(self, timeout: float = 30.0) -> None:
        """Until every pod runs or has ended, and nothing is left to do."""
        deadline = time.monotonic() + timeout
        while self.step() or any(get(p, "status", "phase") == "Pending" for p in self.pods.values()):
            assert time.monotonic() < deadline, self.pods
            time.sleep(0.1)

    def status(self, uid: str, group: str = "containerStatuses") -> dict[str, Any]:
        found: dict[str, Any] = self.pods[uid]["status"][group][0]
        return found


def sh(name: str, script: str) -> dict[str, Any]:
    return {"name": name, "command": ["/bin/sh", "-c", script]}


def test_a_lane_cut_off_after_each_action_is_carried_on(node: Node) -> None:
    made = pod("cut", sh("web", "sleep 600"), sh("side", "sleep 600"), initContainers=[])
    made["spec"]["initContainers"] = [{**sh("first", "true"), "image": made["spec"]["containers"][0]["image"]}]
    loop = Loop(node, made)
    uid = made["metadata"]["uid"]
    for cut in range(1, 9):  # a control plane that is killed a little later each time
        loop.step(limit=cut)
    loop.settle()
    loop.step()
    status = loop.pods[uid]["status"]
    assert [entry["ready"] for entry in status["containerStatuses"]] == [True, True], status
    assert get(loop.status(uid, "initContainerStatuses"), "state", "terminated", "exitCode") == 0
    assert [found.name for found in node.fact(uid).containers].count("web") == 1


def test_the_life_of_a_pod_with_a_reboot_a_removal_and_an_end(node: Node) -> None:
    made = pod("life", sh("web", "exec sleep 600"), sh("side", "exec sleep 600"), terminationGracePeriodSeconds=1)
    loop = Loop(node, made)
    uid = made["metadata"]["uid"]
    loop.settle()
    first = loop.status(uid)
    node.shell(f"podman pod kill life_default_{uid[:8]}")  # what a reboot leaves: everything has ended
    loop.settle()
    fact = node.fact(uid)
    assert fact.infra == "running" and {found.state for found in fact.containers} == {"running"}
    loop.step()
    assert loop.status(uid)["restartCount"] == 1 and loop.status(uid)["containerID"] == first["containerID"]
    node.shell(f"podman rm -f -t 0 web_life_default_{uid[:8]}")
    loop.settle()
    loop.step()
    assert loop.status(uid)["restartCount"] == 2 and loop.status(uid)["ready"]
    assert loop.pods[uid]["status"]["containerStatuses"][1]["restartCount"] == 1
    meta = {**loop.pods[uid]["metadata"], "deletionTimestamp": "x", "deletionGracePeriodSeconds": 1}
    loop.pods[uid] = put(loop.pods[uid], "metadata", meta)
    loop.settle()
    assert not loop.pods and not node.runtime.observe().pods


@pytest.mark.slow
def test_a_crash_loop_is_slowed_down_and_keeps_its_exit_code(node: Node) -> None:
    made = pod("crash", sh("web", "sleep 0.5; exit 3"), terminationGracePeriodSeconds=1)
    loop = Loop(node, made)
    uid = made["metadata"]["uid"]
    waits: dict[str, int] = {}
    deadline = time.monotonic() + 60
    while len(waits) < 3:
        assert time.monotonic() < deadline, (waits, loop.pods)
        loop.step()
        entry = loop.pods[uid]["status"]["containerStatuses"][0]
        if get(entry, "state", "waiting", "reason") == "CrashLoopBackOff":
            assert entry["restartCount"] >= 3
            waits[entry["state"]["waiting"]["message"].split()[1]] = get(entry, "lastState", "terminated", "exitCode")
        time.sleep(0.2)
    assert list(waits) == ["10s", "20s", "40s"]
    assert [waits["10s"], waits["20s"]] == [3, 3]


def test_command_and_args_in_all_four_ways(node: Node) -> None:
    node.shell(
        "podman create --name combine registry.lab/web:v1 &&"
        ' podman commit -q --change \'ENTRYPOINT ["/bin/echo","entry"]\' --change \'CMD ["cmd"]\''
        " combine localhost/combine:v1; podman rm combine"
    )
    image = {"image": "localhost/combine:v1"}
    made = pod(
        "combine",
        {"name": "neither", **image},
        {"name": "command", "command": ["/bin/echo", "own"], **image},
        {"name": "args", "args": ["given"], **image},
        {"name": "both", "command": ["/bin/echo", "own"], "args": ["given"], **image},
        restartPolicy="Never",
    )
    loop = Loop(node, made)
    try:
        loop.settle()
        uid = made["metadata"]["uid"]
        said = node.shell(f"for c in neither command args both; do podman logs ${{c}}_combine_default_{uid[:8]}; done")
        assert said.split("\n")[:4] == ["entry cmd", "own", "entry given", "own given"]
        deadline = time.monotonic() + 10
        while loop.pods[uid]["status"]["phase"] != "Succeeded":
            assert time.monotonic() < deadline
            loop.step()
    finally:
        node.clean()
        node.shell("podman rmi -f localhost/combine:v1")


def test_limits_reach_the_cgroup(node: Node) -> None:
    resources = {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    made = pod("limits", {"name": "web", "resources": resources})
    loop = Loop(node, made)
    loop.settle()
    uid = made["metadata"]["uid"]
    form = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuShares}}"
    said = node.shell(f"podman inspect -f '{form}' web_limits_default_{uid[:8]}")
    assert said.split() == ["67108864", "67108864", "50000", "256"]

"""Drift in words: each thing that is not as desired is named once, with what the next pass does about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from ktool.api.obj import Obj
from ktool.logic.network.links import Links, Route
from ktool.logic.node.nodeaction import ContainerFact, NodeFacts, PodFact, SetLinks, SetRules, SetZone
from ktool.logic.plan import netplan
from ktool.logic.plan.driftwords import Drift, told
from ktool.logic.plan.nodeplan import NodePlan, plan
from ktool.logic.pod.context import Context
from tests.logic import test_golden_nodeplan as golden
from tests.logic.nodemodel import NODE, pod

LINKS = Links((Route("10.244.2.0/24", "192.0.2.2"), Route("10.244.3.0/24", "192.0.2.3")))
SETTINGS = (SetLinks(LINKS), SetRules("text", "r1"), SetZone("hosts", "config", "z1"))
WEB = ContainerFact("web", "c-web", "running", image="registry.test/web:v1", started_at=1.0)
ON_NODE = PodFact("uid-web", "default", "web", "p-web", "h", "10.244.1.5", "running", (WEB,))
RIGHT = NodeFacts(pods=(ON_NODE,), links=LINKS, network="10.244.1.0/24", rules="r1", zone="z1")
NOW = 1_700_000_000.0


CONTEXT: dict[str, Any] = {"node": NODE, "cluster": "c1", "failures": {}, "lookup": lambda ref: None, "now": NOW}


def planned(pods: list[Obj], facts: NodeFacts, **more: Any) -> NodePlan:
    return plan(pods, facts, Context(**{**CONTEXT, **more}))


def drift(facts: NodeFacts, *pods: Obj, **more: Any) -> list[Drift]:
    have = netplan.seen(facts)
    due = netplan.refresh(SETTINGS, have, {}, NOW).settings
    return told(pods, facts, planned([*pods], facts, **more), due, have)


def lines(found: list[Drift]) -> list[str]:
    return [f"{one.what}: {one.found} -> {one.repair}" for one in found]


def container(**fields: Any) -> NodeFacts:
    return replace(RIGHT, pods=(replace(ON_NODE, containers=(replace(WEB, **fields),)),))


POD = "pod default/web"
RUNNING = {"state": {"running": {"startedAt": "2023-11-14T20:00:00Z"}}}
SEEN = {**pod("web"), "status": {"containerStatuses": [{"name": "web", "containerID": "podman://c-web", **RUNNING}]}}
DELETED = {**pod("web"), "metadata": {**pod("web")["metadata"], "deletionTimestamp": "2023-11-14T20:00:00Z"}}


@pytest.mark.parametrize(
    ("facts", "pods", "expected"),
    [
        pytest.param(RIGHT, [pod("web")], [], id="as-desired"),
        pytest.param(
            replace(RIGHT, pods=()), [pod("web")], [f"{POD}: missing -> will be made and started"], id="pod-gone"
        ),
        pytest.param(RIGHT, [], [f"{POD}: extra -> will be stopped and removed"], id="extra-pod"),
        pytest.param(
            RIGHT,
            [DELETED],
            [f"{POD}: still there, and to be deleted -> will be stopped and removed"],
            id="to-be-deleted",
        ),
        pytest.param(
            replace(RIGHT, volumes={"uid-x": {"tmp": "h"}}),
            [pod("web")],
            ["files of pod of uid uid-x: left over -> will be removed"],
            id="files-left",
        ),
        pytest.param(
            container(state="exited", exit_code=3, finished_at=NOW - 500),
            [SEEN],
            [f"container web of {POD}: exited with 3 -> will be started"],
            id="container-exited",
        ),
        pytest.param(
            container(state="exited", exit_code=1, finished_at=NOW - 1),
            [SEEN],
            [f"{POD}: container web waits until it is started again -> will be carried on when it is due"],
            id="container-backs-off",
        ),
        pytest.param(
            replace(RIGHT, pods=(replace(ON_NODE, containers=()),)),
            [pod("web")],
            [f"container web of {POD}: missing -> will be made and started"],
            id="container-gone",
        ),
        pytest.param(
            container(image="registry.test/web:v0"),
            [pod("web")],
            [f"container web of {POD}: outdated (image registry.test/web:v0) -> will be made anew"],
            id="other-image",
        ),
        pytest.param(
            replace(RIGHT, pods=(replace(ON_NODE, infra=""),)),
            [pod("web")],
            [f"{POD}: broken (its infra container is gone) -> will be removed and made again"],
            id="infra-gone",
        ),
        pytest.param(
            replace(RIGHT, pods=(replace(ON_NODE, infra="exited", containers=(replace(WEB, state="exited"),)),)),
            [SEEN],
            [f"container web of {POD}: exited with 0 -> will be started"],
            id="after-a-boot",
        ),
        pytest.param(
            replace(RIGHT, pods=()),
            [pod("web", volumes=[{"name": "conf", "configMap": {"name": "settings"}}])],
            [
                f'{POD}: cannot be made: MountVolume.SetUp failed for volume "conf" : configmap "settings" not found'
                " -> will be made when that is mended"
            ],
            id="configmap-missing",
        ),
        pytest.param(
            replace(RIGHT, links=Links((Route("10.244.2.0/24", "192.0.2.9"), Route("10.244.9.0/24", "192.0.2.2")))),
            [pod("web")],
            [
                "route 10.244.2.0/24: leads to 192.0.2.9 -> will be set via 192.0.2.2",
                "route 10.244.3.0/24: missing -> will be set via 192.0.2.3",
                "route 10.244.9.0/24: not wanted (via 192.0.2.2) -> will be removed",
            ],
            id="routes",
        ),
        pytest.param(
            replace(RIGHT, network="", network_trouble="IP forwarding is off"),
            [pod("web")],
            ["pod network 10.244.1.0/24: IP forwarding is off -> will be made as it should be"],
            id="forwarding",
        ),
        pytest.param(
            replace(RIGHT, network="10.244.7.0/24"),
            [pod("web")],
            ["pod network 10.244.1.0/24: has the subnet 10.244.7.0/24 -> will be made as it should be"],
            id="another-subnet",
        ),
        pytest.param(
            replace(RIGHT, rules="", zone="old"),
            [pod("web")],
            [
                "service rules: missing, or without effect -> will be written",
                "name server: outdated -> will be brought up to date",
            ],
            id="flushed-and-outdated",
        ),
        pytest.param(
            replace(RIGHT, zone=""), [pod("web")], ["name server: not running -> will be started"], id="server-killed"
        ),
    ],
)
def test_each_thing_is_named_with_its_repair(facts: NodeFacts, pods: list[Obj], expected: list[str]) -> None:
    assert lines(drift(facts, *pods)) == expected


def test_a_pod_on_a_node_without_a_subnet_is_named() -> None:
    node = {**NODE, "spec": {}}
    found = drift(replace(RIGHT, network="", pods=()), pod("web"), node=node)
    assert lines(found) == [f"{POD}: the node has no podCIDR yet -> will be carried on when it is due"]


@pytest.mark.parametrize("path", golden.CASES)
def test_drift_is_named_exactly_where_a_plan_would_do_something(path: Any) -> None:
    given = yaml.safe_load(path.read_text())["given"]
    facts, pods = golden.facts(given.get("facts", {})), golden.pods(given.get("pods", []))
    made = planned(pods, facts, node=given.get("node", NODE))
    busy = bool(made.setup or made.lanes or made.waiting or made.problems)
    assert bool(told(pods, facts, made, (), {})) == busy

"""Real packets between pods on two nodes."""

from __future__ import annotations

import pytest

from ktool.logic.network.links import Links, Route
from ktool.logic.node.nodeaction import EnsureNetwork, Outcome, SetLinks
from tests.podman.support import SUBNETS, Node, done, pod, until

pytestmark = pytest.mark.podman


def set_routes(node: Node, *routes: tuple[str, str]) -> Outcome:
    return node.runtime.perform(SetLinks(Links(tuple(Route(*route) for route in routes))))


def routes_of(node: Node) -> list[tuple[str, str]]:
    return [(route.subnet, route.via) for route in node.runtime.observe().links.routes]


def test_a_pod_reaches_a_pod_on_another_node_and_keeps_its_address(nodes: list[Node]) -> None:
    first, second = nodes
    try:
        here = first.run(pod("a"), "10.244.101.30").containers[0].id
        there = second.run(pod("b"), "10.244.102.30").containers[0].id
        assert until(lambda: first.exec(here, "wget", "-qO-", "http://10.244.102.30:8080/"))[1] == b"v1 b\n"
        for node, own, target, source in (
            (first, here, "10.244.102.30", "10.244.101.30"),
            (second, there, "10.244.101.30", "10.244.102.30"),
        ):
            seen = node.exec(own, "wget", "-qO-", f"http://{target}:8080/client")[1]
            assert seen == f"{source}\n".encode(), "the server sees the calling pod, not its node"
    finally:
        for node in nodes:
            node.clean()


def test_only_our_routes_are_changed(node: Node, nodes: list[Node]) -> None:
    other = nodes[1].machine.address
    node.shell(f"ip route add 198.51.100.0/24 via {other}")
    try:
        wanted = ((SUBNETS[1], other), ("10.244.103.0/24", other))
        done(set_routes(node, *wanted))
        assert routes_of(node) == sorted(wanted)
        done(set_routes(node, (SUBNETS[1], other)))
        assert routes_of(node) == [(SUBNETS[1], other)]
        assert "198.51.100.0/24" in node.shell("ip route")
    finally:
        node.shell("ip route delete 198.51.100.0/24")


def test_a_gateway_nobody_reaches_is_a_failure_that_says_so(node: Node, nodes: list[Node]) -> None:
    good = (SUBNETS[1], nodes[1].machine.address)
    failure = set_routes(node, ("10.244.104.0/24", "192.0.2.77"), good).failure
    assert failure is not None and "gateway" in failure.message
    assert "hostgw needs nodes that share a link, and 192.0.2.77 is on no link" in failure.message
    assert routes_of(node) == [good]


@pytest.mark.parametrize("bad", ["10.244.104.0/24; rm -rf /", "x", "10.244.104.1/24"])
def test_a_route_that_is_no_route_never_reaches_the_node(node: Node, bad: str) -> None:
    failure = set_routes(node, (bad, "10.0.0.1")).failure
    assert failure is not None and bad.split("/")[0] in failure.message


@pytest.mark.parametrize(
    "harm", ["nft flush ruleset", "echo 0 >/proc/sys/net/ipv4/ip_forward"], ids=["firewall-reload", "forwarding-off"]
)
def test_damage_is_seen_and_repaired(node: Node, harm: str) -> None:
    assert node.runtime.observe().network == SUBNETS[0]
    node.shell(harm)
    node.runtime._unsettle()
    assert node.runtime.observe().network == ""
    done(node.runtime.perform(EnsureNetwork(SUBNETS[0])))
    assert node.runtime.observe().network == SUBNETS[0]


def test_another_subnet_is_taken_only_while_no_pod_uses_the_old_one(node: Node) -> None:
    fact = node.run(pod("user"), "10.244.101.31")
    failure = node.runtime.perform(EnsureNetwork("10.244.111.0/24")).failure
    assert failure is not None and failure.reason == "NetworkNotReady"
    assert node.runtime.observe().network == SUBNETS[0]
    node.remove(fact)
    done(node.runtime.perform(EnsureNetwork("10.244.111.0/24")))
    assert node.runtime.observe().network == "10.244.111.0/24"
    done(node.runtime.perform(EnsureNetwork(SUBNETS[0])))

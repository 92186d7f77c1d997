"""Tunnels between two real nodes: packets of full size, nothing lost when part of it is taken away, nothing left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.api.obj import put
from ktool.logic.network.links import HOSTGW, VXLAN, WIREGUARD, announced, has_switched, links
from ktool.logic.node.nodeaction import NodeFacts, SetLinks
from tests.podman.support import SUBNETS, Node, done, pod, until

pytestmark = pytest.mark.podman

A, B = "10.244.101.40", "10.244.102.40"
MEGABYTE = 1_000_000


class Pair:
    """Two nodes that do what logic/network/links says of them, and tell each other what they have."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.mode = HOSTGW
        self.objects: list[dict[str, Any]] = [
            {
                "metadata": {"name": node.machine.name},
                "spec": {"podCIDR": subnet},
                "status": {"addresses": [{"type": "InternalIP", "address": node.machine.address}]},
            }
            for node, subnet in zip(nodes, SUBNETS, strict=True)
        ]

    def facts(self, index: int) -> NodeFacts:
        self.nodes[index].runtime._unsettle()
        return self.nodes[index].runtime.observe()

    def step(self, index: int) -> bool:
        """One pass over a node; whether there was something to do."""
        facts = self.facts(index)
        notes = {key: value for key, value in announced(facts.links, facts.key, facts.met).items() if value is not None}
        before, self.objects[index] = self.objects[index], put(self.objects[index], "metadata", "annotations", notes)
        wanted = links(self.objects[index], self.objects, self.mode)
        if facts.links == wanted:
            return self.objects[index] != before
        done(self.nodes[index].runtime.perform(SetLinks(wanted)))
        return True

    def set(self, mode: str) -> None:
        self.mode = mode
        until(self.settled, 20)

    def settled(self) -> bool:
        """Whether both had nothing to do, and send by this mode."""
        busy = [self.step(0), self.step(1)]
        return not any(busy) and all(has_switched(one, self.objects, self.mode) for one in self.objects)


@pytest.fixture(scope="module")
def pair(nodes: list[Node]) -> Iterator[Pair]:
    found = Pair(nodes)
    found.set(HOSTGW)
    yield found
    found.set(HOSTGW)


@pytest.fixture(scope="module")
def pods(pair: Pair) -> Iterator[list[str]]:
    """A pod on each node; their containers."""
    made = [node.run(pod(f"p{i}"), ip) for i, (node, ip) in enumerate(zip(pair.nodes, (A, B), strict=True))]
    yield [fact.containers[0].id for fact in made]
    for node in pair.nodes:
        node.clean()


RECEIVE = "rm -f /tmp/n; (sleep 60 | nc -l -p 9000 | wc -c >/tmp/n) >/dev/null 2>&1 &"
LISTENS = "grep -q :2328 /proc/net/tcp /proc/net/tcp6"  # 9000


def talk(pair: Pair, pods: list[str]) -> None:
    """Each pod asks the other one, which sees who asks, and sends it more than fits into a packet."""
    send(pair, pods, 0, A, 1, B)
    send(pair, pods, 1, B, 0, A)


def send(pair: Pair, pods: list[str], here: int, ip: str, there: int, other: str) -> None:
    def asks(node: int, *words: str) -> tuple[int, bytes]:
        return pair.nodes[node].exec(pods[node], *words)[:2]

    assert until(lambda: asks(here, "wget", "-qO-", f"http://{other}:8080/client")[1], 10) == f"{ip}\n".encode()
    asks(there, "sh", "-c", RECEIVE)
    until(lambda: asks(there, "sh", "-c", LISTENS)[0] == 0, 5)
    asks(here, "sh", "-c", f"head -c {MEGABYTE} /dev/zero | nc {other} 9000")
    assert until(lambda: asks(there, "cat", "/tmp/n")[1].strip(), 10) == b"%d" % MEGABYTE


HARM = {
    VXLAN: (
        "ip link delete ktool-vxlan",
        "bridge fdb delete $(bridge fdb show dev ktool-vxlan | head -1 | cut -d' ' -f1) dev ktool-vxlan; ip -4 neigh "
        "flush dev ktool-vxlan nud permanent",
        "ip link set ktool-vxlan mtu 1400; ip address flush dev ktool-vxlan; ip -4 route flush proto 76",
    ),
    WIREGUARD: (
        "ip link delete ktool-wg",
        "pkill -x wireguard-go",
        "wg set ktool-wg listen-port 7 peer $(wg show ktool-wg peers) remove",
    ),
}


@pytest.mark.parametrize(("mode", "device", "mtu"), [(VXLAN, "ktool-vxlan", 1450), (WIREGUARD, "ktool-wg", 1420)])
def test_a_tunnel_carries_everything_and_is_repaired(
    pair: Pair, pods: list[str], mode: str, device: str, mtu: int
) -> None:
    node = pair.nodes[0]
    pair.set(mode)
    assert f"mtu {mtu} " in node.shell(f"ip link show {device}")
    assert f"dev {device}" in node.shell(f"ip route get {B}")
    talk(pair, pods)
    for harm in HARM[mode]:
        node.shell(harm)
        until(lambda: pair.facts(0).links != links(pair.objects[0], pair.objects, mode), 5)
        pair.set(mode)
        send(pair, pods, 0, A, 1, B)


def test_the_private_key_stays_and_goes_with_the_mode(pair: Pair, pods: list[str]) -> None:
    node, file = pair.nodes[0], "/var/lib/ktool/wireguard.key"
    pair.set(WIREGUARD)
    assert node.shell(f"stat -c '%a %U' {file}") == "600 root\n"
    private = node.shell(f"cat {file}").strip()
    facts = pair.facts(0)
    assert len(private) == 44 and private not in repr(facts) and private != facts.key
    assert node.shell(f"wg pubkey <{file}").strip() == facts.key
    before = time.monotonic()
    pair.set(VXLAN)
    send(pair, pods, 1, B, 0, A)
    assert time.monotonic() - before < 10
    pair.set(HOSTGW)
    send(pair, pods, 0, A, 1, B)
    left = "ls /var/lib/ktool | grep wireguard; ip -o link | grep -E 'ktool-(vxlan|wg)'; pgrep -x wireguard-go; true"
    for node in pair.nodes:
        until(lambda node=node: node.shell(left) == "", 5)

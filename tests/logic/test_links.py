"""What each node should have to reach the others, and that a change of the mode never leaves a pair without a way."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.marks import MTU, NETWORK, WIREGUARD_KEY, WIREGUARD_PEERS
from ktool.api.obj import put
from ktool.logic.network.links import (
    HOSTGW,
    MODES,
    VXLAN,
    VXLAN_DEVICE,
    WIREGUARD,
    WIREGUARD_DEVICE,
    Links,
    Route,
    Vxlan,
    WireGuard,
    announced,
    differences,
    has_switched,
    links,
    mode_of,
    said,
    told_of,
)
from tests.logic.test_nodefields import node


def key(name: str) -> str:
    return base64.b64encode(name.encode().ljust(32, b"-")).decode()


def told(obj: dict[str, Any], **notes: str | None) -> dict[str, Any]:
    """The node with annotations set, or taken away."""
    have = {**obj["metadata"].get("annotations", {}), **notes}
    return put(obj, "metadata", "annotations", {name: value for name, value in have.items() if value is not None})


A = node("a", "10.244.0.0/24", "192.0.2.1")
B = node("b", "10.244.1.0/24", "192.0.2.2")
NEW = "sends=none takes=hostgw"
OVER_B = Route("10.244.1.0/24", "192.0.2.2")
TUNNEL_B = Route("10.244.1.0/24", "10.244.1.0", VXLAN_DEVICE)
SECRET_B = Route("10.244.1.0/24", "", WIREGUARD_DEVICE)
DEVICE = Vxlan(
    "10.244.0.0", "192.0.2.1", "0e:4c:0a:f4:00:00", 1450, (("10.244.1.0", "0e:4c:0a:f4:01:00", "192.0.2.2"),)
)
WG_A = {WIREGUARD_KEY: key("a"), WIREGUARD_PEERS: key("b")[:8], NETWORK: "sends=hostgw takes=hostgw,wireguard"}
WG_B = {WIREGUARD_KEY: key("b"), WIREGUARD_PEERS: key("a")[:8], NETWORK: "sends=hostgw takes=hostgw,wireguard"}
SECRET = WireGuard("10.244.0.0", 1420, ((key("b"), "192.0.2.2", "10.244.1.0/24"),))


@pytest.mark.parametrize(
    ("own", "other", "mode", "expected"),
    [
        pytest.param({}, {}, HOSTGW, Links((OVER_B,)), id="hostgw"),
        pytest.param({}, {}, VXLAN, Links((TUNNEL_B,), DEVICE), id="vxlan-nobody-knows-better"),
        pytest.param(
            {}, {NETWORK: "sends=hostgw takes=hostgw"}, VXLAN, Links((OVER_B,), DEVICE), id="vxlan-not-there-yet"
        ),
        pytest.param({}, {NETWORK: NEW}, VXLAN, Links((), DEVICE), id="vxlan-a-new-node"),
        pytest.param(
            {}, {NETWORK: "sends=hostgw takes=hostgw,vxlan"}, VXLAN, Links((TUNNEL_B,), DEVICE), id="vxlan-there"
        ),
        pytest.param(
            {}, {NETWORK: "sends=vxlan takes=hostgw,vxlan"}, HOSTGW, Links((OVER_B,), DEVICE), id="back-but-it-is-used"
        ),
        pytest.param({}, {NETWORK: "sends=hostgw takes=hostgw,vxlan"}, HOSTGW, Links((OVER_B,)), id="back"),
        pytest.param(WG_A, WG_B, WIREGUARD, Links((SECRET_B,), None, SECRET), id="wireguard"),
        pytest.param(
            {}, {NETWORK: NEW}, WIREGUARD, Links((), None, replace(SECRET, peers=())), id="wireguard-never-in-the-clear"
        ),
        pytest.param(
            WG_A,
            {**WG_B, WIREGUARD_PEERS: key("c")[:8]},
            WIREGUARD,
            Links((OVER_B,), None, SECRET),
            id="wireguard-not-known",
        ),
        pytest.param(
            WG_A,
            {**WG_B, WIREGUARD_PEERS: None, NETWORK: "sends=vxlan takes=hostgw,vxlan"},
            WIREGUARD,
            Links((TUNNEL_B,), DEVICE, SECRET),
            id="from-vxlan-to-wireguard",
        ),
        pytest.param(
            WG_A,
            {**WG_B, WIREGUARD_KEY: "$(reboot)"},
            WIREGUARD,
            Links((OVER_B,), None, replace(SECRET, peers=())),
            id="no-key",
        ),
        pytest.param({MTU: "9000"}, {MTU: "1400"}, VXLAN, Links((TUNNEL_B,), replace(DEVICE, mtu=1350)), id="mtu"),
        pytest.param({MTU: "9000"}, {MTU: "9000"}, VXLAN, Links((TUNNEL_B,), replace(DEVICE, mtu=8950)), id="jumbo"),
        pytest.param({MTU: "-1"}, {MTU: "x"}, VXLAN, Links((TUNNEL_B,), DEVICE), id="mtu-nonsense"),
    ],
)
def test_links(own: dict[str, str | None], other: dict[str, str | None], mode: str, expected: Links) -> None:
    first, second = told(A, **own), told(B, **other)
    assert links(first, [first, second], mode) == links(first, [second, first], mode) == expected


@pytest.mark.parametrize(
    "bare", [node("a"), node("a", "10.244.0.0/24"), node("a", "10.244.0.0/24", "192.0.2.1", simulated=True)]
)
def test_a_node_without_a_network_has_no_links(bare: dict[str, Any]) -> None:
    assert links(bare, [bare, B], VXLAN) == Links()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(None, HOSTGW, id="none"),
        pytest.param({"data": {"mode": "vxlan"}}, VXLAN, id="set"),
        pytest.param({"data": {"mode": "carrier-pigeon"}}, HOSTGW, id="unknown"),
        pytest.param({"data": None}, HOSTGW, id="empty"),
    ],
)
def test_mode_of(settings: dict[str, Any] | None, expected: str) -> None:
    assert mode_of(settings) == expected


def test_what_is_announced_is_understood() -> None:
    notes = announced(Links((SECRET_B, TUNNEL_B), DEVICE, SECRET), key("a"), {key("b"), key("c")})
    heard = said(told(A, **notes))
    assert (heard.sends, heard.takes) == ({VXLAN, WIREGUARD}, set(MODES))
    assert (heard.key, heard.peers) == (key("a"), {key("b")[:8]})
    assert announced(WHOLE, key("a"), set())[WIREGUARD_PEERS] is None, "nobody was met"
    assert announced(Links((OVER_B,)), "", set()) == {
        NETWORK: "sends=hostgw takes=hostgw",
        WIREGUARD_KEY: None,
        WIREGUARD_PEERS: None,
    }


# --- a cluster in the making -------------------------------------------------------------------------------------


class Cluster:
    """Nodes that take steps in any order: each does what `links` says of it, then tells what it has."""

    def __init__(self, count: int) -> None:
        self.objects = {
            name: node(name, f"10.244.{i}.0/24", f"192.0.2.{i + 1}") for i, name in enumerate("abcd"[:count])
        }
        self.have = {name: Links() for name in self.objects}

    def step(self, name: str, mode: str) -> None:
        self.have[name] = links(self.objects[name], self.objects.values(), mode)

    def tell(self, name: str) -> None:
        secret = key(name) if self.have[name].wireguard else ""
        met = {key(one) for one in self.objects if self._know(name, one) and self._know(one, name)}
        self.objects[name] = told(self.objects[name], **announced(self.have[name], secret, met))

    def _know(self, name: str, other: str) -> bool:
        device = self.have[name].wireguard
        return device is not None and key(other) in {peer for peer, _, _ in device.peers}

    def settle(self, mode: str) -> None:
        for _ in range(6):
            for name in self.objects:
                self.step(name, mode)
                self.tell(name)

    def takes(self, sender: str, route: Route) -> bool:
        """Whether the node that has the route's subnet receives what `sender` sends by it."""
        receiver = next(name for name, one in self.objects.items() if one["spec"]["podCIDR"] == route.subnet)
        if route.mode == VXLAN:
            return self.have[receiver].vxlan is not None and self.have[sender].vxlan is not None
        if route.mode == WIREGUARD:
            there, here = self.have[receiver].wireguard, self.have[sender].wireguard
            return bool(
                there
                and here
                and key(sender) in {peer for peer, _, _ in there.peers}
                and key(receiver) in {peer for peer, _, _ in here.peers}
            )
        return True


@given(
    count=st.integers(2, 4),
    modes=st.lists(st.sampled_from(MODES), min_size=2, max_size=4),
    order=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60),
)
def test_in_a_change_of_the_mode_every_pair_has_a_way_at_every_moment(
    count: int, modes: list[str], order: list[tuple[str, bool]]
) -> None:
    cluster = Cluster(count)
    cluster.settle(modes[0])
    steps = [step for step in order if step[0] in cluster.objects]
    for mode in modes[1:]:  # the next one is set when all have told that they have this one
        for name, acts in steps:
            if acts:
                cluster.step(name, mode)
            else:
                cluster.tell(name)
            for sender, have in cluster.have.items():
                assert len(have.routes) == count - 1, (sender, have)
                assert all(cluster.takes(sender, route) for route in have.routes), (sender, have)
        cluster.settle(mode)
    for have in cluster.have.values():
        assert {route.mode for route in have.routes} == {modes[-1]}
        assert (have.vxlan is not None, have.wireguard is not None) == (modes[-1] == VXLAN, modes[-1] == WIREGUARD)


# --- in words ----------------------------------------------------------------------------------------------------

WHOLE = Links((TUNNEL_B,), DEVICE, SECRET)


@pytest.mark.parametrize(
    ("have", "expected"),
    [
        pytest.param(WHOLE, [], id="nothing"),
        pytest.param(
            replace(WHOLE, routes=()), ["route 10.244.1.0/24: missing -> will be set via ktool-vxlan"], id="no-route"
        ),
        pytest.param(
            replace(WHOLE, routes=(OVER_B,)),
            ["route 10.244.1.0/24: leads to 192.0.2.2 -> will be set via ktool-vxlan"],
            id="other-way",
        ),
        pytest.param(
            replace(WHOLE, routes=(TUNNEL_B, Route("10.244.7.0/24", "192.0.2.7"))),
            ["route 10.244.7.0/24: not wanted (via 192.0.2.7) -> will be removed"],
            id="strange-route",
        ),
        pytest.param(replace(WHOLE, vxlan=None), ["device ktool-vxlan: missing -> will be made"], id="no-device"),
        pytest.param(
            replace(WHOLE, vxlan=replace(DEVICE, mtu=1500)),
            ["device ktool-vxlan: has the MTU 1500 -> will have the MTU 1450"],
            id="mtu",
        ),
        pytest.param(
            replace(WHOLE, vxlan=replace(DEVICE, local="")),
            ["device ktool-vxlan: down, or not as it was made -> will be made anew"],
            id="down",
        ),
        pytest.param(
            replace(WHOLE, vxlan=replace(DEVICE, peers=())),
            ["device ktool-vxlan: does not know 192.0.2.2 as it should -> will be told"],
            id="peer-lost",
        ),
        pytest.param(
            replace(WHOLE, wireguard=replace(SECRET, peers=(*SECRET.peers, (key("x"), "192.0.2.9", "(none)")))),
            ["device ktool-wg: knows 192.0.2.9 -> will forget it"],
            id="strange-peer",
        ),
    ],
)
def test_differences(have: Links, expected: list[str]) -> None:
    assert [f"{one.what}: {one.found} -> {one.repair}" for one in differences(WHOLE, have)] == expected


def test_a_device_that_is_not_needed() -> None:
    found = differences(Links(), Links((), DEVICE))
    assert [(one.what, one.found) for one in found] == [("device ktool-vxlan", "not wanted")]


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        pytest.param("", HOSTGW, False, id="silent"),
        pytest.param("sends=hostgw takes=hostgw", HOSTGW, True, id="hostgw"),
        pytest.param("sends=hostgw takes=hostgw,vxlan", HOSTGW, False, id="keeps-a-device"),
        pytest.param("sends=hostgw,vxlan takes=hostgw,vxlan", VXLAN, False, id="half"),
        pytest.param("sends=vxlan takes=hostgw,vxlan", VXLAN, True, id="vxlan"),
        pytest.param("sends=none takes=hostgw,vxlan", VXLAN, False, id="takes-only"),
    ],
)
def test_has_switched(text: str, mode: str, expected: bool) -> None:
    one = told(A, **{NETWORK: text or None})
    assert has_switched(one, [one, B], mode) is expected


def test_a_node_alone_sends_to_nobody() -> None:
    one = told(A, **{NETWORK: "sends=none takes=hostgw,vxlan"})
    assert has_switched(one, [one], VXLAN)
    assert told_of(one) == "sends by nothing and takes hostgw, vxlan"
    assert told_of(A) == "has told nothing yet"

"""What a node printed of its tunnels and routes -> Links. Outputs as iproute2 6.1 and wireguard-tools write them."""

from __future__ import annotations

import pytest

from ktool.logic.network.links import VXLAN_DEVICE, WIREGUARD_DEVICE, Links, Route, Vxlan, WireGuard
from ktool.node.network.linkdevices import routes_to_change, seen

KEY_A, KEY_B, KEY_C = (f"{letter * 43}=" for letter in "ABC")
ROUTES = """route 10.244.2.0/24 via 10.89.1.12 dev eth0
route 10.244.3.9 via 10.89.1.13 dev eth0
route 10.244.1.0/24 via 10.244.1.0 dev ktool-vxlan onlink
route 10.244.4.0/24 dev ktool-wg scope link
"""
TUNNEL = (
    r"link 5: ktool-vxlan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group "
    r"default qlen 1000\    link/ether 0e:4c:0a:f4:00:00 brd ff:ff:ff:ff:ff:ff promiscuity 0 allmulti 0 minmtu 68 "
    r"maxmtu 65535 \    vxlan id 76 local 10.89.1.11 srcport 0 0 dstport 4789 nolearning ttl auto ageing 300 udpcsum "
    r"noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64 numtxqueues 1"
    """
address ktool-vxlan    inet 10.244.0.0/32 scope global ktool-vxlan\\       valid_lft forever preferred_lft forever
fdb 0e:4c:0a:f4:01:00 dst 10.89.1.12 self permanent
neigh 10.244.1.0 lladdr 0e:4c:0a:f4:01:00 PERMANENT
"""
)
PEERS = (("10.244.1.0", "0e:4c:0a:f4:01:00", "10.89.1.12"),)
VXLAN = Vxlan("10.244.0.0", "10.89.1.11", "0e:4c:0a:f4:00:00", 1450, PEERS)
SECRET = (
    r"link 6: ktool-wg: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1420 qdisc fq_codel state UNKNOWN mode DEFAULT "
    r"group default qlen 500\    link/none  promiscuity 0 allmulti 0 minmtu 68 maxmtu 65535 \    tun type tun pi off"
    f"""
address ktool-wg    inet 10.244.0.0/32 scope global ktool-wg\\       valid_lft forever preferred_lft forever
peer {KEY_B}	10.244.4.0/24
endpoint {KEY_B}	10.89.1.14:51820
met {KEY_B}	1700000000
met {KEY_C}	0
port 51820
key {KEY_A}
"""
)
WIREGUARD = WireGuard("10.244.0.0", 1420, ((KEY_B, "10.89.1.14", "10.244.4.0/24"),))


def test_routes() -> None:
    found, key, met = seen(ROUTES.splitlines())
    assert (key, met) == ("", frozenset())
    assert found == Links(
        (
            Route("10.244.1.0/24", "10.244.1.0", VXLAN_DEVICE),
            Route("10.244.2.0/24", "10.89.1.12"),
            Route("10.244.3.9/32", "10.89.1.13"),
            Route("10.244.4.0/24", "", WIREGUARD_DEVICE),
        )
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("", "", VXLAN, id="whole"),
        pytest.param("UP,LOWER_UP", "LOWER_UP", Vxlan("10.244.0.0", "", VXLAN.mac, 1450, PEERS), id="down"),
        pytest.param("dstport 4789", "dstport 8472", Vxlan("10.244.0.0", "", VXLAN.mac, 1450, PEERS), id="other-port"),
        pytest.param("id 76", "id 1", Vxlan("10.244.0.0", "", VXLAN.mac, 1450, PEERS), id="other-network"),
        pytest.param(
            "neigh 10.244.1.0 lladdr 0e:4c:0a:f4:01:00 PERMANENT",
            "",
            Vxlan("10.244.0.0", "10.89.1.11", VXLAN.mac, 1450, (("", "0e:4c:0a:f4:01:00", "10.89.1.12"),)),
            id="neighbour-lost",
        ),
        pytest.param(
            "fdb 0e:4c:0a:f4:01:00 dst 10.89.1.12 self permanent",
            "",
            Vxlan("10.244.0.0", "10.89.1.11", VXLAN.mac, 1450, (("10.244.1.0", "0e:4c:0a:f4:01:00", ""),)),
            id="entry-lost",
        ),
        pytest.param(
            "address ktool-vxlan", "address other", Vxlan("", "10.89.1.11", VXLAN.mac, 1450, PEERS), id="bare"
        ),
    ],
)
def test_vxlan(old: str, new: str, expected: Vxlan) -> None:
    assert seen(TUNNEL.replace(old, new).splitlines() if old else TUNNEL.splitlines())[0].vxlan == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("mtu", "mtu", WIREGUARD, id="whole"),
        pytest.param("UP,LOWER_UP", "LOWER_UP", WireGuard("", 1420, WIREGUARD.peers), id="down"),
        pytest.param("port 51820", "port 0", WireGuard("", 1420, WIREGUARD.peers), id="other-port"),
        pytest.param(
            "10.89.1.14:51820",
            "(none)",
            WireGuard("10.244.0.0", 1420, ((KEY_B, "", "10.244.4.0/24"),)),
            id="no-endpoint",
        ),
        pytest.param(
            "\t10.244.4.0/24",
            "\t(none)",
            WireGuard("10.244.0.0", 1420, ((KEY_B, "10.89.1.14", "(none)"),)),
            id="no-ips",
        ),
    ],
)
def test_wireguard(old: str, new: str, expected: WireGuard) -> None:
    found, key, met = seen(SECRET.replace(old, new).splitlines())
    assert (found.wireguard, key, met) == (expected, KEY_A, {KEY_B})


A, B = Route("a/24", "1"), Route("a/24", "2")


@pytest.mark.parametrize(
    ("now", "wanted", "replace", "delete"),
    [
        pytest.param((), (), [], [], id="nothing"),
        pytest.param((), (A,), [A], [], id="new"),
        pytest.param((A,), (A,), [], [], id="there"),
        pytest.param((A,), (B,), [B], [], id="moved"),
        pytest.param((A,), (), [], [A], id="gone"),
    ],
)
def test_routes_to_change(now: tuple[Route], wanted: tuple[Route], replace: list[Route], delete: list[Route]) -> None:
    assert routes_to_change(now, wanted) == (replace, delete)

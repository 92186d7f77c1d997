from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.logic.network.ipam import IpamError, allocate, carve, gateway, spare

NET = "10.244.3.0/24"


@pytest.mark.parametrize(
    ("subnet", "used", "after", "expected"),
    [
        pytest.param(NET, set(), "", "10.244.3.2", id="first-is-behind-the-gateway"),
        pytest.param(NET, {"10.244.3.2", "10.244.3.3"}, "", "10.244.3.4", id="skips-used"),
        pytest.param(NET, set(), "10.244.3.9", "10.244.3.10", id="behind-after"),
        pytest.param(NET, {"10.244.3.10"}, "10.244.3.9", "10.244.3.11", id="behind-after-skips-used"),
        pytest.param(NET, set(), "10.244.3.254", "10.244.3.2", id="goes-round-before-broadcast"),
        pytest.param(NET, {"10.244.3.254"}, "10.244.3.253", "10.244.3.2", id="goes-round-over-used"),
        pytest.param(NET, set(), "10.244.9.7", "10.244.3.2", id="after-of-another-subnet"),
        pytest.param(NET, set(), "not-an-address", "10.244.3.2", id="after-is-nonsense"),
        pytest.param("10.0.0.0/30", set(), "", "10.0.0.2", id="smallest"),
        pytest.param("10.0.0.0/8", set(), "10.255.255.254", "10.0.0.2", id="huge-goes-round"),
        pytest.param("fd00::/112", set(), "", "fd00::2", id="ipv6"),
    ],
)
def test_allocate(subnet: str, used: set[str], after: str, expected: str) -> None:
    assert allocate(subnet, used, after) == expected


@pytest.mark.parametrize(
    ("subnet", "says"),
    [
        pytest.param("10.0.0.0/31", "too small", id="no-room"),
        pytest.param("10.0.0.1/24", "host bits", id="host-bits"),
        pytest.param("", "is not a subnet", id="empty"),
        pytest.param("web", "is not a subnet", id="nonsense"),
    ],
)
def test_allocate_refuses_what_is_no_pod_subnet(subnet: str, says: str) -> None:
    with pytest.raises(IpamError, match=says):
        allocate(subnet, ())


def test_allocate_gives_every_address_once_and_then_says_that_all_are_used() -> None:
    used: set[str] = set()
    last = "10.244.3.100"
    for _ in range(252):
        last = allocate(NET, used, last)
        assert last not in used
        used.add(last)
    assert not used & {gateway(NET), spare(NET), "10.244.3.0", "10.244.3.255"}
    assert (spare(NET), spare("10.0.0.0/25")) == ("10.244.3.254", "")
    with pytest.raises(IpamError, match=r"all 252 pod addresses of 10\.244\.3\.0/24 are in use"):
        allocate(NET, used, last)


@given(st.integers(26, 30), st.sets(st.integers(0, 63)), st.integers(0, 63))
def test_allocate_gives_a_free_address_of_the_subnet_or_refuses(bits: int, taken: set[int], after: int) -> None:
    network = ip_network(f"10.1.2.0/{bits}")
    used = {f"10.1.2.{number}" for number in taken}
    usable = {str(host) for host in network.hosts()} - {gateway(str(network))}
    try:
        address = allocate(str(network), used, f"10.1.2.{after}")
    except IpamError:
        assert usable <= used
    else:
        assert address in usable - used


@pytest.mark.parametrize(
    ("taken", "bits", "expected"),
    [
        pytest.param([], 24, "10.244.0.0/24", id="first"),
        pytest.param(["10.244.0.0/24", "10.244.1.0/24"], 24, "10.244.2.0/24", id="next"),
        pytest.param(["10.244.1.0/24", "10.244.0.0/24", "10.244.3.0/24"], 24, "10.244.2.0/24", id="fills-the-gap"),
        pytest.param(["10.244.0.0/20"], 24, "10.244.16.0/24", id="a-larger-one-is-taken"),
        pytest.param(["10.244.0.128/25"], 24, "10.244.1.0/24", id="part-of-one-is-taken"),
        pytest.param(["10.244.0.0/16", "10.244.0.0/24"], 26, None, id="all-is-taken"),
        pytest.param(["192.168.0.0/24", "", "fd00::/64"], 24, "10.244.0.0/24", id="others-do-not-matter"),
        pytest.param(["10.0.0.0/8"], 24, None, id="the-range-lies-in-a-taken-one"),
        pytest.param([], 16, "10.244.0.0/16", id="whole"),
        pytest.param([], 8, None, id="larger-than-the-range"),
    ],
)
def test_carve(taken: list[str], bits: int, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(IpamError):
            carve("10.244.0.0/16", taken, bits)
    else:
        assert carve("10.244.0.0/16", taken, bits) == expected


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(22, 28))))
def test_carve_overlaps_nothing_and_takes_the_first_that_fits(parts: list[tuple[int, int]]) -> None:
    taken = [str(ip_network(f"10.244.{third}.0/{bits}", strict=False)) for third, bits in parts]
    networks = [ip_network(text) for text in taken]
    free = [
        subnet
        for subnet in ip_network("10.244.0.0/16").subnets(new_prefix=24)
        if not any(subnet.overlaps(other) for other in networks)
    ]
    if free:
        assert carve("10.244.0.0/16", taken) == str(free[0])
    else:
        with pytest.raises(IpamError):
            carve("10.244.0.0/16", taken)


def test_a_cluster_of_256_nodes_fits_and_the_257th_is_refused_with_a_sentence() -> None:
    taken: list[str] = []
    for _ in range(256):
        taken.append(carve("10.244.0.0/16", taken))
    assert len(set(taken)) == 256 and ip_address("10.244.255.7") in ip_network(taken[-1])
    with pytest.raises(IpamError, match=r"all 256 /24 subnets"):
        carve("10.244.0.0/16", taken)

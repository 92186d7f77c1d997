"""Addresses and node ports: everyone gets one, nobody gets another's."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktool.api.marks import CLUSTER_DNS, SERVICE_CIDR
from ktool.api.shapes.service import NODE_PORTS
from ktool.logic.network import allocation


def service(name: str, created: int = 0, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"u-{name}", "creationTimestamp": f"{created:04}"}
    return {"metadata": metadata, "spec": {"type": "ClusterIP", "ports": [], **spec}}


@settings(max_examples=30)
@given(st.sets(st.from_regex(r"[a-z]{1,4}", fullmatch=True), min_size=1, max_size=60))
def test_addresses_are_of_the_range_and_differ(found: set[str]) -> None:
    made: list[dict[str, Any]] = []
    for name in sorted(found):
        made.append(service(name, clusterIP=allocation.address_for(service(name), made)))
    addresses = {IPv4Address(one["spec"]["clusterIP"]) for one in made}
    assert len(addresses) == len(made)
    assert all(address in SERVICE_CIDR and int(address) - int(SERVICE_CIDR[0]) > 256 for address in addresses)
    assert CLUSTER_DNS not in addresses


def test_the_same_service_gets_the_same_address_again() -> None:
    first = allocation.address_for(service("web"), [])
    assert allocation.address_for(service("web", 7), [service("db", clusterIP="10.96.9.9")]) == first
    assert allocation.address_for(service("web"), [service("db", clusterIP=first)]) != first


def test_a_full_range_is_said() -> None:
    every = [service(f"s{offset}", clusterIP=str(SERVICE_CIDR[offset])) for offset in range(1, 65535)]
    with pytest.raises(allocation.Exhausted, match=r"10\.96\.0\.0/16"):
        allocation.address_for(service("late"), every)
    low = [one for one in every if one["spec"]["clusterIP"] != "10.96.0.200"]
    assert allocation.address_for(service("late"), low) == "10.96.0.200", "the lower part is given in the end"


def test_node_ports_leave_the_lower_part_until_the_end() -> None:
    web, port = service("web"), {"port": 80}
    chosen = allocation.node_port_for(web, port, set())
    assert chosen in NODE_PORTS and chosen >= NODE_PORTS.start + allocation.CHOSEN_PORTS
    assert allocation.node_port_for(web, port, {("TCP", chosen)}) != chosen
    assert allocation.node_port_for(web, port, {("UDP", chosen)}) == chosen, "protocols do not disturb each other"
    upper = {("TCP", number) for number in NODE_PORTS if number >= NODE_PORTS.start + allocation.CHOSEN_PORTS}
    assert allocation.node_port_for(web, port, upper) == NODE_PORTS.start
    with pytest.raises(allocation.Exhausted):
        allocation.node_port_for(web, port, {("TCP", number) for number in NODE_PORTS})


def test_who_was_first_keeps_it() -> None:
    first = service("first", 1, clusterIP="10.96.1.1")
    second = service("second", 2, clusterIP="10.96.1.1")
    third = service("third", 3, type="NodePort", clusterIP="10.96.1.3", ports=[{"port": 80, "nodePort": 30080}])
    fourth = service("fourth", 4, type="LoadBalancer", clusterIP="10.96.1.4", ports=[{"port": 30080}])
    every = [fourth, third, second, first]
    assert allocation.clashes(first, every) == allocation.clashes(third, every) == []
    assert allocation.clashes(second, every) == [(("10.96.1.1", "", 0), first)]
    assert allocation.clashes(fourth, every) == [(("node", "TCP", 30080), third)]
    assert allocation.holders(every)["10.96.1.1", "", 0] == "u-first"

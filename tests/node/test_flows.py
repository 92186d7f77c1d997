"""Which flows of datagrams are forgotten when rules change."""

from __future__ import annotations

import pytest

from ktool.node.network.flows import stale

NOW = {
    "10.96.0.20:53": frozenset({"10.244.1.5:5353", "10.244.2.5:5353"}),
    "10.96.0.30:53": frozenset(),
    ":30053": frozenset({"10.244.1.5:5353"}),
}


def line(to: str, port: int, endpoint: str, number: int, mark: str = "") -> str:
    return (
        f"udp      17 29 src=10.244.3.7 dst={to} sport=40000 dport={port} {mark}"
        f"src={endpoint} dst=10.244.3.7 sport={number} dport=40000 mark=0 use=1\n"
    )


@pytest.mark.parametrize(
    ("to", "port", "endpoint", "number", "gone"),
    [
        pytest.param("10.96.0.20", 53, "10.244.1.5", 5353, False, id="as-it-should"),
        pytest.param("10.96.0.20", 53, "10.244.9.9", 5353, True, id="endpoint-gone"),
        pytest.param("10.96.0.20", 53, "10.244.1.5", 53, True, id="its-port-changed"),
        pytest.param("10.96.0.30", 53, "10.244.1.5", 5353, True, id="no-endpoints-left"),
        pytest.param("10.96.7.7", 53, "10.244.1.5", 5353, True, id="service-gone"),
        pytest.param("192.0.2.1", 30053, "10.244.1.5", 5353, False, id="node-port"),
        pytest.param("192.0.2.1", 30053, "10.244.9.9", 5353, True, id="node-port-endpoint-gone"),
        pytest.param("192.0.2.1", 30077, "10.244.1.5", 5353, True, id="node-port-gone"),
        pytest.param("192.0.2.1", 5000, "10.244.1.5", 5353, False, id="host-port-of-podman"),
        pytest.param("192.0.2.1", 30077, "10.89.0.5", 5353, False, id="somebody-elses-nat"),
    ],
)
@pytest.mark.parametrize("mark", ["", "[UNREPLIED] "], ids=["answered", "unanswered"])
def test_stale(to: str, port: int, endpoint: str, number: int, gone: bool, mark: str) -> None:
    text = line(to, port, endpoint, number, mark) + "tcp      6 src=10.244.3.7 dst=10.96.0.20 sport=1 dport=53\n"
    assert stale(text, NOW) == ({(to, str(port), endpoint, str(number))} if gone else set())


def test_nothing_that_is_no_flow_is_read() -> None:
    assert stale("conntrack v1.4.7: 0 flow entries have been shown.\nudp rubbish\n\n", NOW) == set()

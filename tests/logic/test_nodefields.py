from __future__ import annotations

from typing import Any

import pytest

from ktool.logic.network.nodefields import others


def node(name: str, cidr: str = "", address: str = "", *, simulated: bool = False) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"ktool.dev/simulated": "true"} if simulated else {}},
        "spec": {"podCIDR": cidr} if cidr else {},
        "status": {
            "addresses": [{"type": "Hostname", "address": name}]
            + ([{"type": "InternalIP", "address": address}] if address else [])
        },
    }


A = node("a", "10.244.0.0/24", "10.89.1.2")
B = node("b", "10.244.1.0/24", "10.89.1.3")
C = node("c", "10.244.2.0/24", "10.89.1.4")


@pytest.mark.parametrize(
    ("of", "nodes", "expected"),
    [
        pytest.param(A, [A], [], id="alone"),
        pytest.param(A, [C, B, A], [("10.244.1.0/24", "10.89.1.3"), ("10.244.2.0/24", "10.89.1.4")], id="sorted"),
        pytest.param(A, [A, node("d", "", "10.89.1.5")], [], id="no-subnet-yet"),
        pytest.param(A, [A, node("d", "10.244.3.0/24")], [], id="no-address-yet"),
        pytest.param(A, [A, node("d", "10.244.3.0/24", "10.89.1.5", simulated=True)], [], id="simulated-target"),
        pytest.param(node("s", "10.244.3.0/24", "1.2.3.4", simulated=True), [A, B], [], id="simulated-source"),
        pytest.param(A, [node("again", "10.244.9.0/24", "10.89.1.2")], [], id="same-machine-twice"),
        pytest.param({"kind": "Node", "metadata": {"name": "bare"}}, [A], [("10.244.0.0/24", "10.89.1.2")], id="bare"),
        pytest.param(
            A, [node("z", "10.244.1.0/24", "10.89.1.9"), B], [("10.244.1.0/24", "10.89.1.3")], id="one-subnet-twice"
        ),
    ],
)
def test_others(of: dict[str, Any], nodes: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert [(one.subnet, one.address) for one in others(of, nodes)] == expected
    assert [(one.subnet, one.address) for one in others(of, reversed(nodes))] == expected

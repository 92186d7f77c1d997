"""Only one control plane acts on a node, and never two clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ktool.api.marks import OWNER_FILE
from ktool.node import fence
from ktool.node.base import NodeError, Unreachable
from tests.podman.support import connect, until

pytestmark = pytest.mark.podman


@pytest.fixture
def machine(lab: Any) -> Iterator[Any]:
    """The lab's last node, which no other test of this folder claims."""
    machine = lab.nodes[2]
    yield machine
    runtime = connect(machine, "x")
    runtime._transport.run(["rm", "-f", OWNER_FILE])
    runtime.close()


def test_a_superseded_control_plane_cannot_act_any_more(machine: Any) -> None:
    old, new = connect(machine, "c"), connect(machine, "c")
    try:
        old.claim("c", 1)
        old.claim("c", 1)  # again over the same connection
        assert old.observe().pods == ()
        new.claim("c", 2)

        def cut_off() -> bool:
            try:
                old.observe()
                return False
            except Unreachable:
                return True

        until(cut_off, 3)
        assert new.observe().pods == ()
        late = connect(machine, "c")
        with pytest.raises(NodeError, match=r"has taken over.*token 2"):
            late.claim("c", 1)
        late.close()
    finally:
        old.close()
        new.close()


def test_another_cluster_is_told_whose_node_it_is(machine: Any) -> None:
    mine, other = connect(machine, "mine"), connect(machine, "other")
    try:
        mine.claim("mine", 7)
        with pytest.raises(NodeError, match=r"belongs to cluster mine.*--take-over"):
            other.claim("other", 9)
        fence.evict(other._transport)
        other.claim("other", 1)
        with pytest.raises(NodeError):
            mine.claim("mine", 8)
    finally:
        mine.close()
        other.close()


def test_releasing_a_node_lets_anybody_have_it(machine: Any) -> None:
    mine, other = connect(machine, "mine"), connect(machine, "other")
    try:
        mine.claim("mine", 1)
        assert fence.owner(other._transport) == "mine"
        mine.release()
        assert fence.owner(other._transport) == ""
        other.claim("other", 1)
        assert fence.owner(other._transport) == "other"
    finally:
        mine.close()
        other.close()

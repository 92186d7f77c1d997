"""Real nodes for these tests: two of the lab's, claimed for a cluster of this module's own, and left as they were."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.logic.network.links import Links, Route
from ktool.logic.node.nodeaction import EnsureImage, EnsureNetwork, SetLinks
from tests.podman.support import SUBNETS, WEB, Node, connect, done


@pytest.fixture(scope="module")
def nodes(lab: Any) -> Iterator[list[Node]]:
    """Two nodes whose pods reach each other."""
    cluster = f"test-{uuid.uuid4().hex[:8]}"
    opened: list[Node] = []
    try:
        for index, machine in enumerate(lab.nodes[:2]):
            node = Node(connect(machine, cluster), machine, cluster)
            opened.append(node)
            node.runtime.claim(cluster, 1)
            done(node.runtime.perform(EnsureNetwork(SUBNETS[index])))
            done(node.runtime.perform(EnsureImage(WEB, "IfNotPresent")))
        for index, node in enumerate(opened):
            other = 1 - index
            done(node.runtime.perform(SetLinks(Links((Route(SUBNETS[other], opened[other].machine.address),)))))
        yield opened
    finally:
        for node in opened:
            node.clean()
            node.runtime.release()
            node.runtime.close()
            assert "ktool" not in node.shell("nft list tables")


@pytest.fixture
def node(nodes: list[Node]) -> Iterator[Node]:
    """The first of the two, without pods before and after."""
    yield nodes[0]
    nodes[0].clean()

"""The end of node loops: what is under way ends and is reported, and a node that does not answer takes no time from the
others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from ktool.logic.node.nodeaction import NodeAction, Outcome, RemovePod, RemoveVolumes
from ktool.logic.plan.nodeplan import Lane
from ktool.node.base import Runtime
from ktool.nodeplane.lanes import Lanes
from ktool.nodeplane.vitals import VitalSigns
from ktool.nodeplane.workitems import NodeEvents
from tests.nodeplane.support import LONG, until


class Node:
    """A node whose actions take until `answers` is set."""

    concurrency = 8

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.begun: list[NodeAction] = []
        self.lanes = Lanes("n1", cast(VitalSigns, self), cast(NodeEvents, self), time.time)

    def perform(self, action: NodeAction) -> Outcome:
        self.begun.append(action)
        self.answers.wait()
        return Outcome(action)

    def done(self, action: NodeAction) -> None: ...

    def node_changed(self, node: str, after: float = 0.0) -> None: ...

    def start(self, pod_uid: str) -> None:
        lane = Lane(pod_uid, (RemovePod(pod_uid, "pod"), RemoveVolumes(pod_uid)))
        self.lanes.start(cast(Runtime, self), lane, None)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.answers.set()
    node.lanes.close()


def test_after_the_shutdown_no_lane_begins_and_none_goes_on(node: Node) -> None:
    node.start("u1")
    until(lambda: len(node.begun) == 1)
    node.lanes.begin_nothing()
    node.start("u2")
    node.answers.set()
    until(lambda: not node.lanes.busy)
    assert node.begun == [RemovePod("u1", "pod")]


def test_stop_waits_for_what_is_under_way(node: Node) -> None:
    node.start("u1")
    until(lambda: len(node.begun) == 1)
    threading.Timer(0.2, node.answers.set).start()
    node.lanes.stop(LONG)
    assert node.answers.is_set() and not node.lanes.busy


def test_stop_of_a_node_that_does_not_answer_ends_in_time(node: Node) -> None:
    node.start("u1")
    until(lambda: len(node.begun) == 1)
    begun = time.monotonic()
    node.lanes.stop(0.1)
    assert time.monotonic() - begun < LONG / 2

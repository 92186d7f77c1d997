"""Deployments from their first pod to their last, with every promise checked after every step."""

from __future__ import annotations

import pytest

from ktool.api.obj import get, name
from ktool.api.ref import Ref

from .world import Cluster, deployment, rolling

WEB = Ref("Deployment", "default", "web")


def test_a_deployment_comes_up_and_stays(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=4))
    cluster.settle()
    cluster.assert_as_wanted()
    assert len(cluster.pods()) == 4
    cluster.assert_at_rest()
    cluster.assert_as_wanted()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "surge, unavailable", [(1, 0), (0, 1), ("25%", "25%"), ("100%", 0), (2, 2), (0, "50%")], ids=str
)
def test_a_changed_image_rolls_through(tmp_path, seed: int, surge: int | str, unavailable: int | str) -> None:
    cluster = Cluster(tmp_path, seed=seed, start_delay=1.5)
    cluster.add_node("n1")
    cluster.add_node("n2")
    cluster.apply(deployment(replicas=5, strategy=rolling(surge, unavailable)))
    cluster.settle()
    cluster.apply(deployment(replicas=5, image="nginx:2", strategy=rolling(surge, unavailable)))
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.apply(deployment(replicas=5, image="nginx:1", strategy=rolling(surge, unavailable)))
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.assert_at_rest()
    cluster.close()

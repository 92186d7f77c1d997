"""The control plane is thrown away at any moment; the file and the machines are all that the next one has."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktool.api.obj import get, uid
from ktool.api.ref import Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET

from .world import RUNTIMES, Cluster, Killed, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")


def killed_after(cluster: Cluster, breaths: int) -> bool:
    """Let it live through so many commits and actions on machines; whether it had to be killed for that."""
    cluster.life.left = breaths
    try:
        cluster.settle()
    except Killed:
        return True
    finally:
        cluster.restart()
    return False


@pytest.mark.parametrize("seed", range(3))
def test_killed_while_it_comes_up_and_while_it_rolls(tmp_path: Path, seed: int) -> None:
    cluster = Cluster(tmp_path, seed=seed, start_delay=1.5)
    for node in ("n1", "n2"):
        cluster.add_node(node)
    for image in ("nginx:1", "nginx:2"):
        cluster.apply(deployment(replicas=4, image=image, strategy=rolling(1, 1)))
        breaths = 0
        while killed_after(cluster, breaths):
            breaths += 1 + seed
        cluster.assert_as_wanted()
        assert len(cluster.pods()) == 4
    assert len(cluster.registry.list(REPLICA_SET)[0]) == 2
    cluster.assert_at_rest()
    cluster.close()


@pytest.mark.parametrize("breaths", range(0, 40, 4))
def test_killed_at_one_moment_of_a_rollout(cluster: Cluster, breaths: int) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.apply(deployment(image="nginx:2"))
    assert killed_after(cluster, breaths)
    cluster.settle()
    cluster.assert_as_wanted()


@pytest.mark.parametrize("breaths", [0, 2, 5, 9, 14])
def test_killed_while_it_takes_everything_away(cluster: Cluster, breaths: int) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.registry.delete(WEB, propagation="Foreground")
    killed_after(cluster, breaths)
    cluster.settle()
    assert (cluster.get(WEB), cluster.pods(), cluster.running()) == (None, [], {})


def test_what_happened_while_nobody_was_there_is_put_right(cluster: Cluster) -> None:
    """Deleted in the store and gone from a machine between two control planes."""
    cluster.promises.calm = False
    cluster.apply(deployment(), deployment("other", replicas=2))
    cluster.settle()
    cluster.delete(WEB)
    taken = next(machine for machine in RUNTIMES.values() if machine.pods)
    for pod in list(taken.pods.values()):
        taken.remove_pod(pod)
    cluster.restart()
    cluster.settle()
    cluster.assert_as_wanted()
    assert len(cluster.running()) == 2


@pytest.mark.parametrize("after", [0, 6, 20, 40])
def test_a_disk_that_is_full_for_a_while(cluster: Cluster, after: int) -> None:
    """Nothing that was to be done meanwhile is forgotten."""
    cluster.apply(deployment())
    cluster.settle()
    cluster.apply(deployment(image="nginx:2"))
    cluster.steps(after)
    cluster.registry.broken = True
    cluster.steps(60)
    cluster.registry.broken = False
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.assert_at_rest()


def test_restarts_are_counted_on(cluster: Cluster) -> None:
    """Three crashes, each with another control plane; the last with none."""
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=1))
    cluster.settle()
    (pod,) = cluster.pods()
    machine = RUNTIMES[get(pod, "spec", "nodeName")]
    for crashes in (1, 2, 3):
        cluster.clock.sleep(700)
        machine.crash(uid(pod))
        if crashes == 3:
            machine.listeners.clear()
        cluster.restart()
        cluster.settle()
        (found,) = cluster.pods()
        assert uid(found) == uid(pod)
        assert found["status"]["containerStatuses"][0]["restartCount"] == crashes
    cluster.assert_as_wanted()
    cluster.assert_at_rest()

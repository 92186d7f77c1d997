"""Whatever users do and whatever breaks, in any order: the promises hold, and when it is over the world converges.

KTOOL_SIM_EXAMPLES looks at more sequences, and at other ones each time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktool.api.obj import Obj, deleting
from ktool.api.ref import NODE, Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from ktool.node.simulated.faults import Fault
from ktool.node.simulated.runtime import RUNTIMES

from .world import Cluster, Killed, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")
NODES = ("n1", "n2", "n3")
EXAMPLES = int(os.environ.get("KTOOL_SIM_EXAMPLES", "0"))

bounded = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)

some = st.one_of(st.integers(0, 3), st.sampled_from(["25%", "50%", "100%"]))
strategies = st.one_of(
    st.just({"type": "Recreate"}),
    st.builds(rolling, some, some).filter(lambda s: any(str(v).strip("0%") for v in s["rollingUpdate"].values())),
)
user = st.one_of(
    st.tuples(st.just("replicas"), st.integers(0, 6)),
    st.tuples(st.just("image"), st.sampled_from(["nginx:1", "nginx:2", "nginx:3"])),
    st.tuples(st.just("strategy"), strategies),
    st.tuples(st.just("patience"), st.sampled_from([0, 5])),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("steps"), st.integers(1, 40)),
    st.tuples(st.just("time"), st.sampled_from([1, 5, 40])),
    st.tuples(st.just("kill"), st.integers(0, 30)),
)
trouble = st.one_of(
    st.tuples(st.just("crash"), st.integers(0, 5)),
    st.tuples(st.just("lose"), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.sampled_from(NODES[1:])),
    st.tuples(st.just("again"), st.sampled_from(["Background", "Foreground", "Orphan"])),
    st.tuples(st.just("reboot"), st.sampled_from(NODES)),
    st.tuples(st.just("unplug"), st.sampled_from(NODES)),
    st.tuples(st.just("plug"), st.sampled_from(NODES)),
    st.tuples(
        st.just("fault"),
        st.sampled_from(["ErrImagePull", "Crash", "CreateContainerError", "RunContainerError", "IgnoreSIGTERM"]),
        st.sampled_from(["nginx:1", "nginx:2", "*"]),
    ),
    st.tuples(st.just("mend")),
)


class Story:
    """One sequence on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.web: Obj = {"replicas": 3, "image": "nginx:1", "strategy": rolling(1, 0), "minReadySeconds": 0}
        for node in NODES:
            cluster.add_node(node)
        cluster.settle()

    def tell(self, happenings: Iterable[tuple]) -> None:
        self._apply()
        for what, *rest in happenings:
            getattr(self, f"_{what}")(*rest)

    def end(self) -> None:
        """Nothing is wrong any more, and nobody holds it back: it gets where the user wanted it."""
        self._mend()
        for node in NODES:
            self._plug(node)
        self.cluster.until(lambda: not any(deleting(obj) for obj in self.cluster.world().list(DEPLOYMENT)))
        self._paused(False)
        self.cluster.until(self._is_as_wanted)
        self.cluster.assert_as_wanted()
        self.cluster.settle()
        self.cluster.assert_as_wanted()
        self.cluster.assert_at_rest()

    def _is_as_wanted(self) -> bool:
        try:
            self.cluster.assert_as_wanted()
        except AssertionError:
            return False
        return True

    def _apply(self) -> None:
        self.cluster.apply(deployment(cpu="1", **self.web))

    # --- what a user does

    def _replicas(self, count: int) -> None:
        self.web["replicas"] = count
        self._apply()

    def _image(self, image: str) -> None:
        self.web["image"] = image
        self._apply()

    def _strategy(self, strategy: Obj) -> None:
        self.web["strategy"] = strategy
        self._apply()

    def _patience(self, seconds: int) -> None:
        self.web["minReadySeconds"] = seconds
        self._apply()

    def _paused(self, paused: bool) -> None:
        self.web["paused"] = paused
        self._apply()

    def _steps(self, count: int) -> None:
        self.cluster.steps(count)

    def _time(self, seconds: int) -> None:
        self.cluster.wait(seconds)

    def _kill(self, after: int) -> None:
        self.cluster.life.left = after
        try:
            self.cluster.steps(60)
        except Killed:
            pass
        self.cluster.restart()

    # --- what breaks

    def _some_pod(self, number: int) -> Obj | None:
        pods = self.cluster.pods()
        return pods[number % len(pods)] if pods else None

    def _crash(self, number: int) -> None:
        running = [
            (machine, pod.uid)
            for machine in RUNTIMES.values()
            for pod in machine.pods.values()
            if any(container.state == "running" for container in pod.containers.values())
        ]
        if running:
            machine, uid = running[number % len(running)]
            machine.crash(uid)

    def _lose(self, number: int) -> None:
        if pod := self._some_pod(number):
            self.cluster.delete(Ref.of(pod))

    def _again(self, propagation: str) -> None:
        """Deleted and applied again as soon as it is gone."""
        if deleting(self.cluster.get(WEB) or {}):
            return
        self.cluster.delete(WEB, propagation)
        for _ in range(200):
            if self.cluster.get(WEB) is None:
                break
            self.cluster.steps(1)
        self._apply()

    def _remove(self, node: str) -> None:
        if (found := self.cluster.get(Ref(NODE, "", node))) is not None and not deleting(found):
            self.cluster.delete(Ref(NODE, "", node))

    def _reboot(self, node: str) -> None:
        RUNTIMES[node].reboot()

    def _unplug(self, node: str) -> None:
        RUNTIMES[node].unplug()

    def _plug(self, node: str) -> None:
        RUNTIMES[node].plug()

    def _fault(self, reason: str, pattern: str) -> None:
        for machine in RUNTIMES.values():
            machine.set_faults(*machine.settings.faults, Fault(reason, pattern))

    def _mend(self) -> None:
        for machine in RUNTIMES.values():
            machine.set_faults()


@contextmanager
def story(seed: int, **options: Any) -> Iterator[Story]:
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory), seed=seed, start_delay=1.5, **options)
        try:
            yield Story(cluster)
        finally:
            cluster.close()


seeds = st.integers(0, 1000)
clusters = st.fixed_dictionaries({"backlog": st.sampled_from([20_000, 12]), "every_node": st.booleans()})


@given(seed=seeds, options=clusters, happenings=st.lists(user, max_size=8))
@bounded
def test_what_users_do(seed: int, options: dict[str, Any], happenings: list[tuple]) -> None:
    """Nothing breaks but the control plane: availability is promised at every step."""
    with story(seed, **options) as told:
        told.tell(happenings)
        told.end()


@given(seed=seeds, options=clusters, happenings=st.lists(st.one_of(user, trouble), max_size=10))
@bounded
def test_what_breaks(seed: int, options: dict[str, Any], happenings: list[tuple]) -> None:
    with story(seed, **options) as told:
        told.cluster.promises.calm = False
        told.tell(happenings)
        told.end()

"""Random rollouts by the real planners and the real scheduler, with pods that come up, break and end in any order, and
a control plane that forgets everything at any moment. Every promise is checked after every single step.

No store and no machine is in between (tests/sim/test_sequences.py has both), so that hundreds of them take seconds.
KTOOL_SIM_EXAMPLES looks at more, and at other ones each time."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktool.api.obj import Obj, controller_of, deleting, get, name, put, uid
from ktool.api.ref import POD, Ref
from ktool.api.world import World
from ktool.control.rehearsal import Rehearsal
from ktool.logic.workload import revisions
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from tests.everykind import KINDS

from .promises import Promises
from .world import START, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")
EXAMPLES = int(os.environ.get("KTOOL_SIM_EXAMPLES", "0"))
ENOUGH = 4_000


def node(own: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": own, "uid": own, "labels": {"kubernetes.io/hostname": own}},
        "status": {
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2023-01-01T00:00:00Z"}],
        },
    }


@dataclass
class Tale:
    """One cluster, stepped by a die."""

    seed: int
    replicas: int
    strategy: Obj
    patience: int = 0
    promises: Promises = field(default_factory=Promises)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.world = World([node(own) for own in ("n1", "n2", "n3")])
        self.world.set({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "ns"}})
        self.rehearsal = Rehearsal(self.world, KINDS, [WEB], START)
        self.made: list[str] = []
        self.apply("nginx:1")

    # --- what the user does

    def apply(self, image: str, **spec: Any) -> None:
        obj = deployment(
            replicas=self.replicas, image=image, strategy=self.strategy, minReadySeconds=self.patience, **spec
        )
        kind = KINDS[DEPLOYMENT]
        assert kind.rules.default is not None
        old = self.world.get(WEB)
        if old is None:
            metadata = {"uid": "web", "generation": 1, "creationTimestamp": "2023-11-14T22:13:20Z"}
            self.world.set(kind.rules.default({**obj, "metadata": {**obj["metadata"], **metadata}}))
        else:
            self.change(kind.rules.default({**old, "spec": obj["spec"]}))

    def change(self, obj: Obj) -> None:
        old = self.web
        if obj["spec"] != old["spec"]:
            obj = put(obj, "metadata", "generation", old["metadata"]["generation"] + 1)
        self.world.set(obj)

    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.change(put(self.web, "spec", "replicas", replicas))

    def pause(self, paused: bool) -> None:
        self.change(put(self.web, "spec", "paused", paused))

    def undo(self) -> None:
        sets = self.world.controlled("web", REPLICA_SET)
        if (good := revisions.to_go_back_to(sets, 0)) is not None:
            self.change(revisions.rolled_back(self.web, good))

    def kill(self) -> None:
        """What the control plane knew is gone; what it had written stays."""
        now = self.rehearsal.now
        self.rehearsal = Rehearsal(self.world, KINDS, [WEB], now)

    # --- what happens

    @property
    def web(self) -> Obj:
        found = self.world.get(WEB)
        assert found is not None
        return found

    def step(self) -> bool:
        """One loop does one thing; False where none has anything to do before time passes."""
        rehearsal, dice = self.rehearsal, self.dice
        loops = [lambda ref=ref: rehearsal.plan(ref)[0] for ref in rehearsal.planned()]
        loops += [rehearsal.place, lambda: rehearsal.come_about(lambda pod: dice.random() < 0.4)]
        dice.shuffle(loops)
        done = any(loop() for loop in loops) or rehearsal.come_about()
        self.check()
        return done

    def check(self) -> None:
        self.promises.check(self.world, {}, self.rehearsal.now)
        for pod in self.world.list(POD):
            if uid(pod) not in self.made:
                self.made.append(uid(pod))

    def steps(self, count: int) -> None:
        for _ in range(count):
            if not self.step():
                self.rehearsal.now += 1.0

    def settle(self) -> None:
        """Until nothing is left to do, whatever time passes."""
        quiet = 0
        for _ in range(ENOUGH):
            if self.step():
                quiet = 0
                continue
            self.rehearsal.now += 1.0
            quiet += 1
            if quiet > self.patience + 2:
                return
        raise AssertionError("the rollout does not end")

    def assert_done(self, image: str) -> None:
        judge = KINDS[DEPLOYMENT].controller.progress
        assert judge is not None
        found = judge(self.web, self.world)
        assert found.done, found.message
        pods = self.world.list(POD)
        assert len(pods) == self.replicas
        assert all(pod["spec"]["containers"][0]["image"] == image and not deleting(pod) for pod in pods)

    def pods_of(self, image: str) -> set[str]:
        return {uid(pod) for pod in self.world.list(POD) if pod["spec"]["containers"][0]["image"] == image}


amounts = st.one_of(st.integers(0, 4), st.sampled_from(["10%", "25%", "50%", "100%"]))
strategies = st.one_of(
    st.just({"type": "Recreate"}),
    st.builds(rolling, amounts, amounts).filter(lambda s: any(str(v).strip("0%") for v in s["rollingUpdate"].values())),
)
tales = st.builds(
    Tale,
    seed=st.integers(0, 2**32),
    replicas=st.integers(0, 8),
    strategy=strategies,
    patience=st.sampled_from([0, 0, 3]),
)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 25)),
        st.tuples(st.just("kill")),
        st.tuples(st.just("scale"), st.integers(0, 8)),
        st.tuples(st.just("apply"), st.sampled_from(["nginx:1", "nginx:2", "nginx:3"])),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("undo")),
    ),
    max_size=8,
)


def runs(count: int) -> Any:
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )


@given(tale=tales, kills=st.lists(st.integers(0, 40), max_size=3))
@runs(250)
def test_a_rollout_makes_each_pod_once_and_ends(tale: Tale, kills: list[int]) -> None:
    """No thrash: as many new pods as are wanted, and not one more, whenever it is interrupted."""
    tale.settle()
    tale.assert_done("nginx:1")
    old = tale.pods_of("nginx:1")
    tale.apply("nginx:2")
    for count in kills:
        tale.steps(count)
        tale.kill()
    tale.settle()
    tale.assert_done("nginx:2")
    assert len(tale.made) == len(old) + tale.replicas
    head = {Ref.of(obj): obj for kind in (DEPLOYMENT, REPLICA_SET, POD) for obj in tale.world.list(kind)}
    tale.kill()
    tale.settle()
    assert {ref: tale.world.get(ref) for ref in head} == head, "an unchanged world is left alone"


@given(tale=tales, happenings=happenings)
@runs(250)
def test_whatever_users_do_in_between_it_ends(tale: Tale, happenings: list[tuple]) -> None:
    tale.settle()
    for what, *rest in happenings:
        getattr(tale, what)(*rest)
        tale.check()
    tale.pause(False)
    tale.apply("nginx:9")
    tale.settle()
    tale.assert_done("nginx:9")
    owners = {(controller_of(pod) or {}).get("name") for pod in tale.world.list(POD)}
    assert len(owners) <= 1
    assert all(get(rs, "spec", "replicas") == 0 for rs in tale.world.list(REPLICA_SET) if name(rs) not in owners)


@pytest.mark.parametrize("seed", range(4))
def test_a_rollout_that_is_replaced_half_way_keeps_what_is_available(seed: int) -> None:
    """Pods of the revision in between are Ready and not available yet: they go first, wherever they run."""
    for count in (24, 28, 30):
        tale = Tale(seed=seed, replicas=4, strategy=rolling(0, 2), patience=3)
        tale.settle()
        tale.apply("nginx:2")
        tale.steps(count)
        tale.apply("nginx:9")
        tale.settle()
        tale.assert_done("nginx:9")


def test_the_promises_are_checked() -> None:
    """A control plane that keeps none of them is found out."""
    tale = Tale(seed=1, replicas=4, strategy=rolling(1, 0))
    tale.settle()
    for rs in tale.world.list(REPLICA_SET):
        tale.world.set(put(rs, "spec", "replicas", 1))
    with pytest.raises(AssertionError, match="4 available pods became 1"):
        tale.check()

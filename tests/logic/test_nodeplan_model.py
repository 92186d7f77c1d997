"""Plans acted out on a model node: interrupted anywhere they converge, and nothing is ever made twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktool.api.obj import get, put
from tests.logic.nodemodel import Model, named, pod, waiting_reasons


def settle(model: Model, steps: int = 60) -> None:
    """Plan and act until nothing is left to do; time moves on where the plan asks for it."""
    for _ in range(steps):
        result = model.step()
        if not (result.setup or result.lanes or result.gone):
            if result.after is None:
                assert result.because
                return
            model.now += result.after
    raise AssertionError(f"no end after {steps} steps: {result}")


PODS = (
    pod("plain"),
    pod("two", containers=("web", "side")),
    pod("init", init=("init-a", "init-b")),
    pod("host", hostNetwork=True),
    pod("once", restartPolicy="Never", containers=("job",)),
    pod("files", volumes=[{"name": "tmp", "emptyDir": {"medium": "Memory"}}]),
)

DISTURBANCE = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 12)),
    st.tuples(st.just("reboot"), st.just(0)),
    st.tuples(st.just("rm container"), st.integers(0, 20)),
    st.tuples(st.just("rm pod"), st.integers(0, 20)),
    st.tuples(st.just("stop"), st.integers(0, 20)),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
)


def disturb(model: Model, what: str, number: int) -> None:
    facts = model.facts.pods
    if what == "step":
        model.step(limit=number)
    elif what == "reboot":
        model.reboot()
    elif what == "wait":
        model.now += number
    elif what == "delete":
        uid = sorted(model.wanted)[number % len(model.wanted)] if model.wanted else ""
        if uid:
            meta = {**model.wanted[uid]["metadata"], "deletionTimestamp": "x", "deletionGracePeriodSeconds": 5}
            model.wanted[uid] = put(model.wanted[uid], "metadata", meta)
    elif facts:
        fact = facts[number % len(facts)]
        if what == "rm pod":
            model.facts = type(model.facts)(
                tuple(f for f in facts if f is not fact), "", model.facts.volumes, (), model.facts.network
            )
        elif fact.containers:
            own = fact.containers[number % len(fact.containers)].name
            if what == "rm container":
                model.remove_container(fact.uid, own)
            else:
                model._change(fact.uid, own, lambda c: model._stop(c) if c.state == "running" else c)


@settings(max_examples=150, deadline=None)
@given(
    pods=st.lists(st.sampled_from(PODS), unique_by=lambda p: p["metadata"]["uid"], max_size=4),
    disturbances=st.lists(DISTURBANCE, max_size=10),
    exits=st.sampled_from([{}, {"job": 0}, {"job": 3}]),
)
def test_every_interruption_is_repaired(pods, disturbances, exits):
    model = Model(list(pods), exits)
    for what, number in disturbances:
        disturb(model, what, number)
    settle(model)
    on_node = {fact.uid: fact for fact in model.facts.pods}
    for uid, wanted in model.wanted.items():
        assert "deletionTimestamp" not in wanted["metadata"]
        phase = get(wanted, "status", "phase")
        if get(wanted, "spec", "restartPolicy") == "Never":
            assert phase in ("Running", "Succeeded", "Failed")
            continue
        assert phase == "Running", wanted["status"]
        states = {c.name: c.state for c in on_node[uid].containers}
        assert all(states[c["name"]] == "running" for c in wanted["spec"]["containers"])
        assert all(entry["ready"] for entry in wanted["status"]["containerStatuses"])
    assert set(on_node) <= set(model.wanted)
    addresses = [fact.ip for fact in on_node.values() if fact.ip]
    assert len(addresses) == len(set(addresses))
    before = dict(model.wanted)
    model.now += 1000
    model.observe()
    assert all(
        model.wanted[uid] is before[uid] or model.wanted[uid]["status"] is before[uid]["status"] for uid in before
    )


def test_init_containers_run_one_after_the_other_and_not_again_after_a_reboot():
    model = Model([pod("init", init=("init-a", "init-b"))])
    seen = []
    for _ in range(6):
        seen.append(
            [
                type(a).__name__ + ":" + a.container
                for lane in model.step().lanes
                for a in lane.actions
                if hasattr(a, "container")
            ]
        )
    assert [entry for entry in seen if entry] == [
        ["CreateContainer:init-a"],
        ["CreateContainer:init-b", "StartContainer:init-b"],
        ["CreateContainer:web", "StartContainer:web"],
    ]
    model.reboot()
    actions = [action for lane in model.step().lanes for action in lane.actions]
    assert [(type(a).__name__, a.container) for a in actions if hasattr(a, "container")] == [("StartContainer", "web")]


def test_an_init_container_that_fails_waits_longer_each_time():
    model = Model([pod("init", init=("init-a",))], exits={"init-a": 1})
    pauses, shown = [], []
    for _ in range(20):
        result = model.step()
        status = model.wanted["uid-init"]["status"]["initContainerStatuses"][0]
        if result.after is not None and not result.lanes:
            pauses.append(round(result.after))
            shown.append(
                (get(status, "state", "waiting", "message", default="").split(" restarting")[0], status["restartCount"])
            )
            model.now += result.after
    assert pauses[:4] == [10, 20, 40, 80]
    assert shown[:3] == [("back-off 10s", 1), ("back-off 20s", 2), ("back-off 40s", 3)]


def test_never_a_second_try_of_an_init_container_under_restart_policy_never():
    model = Model([pod("init", init=("init-a",), restartPolicy="Never")], exits={"init-a": 7})
    settle(model)
    status = model.wanted["uid-init"]["status"]
    assert status["phase"] == "Failed"
    assert get(status["initContainerStatuses"][0], "state", "terminated", "exitCode") == 7


def test_a_container_removed_by_hand_comes_back_and_is_counted():
    model = Model([pod("two", containers=("web", "side"))])
    settle(model)
    model.remove_container("uid-two", "side")
    model.now += 5
    settle(model)
    entries = {e["name"]: e for e in model.wanted["uid-two"]["status"]["containerStatuses"]}
    assert entries["side"]["restartCount"] == 1 and entries["web"]["restartCount"] == 0
    assert get(entries["side"], "lastState", "terminated", "reason") == "ContainerStatusUnknown"


def test_a_finished_pod_does_not_run_again_after_a_reboot():
    model = Model([pod("once", restartPolicy="Never", containers=("job",))], exits={"job": 0})
    settle(model)
    model.reboot()
    settle(model)
    assert model.wanted["uid-once"]["status"]["phase"] == "Succeeded"
    assert model.facts.pods[0].infra == "exited"


def test_changing_an_image_replaces_that_container_only():
    model = Model([pod("two", containers=("web", "side"))])
    settle(model)
    before = {c.name: c.id for c in model.facts.pods[0].containers}
    changed = [
        {**c, "image": "registry.test/web:v2"} if c["name"] == "web" else c
        for c in model.wanted["uid-two"]["spec"]["containers"]
    ]
    model.wanted["uid-two"] = put(model.wanted["uid-two"], "spec", "containers", changed)
    settle(model)
    after = {c.name: c for c in model.facts.pods[0].containers}
    assert after["side"].id == before["side"] and after["web"].id != before["web"]
    assert after["web"].image == "registry.test/web:v2"


@pytest.mark.parametrize("spread", [1, 5], ids=["one at a time", "five at a time"])
def test_a_pod_gets_its_old_address_again(spread):
    pods = [pod(f"p{number}") for number in range(spread)]
    model = Model(pods)
    settle(model)
    first = {fact.uid: fact.ip for fact in model.facts.pods}
    model.facts = type(model.facts)(network=model.facts.network)
    model.addresses = {}
    settle(model)
    assert {fact.uid: fact.ip for fact in model.facts.pods} == first


def test_the_pods_of_another_cluster_state_are_removed():
    model = Model([pod("a"), pod("b")])
    settle(model)
    del model.wanted["uid-a"]
    settle(model)
    assert [fact.name for fact in model.facts.pods] == ["b"]
    assert waiting_reasons(named(model.wanted, "b")) == [""]

"""The simulated node: what it is sent is what podspec renders, and what it reports is what nodeplan reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ktool.api.ref import Ref
from ktool.logic.network.links import Links, Route
from ktool.logic.node.nodeaction import (
    ContainerFact,
    CreateContainer,
    CreatePod,
    EnsureNetwork,
    NodeAction,
    Outcome,
    RemoveContainer,
    RemovePod,
    SetLinks,
    StartContainer,
    StartPod,
    StopContainer,
    StopPod,
    WriteVolumes,
)
from ktool.logic.node.volume import Volume
from ktool.logic.plan import nodeplan
from ktool.logic.pod.context import Context
from ktool.logic.pod.podspec import Rendered, render
from ktool.node.base import LogOptions, NodeError, Unreachable
from ktool.node.simulated import runtime as simulated
from ktool.node.simulated.faults import CRASH_AFTER, Fault
from ktool.node.simulated.runtime import SimulatedRuntime, from_url
from ktool.node.simulated.simmachine import Settings

Obj = dict[str, Any]
NODE: Obj = {"kind": "Node", "metadata": {"name": "sim"}, "spec": {"podCIDR": "10.244.0.0/24"}}


class Time:
    """A clock that tests move; what is to happen later happens when it passes."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._later: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def later(self, delay: float, function: Callable[[], None]) -> None:
        self._later.append((self.now + delay, function))

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((entry for entry in self._later if entry[0] <= end), key=lambda entry: entry[0]):
            self._later.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end


@pytest.fixture(autouse=True)
def no_machines() -> Iterator[None]:
    simulated.RUNTIMES.clear()
    yield
    simulated.RUNTIMES.clear()


@pytest.fixture
def clock() -> Time:
    return Time()


def runtime(clock: Time, fail: Mapping[str, str] | None = None, **options: Any) -> SimulatedRuntime:
    """`fail`: pattern -> reason."""
    faults = tuple(Fault(reason, pattern) for pattern, reason in (fail or {}).items())
    settings = Settings(faults=faults, **options)
    return SimulatedRuntime("sim", settings=settings, clock=clock, sleep=clock.sleep, call_later=clock.later)


def pod(name: str = "web", *, image: str = "nginx:1.25", init: bool = False, **spec: Any) -> Obj:
    body: Obj = {"containers": [{"name": "main", "image": image}], "nodeName": "sim", **spec}
    if init:
        body["initContainers"] = [{"name": "prepare", "image": "busybox:1"}]
    meta = {"name": name, "namespace": "default", "uid": f"{name}-uid-0001"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body, "status": {}}


def rendered(body: Obj, ip: str = "10.244.0.2") -> Rendered:
    return render(body, node=NODE, cluster="c1", ip=ip, lookup=lambda ref: None)


def launch(node: SimulatedRuntime, body: Obj, ip: str = "10.244.0.2") -> list[Outcome]:
    """Image, pod, containers, start: as a lane does it, up to the first failure."""
    wanted, own = rendered(body, ip), body["metadata"]["uid"]
    actions: list[NodeAction] = list(wanted.images.values())
    actions.append(CreatePod(own, wanted.pod))
    actions += [CreateContainer(own, name, payload) for name, payload in wanted.containers.items()]
    actions.append(StartPod(own, wanted.pod_name))
    outcomes = []
    for action in actions:
        outcomes.append(node.perform(action))
        if outcomes[-1].failure:
            break
    return outcomes


def only(node: SimulatedRuntime) -> ContainerFact:
    (fact,) = node.observe().pods
    (container,) = fact.containers
    return container


# --- a pod's life ------------------------------------------------------------------------------------------------


def test_a_pod_is_reported_with_what_its_payload_says(clock: Time) -> None:
    node = runtime(clock)
    assert all(outcome.failure is None for outcome in launch(node, pod()))
    (fact,) = node.observe().pods
    assert (fact.namespace, fact.name, fact.uid, fact.ip) == ("default", "web", "web-uid-0001", "10.244.0.2")
    assert (fact.hash, fact.infra, fact.created_at) == (rendered(pod()).hash, "running", clock.now)
    container = fact.containers[0]
    assert (container.name, container.state, container.started_at) == ("main", "running", clock.now)
    assert container.image == "docker.io/library/nginx:1.25"


def test_doing_it_again_changes_nothing(clock: Time) -> None:
    node = runtime(clock)
    first = launch(node, pod())
    before = node.observe()
    clock.sleep(5)
    assert [outcome.id for outcome in launch(node, pod())] == [outcome.id for outcome in first]
    assert node.observe() == before


def test_a_start_takes_its_delay_and_then_listeners_hear_of_it(clock: Time) -> None:
    node, heard = runtime(clock, start_delay=2.0), []
    node.listen(lambda: heard.append(clock.now))
    launch(node, pod())
    began = clock.now
    clock.sleep(1.9)
    assert only(node).state == "created" and heard == []
    launch(node, pod())  # asking again neither shortens nor prolongs it
    clock.sleep(0.2)
    assert heard == [began + 2.0]
    assert (only(node).state, only(node).started_at) == ("running", began + 2.0)


def test_stop_and_remove(clock: Time) -> None:
    node = runtime(clock)
    launch(node, pod())
    container = only(node)
    clock.sleep(3)
    assert node.perform(StopContainer("u", "main", container.id, grace=30)).failure is None
    assert (only(node).state, only(node).exit_code, only(node).finished_at) == ("exited", 0, clock.now)
    key = rendered(pod()).pod_name
    for _ in range(2):
        assert node.perform(RemovePod("web-uid-0001", key)).failure is None
    assert node.observe().pods == ()


def test_sigterm_ignored_costs_the_grace_period_and_ends_in_137(clock: Time) -> None:
    node = runtime(clock, fail={"stubborn*": "IgnoreSIGTERM"})
    launch(node, pod("stubborn"))
    launch(node, pod("meek"), "10.244.0.3")
    ids = {fact.name: fact.containers[0].id for fact in node.observe().pods}
    began = clock.now
    node.perform(StopPod("u", "p", (ids["meek"], "gone-already"), grace=30))
    assert clock.now == began
    node.perform(StopPod("u", "p", (ids["stubborn"],), grace=30))
    assert clock.now == began + 30
    codes = {fact.name: fact.containers[0].exit_code for fact in node.observe().pods}
    assert codes == {"stubborn": 137, "meek": 0}
    node.perform(StartContainer("u", "main", ids["stubborn"]))
    node.perform(StopPod("u", "p", (ids["stubborn"],), grace=0))
    assert clock.now == began + 30


def test_containers_that_end_well_do_so_by_their_restart_policy(clock: Time) -> None:
    node = runtime(clock, run_for=10.0)
    launch(node, pod(restartPolicy="Never"))
    clock.sleep(9)
    assert only(node).state == "running"
    clock.sleep(2)
    container = only(node)
    assert (container.state, container.exit_code) == ("exited", 0)
    assert container.finished_at - container.started_at == 10.0


# --- mishaps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "step", "reason"),
    [
        pytest.param({"nginx*": "ErrImagePull"}, "EnsureImage", "ErrImagePull", id="pull-by-short-name"),
        pytest.param(
            {"docker.io/library/nginx:1.25": "ErrImagePull"}, "EnsureImage", "ErrImagePull", id="pull-by-name"
        ),
        pytest.param({"nginx": "InvalidImageName"}, "EnsureImage", "InvalidImageName", id="image-without-tag"),
        pytest.param({"web": "CreateContainerError"}, "CreateContainer", "CreateContainerError", id="create-by-pod"),
        pytest.param({"main": "RunContainerError"}, "StartPod", "RunContainerError", id="start-by-container"),
        pytest.param({"other*": "ErrImagePull"}, "", "", id="another-image"),
    ],
)
def test_faults_are_outcomes_with_their_reason(clock: Time, fail: dict[str, str], step: str, reason: str) -> None:
    last = launch(runtime(clock, fail=fail), pod())[-1]
    if not step:
        assert last.failure is None
        return
    assert last.failure is not None
    assert (last.failure.step, last.failure.reason, last.failure.at) == (step, reason, clock.now)
    assert last.failure.image == ("docker.io/library/nginx:1.25" if step == "EnsureImage" else "")


def test_a_fault_can_be_mended(clock: Time) -> None:
    node = runtime(clock, fail={"nginx*": "ErrImagePull"})
    assert launch(node, pod())[-1].failure
    node.machine.set_faults()
    assert launch(node, pod())[-1].failure is None
    assert launch(runtime(clock, fail={"nginx*": "ErrImagePull"}), pod("again"), "10.244.0.3")[-1].failure is None, (
        "a reconnect with the same URL leaves alone what was changed since"
    )


@pytest.mark.parametrize(
    ("policy", "fault", "state", "code", "restarts", "oom"),
    [
        pytest.param("Always", "Crash:3", "running", 3, 5, False, id="always"),
        pytest.param("OnFailure", "Crash", "running", 1, 5, False, id="on-failure"),
        pytest.param("OnFailure", "Crash:0", "exited", 0, 0, False, id="on-failure-succeeded"),
        pytest.param("Never", "Crash:3", "exited", 3, 0, False, id="never"),
        pytest.param("Never", "OOMKilled", "exited", 137, 0, True, id="out-of-memory"),
    ],
)
def test_a_crash_a_moment_after_each_start(
    clock: Time, policy: str, fault: str, state: str, code: int, restarts: int, oom: bool
) -> None:
    node, heard = runtime(clock, fail={"web": fault}), []
    node.listen(lambda: heard.append(clock.now))
    launch(node, pod(restartPolicy=policy))
    began = clock.now
    clock.sleep(5.5 * CRASH_AFTER)
    container = only(node)
    assert (container.state, container.exit_code, container.restarts, container.oom_killed) == (
        state, code, restarts, oom
    )  # fmt: skip
    assert container.finished_at == began + (5 if restarts else 1) * CRASH_AFTER
    assert len(heard) == (5 if restarts else 1)


def test_a_crash_on_demand(clock: Time) -> None:
    node, heard = runtime(clock), []
    node.listen(lambda: heard.append(1))
    launch(node, pod(restartPolicy="Always"))
    clock.sleep(60)
    node.machine.crash("web", exit_code=7)
    container = only(node)
    assert (container.state, container.exit_code, container.restarts) == ("running", 7, 1)
    assert container.started_at == container.finished_at == clock.now and heard == [1]
    with pytest.raises(KeyError, match="nobody"):
        node.machine.crash("nobody")


def test_a_start_of_ours_begins_a_new_count_of_restarts(clock: Time) -> None:
    node = runtime(clock)
    launch(node, pod(restartPolicy="Always"))
    node.machine.crash("web")
    node.perform(StopContainer("u", "main", only(node).id, 30))
    node.perform(StartContainer("u", "main", only(node).id))
    assert (only(node).state, only(node).restarts) == ("running", 0)


def test_a_reboot_stops_everything_and_is_seen(clock: Time) -> None:
    node = runtime(clock)
    node.perform(EnsureNetwork("10.244.0.0/24"))
    node.perform(SetLinks(Links((Route("10.244.1.0/24", "10.0.0.2"),))))
    launch(node, pod(restartPolicy="Always"))
    before = node.observe()
    node.machine.reboot()
    after = node.observe()
    assert before.boot_id != after.boot_id and before.network and before.links != Links()
    assert (after.network, after.links) == ("", Links())
    assert after.pods[0].infra == "created" and only(node).state == "created"
    assert node.perform(StartPod("u", rendered(pod()).pod_name)).failure is None
    assert only(node).state == "running"


def test_an_unplugged_node_is_unreachable_and_its_pods_live_on(clock: Time) -> None:
    node, heard = runtime(clock), []
    node.listen(lambda: heard.append(1))
    launch(node, pod())
    node.machine.unplug()
    calls: list[Callable[[], Any]] = [
        node.info,
        node.observe,
        lambda: node.claim("c1", 1),
        lambda: node.perform(EnsureNetwork("10.244.0.0/24")),
        lambda: node.logs("x", LogOptions()),
    ]
    for call in calls:
        with pytest.raises(Unreachable, match="cannot reach node sim"):
            call()
    assert heard == [1]
    node.machine.plug()
    assert only(node).state == "running"


def test_unknown_faults_are_refused() -> None:
    for reason in ("Bang", "Crash:x", "Crash:256", "OOMKilled:1", ""):
        with pytest.raises(ValueError, match="no fault a simulated node knows"):
            Fault(reason, "*")


# --- the machine and its connections -----------------------------------------------------------------------------


def test_the_machine_outlives_its_connections(clock: Time) -> None:
    first, heard = runtime(clock), []
    first.listen(lambda: heard.append("first"))
    launch(first, pod())
    passing = runtime(clock)
    passing.close()
    first.machine.plug()
    assert heard == ["first"], "closing another connection left this one listening"
    first.close()
    first.machine.plug()
    assert heard == ["first"]
    assert [fact.name for fact in runtime(clock).observe().pods] == ["web"]
    assert simulated.RUNTIMES["sim"].pods


def test_fencing(clock: Time) -> None:
    node = runtime(clock)
    node.claim("c1", 5)
    node.claim("c1", 5)
    node.claim("c1", 7)
    with pytest.raises(NodeError, match="token 7"):
        runtime(clock).claim("c1", 6)
    with pytest.raises(NodeError, match="belongs to cluster c1"):
        runtime(clock).claim("c2", 9)


def test_from_url() -> None:
    url = "simulated://?cpu=16&memory=64Gi&startDelay=0.5&runFor=3&fail=ErrImagePull@bad*&fail=Crash:3@web-*"
    info = from_url("sim7", url).info()
    assert (info.hostname, info.cpu, info.memory) == ("sim7", 16, 64 * 1024**3)
    assert info.runtime_version.startswith("simulated://") and len(info.addresses) == 1
    settings = simulated.RUNTIMES["sim7"].settings
    assert (settings.start_delay, settings.run_for) == (0.5, 3.0)
    assert settings.faults == (Fault("ErrImagePull", "bad*"), Fault("Crash:3", "web-*"))
    assert from_url("sim7", "simulated://?cpu=8").info().cpu == 8, "an edited URL changes the machine"
    assert from_url("plain", "simulated://").info().cpu == 32


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("simulated://?cpus=2", id="unknown-option"),
        pytest.param("simulated://?cpu=many", id="no-quantity"),
        pytest.param("simulated://?startDelay=soon", id="no-number"),
        pytest.param("simulated://?fail=Bang@x", id="unknown-fault"),
        pytest.param("simulated://?cpu", id="no-value"),
    ],
)
def test_from_url_refuses_with_a_sentence(url: str) -> None:
    with pytest.raises(NodeError, match="of node n is not understood: "):
        from_url("n", url)


def test_logs(clock: Time) -> None:
    node = runtime(clock)
    launch(node, pod())
    container = only(node).id
    whole = list(node.logs(container, LogOptions()))
    assert whole[0] == b"simulated container main of pod default/web on node sim\n" and len(whole) == 2
    assert list(node.logs(container, LogOptions(tail=1))) == whole[1:]
    assert list(node.logs(container, LogOptions(tail=0))) == []
    assert list(node.logs(container, LogOptions(tail=99))) == whole
    assert list(node.logs(container, LogOptions(since=clock.now + 1))) == []
    assert next(node.logs(container, LogOptions(timestamps=True))).startswith(b"2023-11-14T22:13:20.000000Z simulated")
    with pytest.raises(NodeError, match="no container"):
        node.logs("nope", LogOptions())


def test_exec_is_refused_with_the_reason(clock: Time) -> None:
    with pytest.raises(NodeError, match="simulated and runs no commands"):
        runtime(clock).exec("x", ["ls"], stdin=False, tty=False)


def test_what_is_missing_is_refused_as_podman_does(clock: Time) -> None:
    node = runtime(clock)
    payload = rendered(pod()).containers["main"]
    refused = [
        node.perform(CreateContainer("u", "main", payload)),
        node.perform(StartPod("u", "nope")),
        node.perform(StartContainer("u", "main", "nope")),
    ]
    assert [outcome.failure and outcome.failure.reason for outcome in refused] == [
        "CreateContainerError",
        "RunContainerError",
        "RunContainerError",
    ]
    assert node.perform(RemoveContainer("u", "main", "nope")).failure is None


def test_an_address_is_given_once(clock: Time) -> None:
    node = runtime(clock)
    launch(node, pod("a"))
    last = launch(node, pod("b"))[-1]
    assert last.failure is not None and "10.244.0.2 is already allocated" in last.failure.message


def test_volumes_are_reported_by_hash_until_the_pod_is_removed(clock: Time) -> None:
    node = runtime(clock)
    node.perform(WriteVolumes("u1", (Volume("a", hash="1"), Volume("b", hash="2"))))
    node.perform(WriteVolumes("u1", (Volume("b", hash="3"),)))
    assert node.observe().volumes == {"u1": {"a": "1", "b": "3"}}
    node.perform(RemovePod("u1", "never-made"))
    assert node.observe().volumes == {}


def test_real_time_rings_the_listeners() -> None:
    node, rang = SimulatedRuntime("real", settings=Settings(start_delay=0.05)), threading.Event()
    node.listen(rang.set)
    launch(node, pod())
    assert rang.wait(5)
    assert only(node).state == "running"


# --- with the planner --------------------------------------------------------------------------------------------


def converge(node: SimulatedRuntime, pods: list[Obj], clock: Time, most: int = 20) -> None:
    """Observe, plan, act until the plan is empty."""
    addresses: dict[str, str] = {}
    for _ in range(most):
        context = Context(NODE, "c1", {}, _nothing, clock.now)
        plan = nodeplan.plan(pods, node.observe(), context, nodeplan.Underway(addresses=addresses))
        if not (plan.setup or plan.lanes):
            assert plan.because or plan.gone
            return
        addresses.update(plan.addresses)
        for action in [*plan.setup, *(action for lane in plan.lanes for action in lane.actions)]:
            assert node.perform(action).failure is None
        clock.sleep(1)
    raise AssertionError(f"no end after {most} plans: {plan}")


def _nothing(ref: Ref) -> Obj | None:
    return None


def test_the_planner_brings_pods_up_and_down_again(clock: Time) -> None:
    node = runtime(clock, start_delay=0.5)
    pods = [pod(f"w{number}") for number in range(5)] + [pod("staged", init=True)]
    converge(node, pods, clock)
    facts = {fact.name: fact for fact in node.observe().pods}
    assert len({fact.ip for fact in facts.values()}) == 6
    assert all(fact.containers[-1].state == "running" for fact in facts.values())
    assert [(one.name, one.state) for one in facts["staged"].containers] == [("prepare", "exited"), ("main", "running")]
    ending = [{**body, "metadata": {**body["metadata"], "deletionTimestamp": "2024-01-01T00:00:00Z"}} for body in pods]
    converge(node, ending, clock)
    assert node.observe().pods == ()


def test_two_thousand_pods_are_cheap() -> None:
    """A node's own share of a pod's life, next to dict copies of its payload: the simulation must not be what a
    measurement of the control plane measures."""
    bodies = [rendered(pod(f"w{number}"), f"10.9.{number // 250}.{number % 250}") for number in range(2000)]
    began = time.perf_counter()
    for _ in range(20):
        for body in bodies:
            dict(body.pod["labels"]) | dict(body.containers["main"])
    floor = time.perf_counter() - began
    began = time.perf_counter()
    for number, body in enumerate(bodies):
        node = SimulatedRuntime(f"n{number % 100}")
        for action in (
            CreatePod(f"u{number}", body.pod),
            CreateContainer(f"u{number}", "main", body.containers["main"]),
            StartPod(f"u{number}", body.pod_name),
        ):
            assert node.perform(action).failure is None
        node.observe()
    spent = time.perf_counter() - began
    assert sum(len(machine.pods) for machine in simulated.RUNTIMES.values()) == 2000
    assert spent / floor < 12, f"{spent:.3f} s, {spent / floor:.1f} times the copies"

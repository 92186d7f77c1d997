"""The life of pods on a real node."""

from __future__ import annotations

import threading
import time

import pytest

from ktool.logic.node.nodeaction import (
    CreateContainer,
    CreatePod,
    DrainPod,
    EnsureImage,
    Failure,
    RemoveContainer,
    RemovePod,
    StartContainer,
    StartPod,
    StopContainer,
    StopPod,
)
from tests.podman.support import WEB, Node, done, pod, until

pytestmark = pytest.mark.podman

HOSTILE = "a'b\"c $(touch /tmp/pwned) `id` \\ \n;|&é*~"


def test_create_observe_stop_remove(node: Node) -> None:
    web = pod("web")
    fact = node.run(web, "10.244.101.10")
    assert (fact.namespace, fact.name, fact.ip, fact.infra) == ("default", "web", "10.244.101.10", "running")
    [container] = fact.containers
    assert (container.name, container.state, container.image, container.restarts) == ("web", "running", WEB, 0)
    assert abs(container.started_at - time.time()) < 30

    done(node.runtime.perform(StopPod(fact.uid, fact.id, (container.id,), 5)))
    stopped = node.container(fact.uid, "web")
    assert stopped.state == "exited"
    assert stopped.started_at <= stopped.finished_at <= time.time() + 1

    done(node.runtime.perform(RemovePod(fact.uid, fact.id)))
    assert node.runtime.observe().pods == ()


def test_every_action_may_be_done_again(node: Node) -> None:
    web = pod("again")
    uid = web["metadata"]["uid"]
    rendered = node.create(web, "10.244.101.11")
    container = CreateContainer(uid, "web", rendered.containers["web"])
    first = [done(node.runtime.perform(action)) for action in (CreatePod(uid, rendered.pod), container)]
    again = [done(node.runtime.perform(action)) for action in (CreatePod(uid, rendered.pod), container)]
    assert first == again and all(first)
    actions = [
        StartPod(uid, rendered.pod_name),
        StartContainer(uid, "web", first[1]),
        StopContainer(uid, "web", first[1], 0),
        RemoveContainer(uid, "web", first[1]),
        RemovePod(uid, rendered.pod_name),
    ]
    for action in actions:
        done(node.runtime.perform(action))
        done(node.runtime.perform(action))


def test_hostile_values_are_data(node: Node) -> None:
    container = {
        "name": "web",
        "command": ["sh", "-c", 'printf %s "$1" >/tmp/argument; exec sleep 1000', "sh", HOSTILE],
        "env": [{"name": "HOSTILE", "value": HOSTILE}],
    }
    fact = node.run(pod("hostile", container), "10.244.101.12")
    own = fact.containers[0].id
    assert until(lambda: node.exec(own, "cat", "/tmp/argument"))[1] == HOSTILE.encode()
    assert node.exec(own, "sh", "-c", 'printf %s "$HOSTILE"')[1] == HOSTILE.encode()
    assert node.exec(own, "printf", "%s", HOSTILE)[1] == HOSTILE.encode()
    assert node.shell("ls /tmp/pwned 2>/dev/null") == ""


def test_the_restart_policy_works_while_nobody_watches(node: Node) -> None:
    crash = {"name": "app", "command": ["sh", "-c", "echo run; sleep 0.3; exit 4"]}
    fact = node.run(pod("crash", crash), "10.244.101.13")
    time.sleep(3)
    seen = node.container(fact.uid, "app")
    assert seen.restarts >= 2
    assert seen.id == fact.containers[0].id
    done(node.runtime.perform(StopContainer(fact.uid, "app", seen.id, 0)))
    restarts = node.runtime._api.get(f"containers/{seen.id}/json")["RestartCount"]
    time.sleep(1)
    stopped = node.container(fact.uid, "app")
    assert (stopped.state, stopped.restarts) == ("exited", restarts), "stopped by us: Podman leaves it alone"


def test_two_runs_within_one_second_are_two(node: Node) -> None:
    """containers/json has times in whole seconds: nobody who hears no events may trust it to show a change."""
    once = pod("twice", {"name": "app", "command": ["true"]}, restartPolicy="Never")
    fact = node.run(once, "10.244.101.13")
    own = fact.containers[0].id

    def run() -> float:
        """When the run that is seen began, after one that somebody else started has ended."""
        node.runtime._api.post(f"containers/{own}/start")
        node.runtime._api.post(f"containers/{own}/wait", condition="exited")
        return node.container(fact.uid, "app").started_at

    time.sleep(1.05 - time.time() % 1)
    starts = [run() for _ in range(3)]
    assert starts == sorted(set(starts))


def test_a_container_between_two_runs_stays_ended_when_it_is_stopped(node: Node) -> None:
    crash = {"name": "app", "command": ["sh", "-c", "sleep 0.05; exit 4"]}
    api = node.runtime._api
    for round in range(8):
        fact = node.run(pod(f"crash{round}", crash), "10.244.101.13")
        own = fact.containers[0].id
        while api.get(f"containers/{own}/json")["State"]["Status"] != "stopped":
            pass
        done(node.runtime.perform(StopContainer(fact.uid, "app", own, 0)))
        restarts = api.get(f"containers/{own}/json")["RestartCount"]
        time.sleep(0.4)
        later = node.container(fact.uid, "app")
        assert (later.state, later.restarts) == ("exited", restarts), round
        node.clean()


def test_how_a_container_ended(node: Node) -> None:
    containers = [
        {"name": "failed", "command": ["sh", "-c", "exit 3"]},
        {"name": "done", "command": ["true"]},
        {
            "name": "oom",
            "command": ["perl", "-e", '$x = "x" x 300_000_000; sleep 9'],
            "resources": {"limits": {"memory": "20Mi"}},
        },
    ]
    fact = node.run(pod("ends", *containers, restartPolicy="Never"), "10.244.101.14")
    until(lambda: all(c.state == "exited" for c in node.fact(fact.uid).containers))
    ends = {c.name: (c.exit_code, c.oom_killed) for c in node.fact(fact.uid).containers}
    assert ends == {"failed": (3, False), "done": (0, False), "oom": (137, True)}


def test_a_pod_that_ignores_sigterm_gets_its_grace_then_ends(node: Node) -> None:
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    fact = node.run(pod("stubborn", {"name": "a", **stubborn}, {"name": "b", **stubborn}), "10.244.101.15")
    began = time.monotonic()
    thread = threading.Thread(target=node.remove, args=(fact, 3))
    thread.start()
    time.sleep(1)
    looked = time.monotonic()
    states = {c.state for c in node.fact(fact.uid).containers}
    assert states <= {"stopping", "running"} and time.monotonic() - looked < 2, "others are served meanwhile"
    thread.join()
    assert 3 <= time.monotonic() - began < 8, "both side by side, neither twice the grace nor Podman's own ten seconds"
    assert node.runtime.observe().pods == ()


@pytest.mark.parametrize(
    ("image", "policy", "reason", "message"),
    [
        pytest.param("registry.lab/nope:v1", "IfNotPresent", "ErrImagePull", "manifest unknown", id="no-such-image"),
        pytest.param("registry.lab/web:v999", "Never", "ErrImageNeverPull", "pull policy of Never", id="never"),
        pytest.param("registry.lab/UPPER", "Always", "InvalidImageName", "", id="bad-name"),
        pytest.param("127.0.0.1:9/x:1", "Always", "ErrImagePull", "refused", id="no-registry"),
    ],
)
def test_images_that_cannot_be_had(node: Node, image: str, policy: str, reason: str, message: str) -> None:
    failure = node.runtime.perform(EnsureImage(image, policy)).failure
    assert failure is not None
    assert (failure.reason, failure.step, failure.image) == (reason, "EnsureImage", image)
    assert message in failure.message


def test_twenty_lanes_that_want_one_image_pull_it_once(nodes: list[Node]) -> None:
    node = nodes[0]
    image = "registry.lab/web:v2"
    node.shell(f"podman rmi -f {image} >/dev/null 2>&1")
    began = int(time.time()) - 1
    failures: list[Failure | None] = []
    threads = [
        threading.Thread(
            target=lambda: failures.append(node.runtime.perform(EnsureImage(image, "IfNotPresent")).failure)
        )
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [None] * 20
    pulls = node.shell(f"podman events --stream=false --since {began} --filter event=pull").splitlines()
    assert len(pulls) == 1


def test_a_command_that_does_not_exist_is_named(node: Node) -> None:
    broken = pod("broken", {"name": "web", "command": ["/no/such/program"]})
    rendered = node.create(broken, "10.244.101.16")
    failure = node.runtime.perform(StartPod(broken["metadata"]["uid"], rendered.pod_name)).failure
    assert failure is not None and failure.reason == "RunContainerError"
    assert "/no/such/program" in failure.message and "starting container" not in failure.message


def test_an_address_that_is_taken(node: Node) -> None:
    node.run(pod("first"), "10.244.101.17")
    second = pod("second")
    rendered = node.create(second, "10.244.101.17")
    failure = node.runtime.perform(StartPod(second["metadata"]["uid"], rendered.pod_name)).failure
    assert failure is not None and failure.reason == "FailedCreatePodSandBox"


def test_what_is_not_ours_is_never_touched(node: Node) -> None:
    node.shell(
        f"podman pod create --name foreign >/dev/null; podman run -d --pod foreign --name stranger {WEB} >/dev/null"
    )
    try:
        uid = "00000000-0000-0000-0000-000000000001"
        for action in (
            StopContainer(uid, "web", "stranger", 0),
            RemoveContainer(uid, "web", "stranger"),
            StopPod(uid, "foreign", ("stranger",), 0),
            RemovePod(uid, "foreign"),
        ):
            failure = node.runtime.perform(action).failure
            assert failure is not None and "not ours" in failure.message
        web = pod("mine")
        rendered = node.create(web, "10.244.101.18")
        clash = {**rendered.pod, "name": "foreign"}
        failure = node.runtime.perform(CreatePod(web["metadata"]["uid"], clash)).failure
        assert failure is not None and "is taken" in failure.message
        assert {fact.name for fact in node.runtime.observe().pods} == {"mine"}
        assert node.shell("podman inspect --format '{{.State.Status}}' stranger") == "running\n"
    finally:
        node.shell("podman pod rm -f -t 0 foreign")


def test_a_payload_without_our_labels_is_refused(node: Node) -> None:
    failure = node.runtime.perform(CreatePod("u", {"name": "x", "labels": {}})).failure
    assert failure is not None and "labels" in failure.message
    assert "x" not in node.shell("podman pod ls --format '{{.Name}}'").split()


def test_the_run_before_one_that_has_ended(node: Node) -> None:
    """Restarted by Podman while nobody watched, and ended well: how the crash before it ended is known all the same."""
    twice = {
        "name": "app",
        "command": ["sh", "-c", "[ -e /tmp/was ] && { sleep 0.3; exit 0; }; touch /tmp/was; sleep 0.5; exit 5"],
    }
    fact = node.run(pod("twice", twice, restartPolicy="OnFailure"), "10.244.101.19")
    until(lambda: node.container(fact.uid, "app").restarts == 1 and node.container(fact.uid, "app").state == "exited")
    seen = node.container(fact.uid, "app")
    assert seen.exit_code == 0 and seen.before is not None and seen.before.exit_code == 5
    assert seen.before.at <= seen.started_at


def test_open_connections_get_their_time_and_no_more(node: Node) -> None:
    fact = node.run(pod("drained"), "10.244.101.15")
    until(lambda: "drained" in node.shell("wget -qO- http://10.244.101.15:8080/ || true"))

    def seconds(limit: float, connected: float) -> float:
        """How long a drain takes beside a client that stays connected for a time."""
        client = f"bash -c 'exec 3<>/dev/tcp/10.244.101.15/8080; sleep {connected}'"
        visit = threading.Thread(target=node.shell, args=(client,))
        visit.start()
        time.sleep(0.5)
        begun = time.monotonic()
        done(node.runtime.perform(DrainPod(fact.uid, fact.id, limit)))
        took = time.monotonic() - begun
        visit.join()
        return took

    assert seconds(limit=0.6, connected=2.5) < 1.6
    assert 2.0 < seconds(limit=20.0, connected=3.5) < 7.0
    assert seconds(limit=20.0, connected=0.0) < 1.0, "nobody is there"

"""Probes and hooks of real pods: each kind of probe over SSH, restarts, hooks and sidecars."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import WEB, documents, on, phase, pod, ready, script, serving, space, status_of

pytestmark = pytest.mark.podman

WAIT = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
HTTP = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}
PORTS = [{"name": "http", "containerPort": 8080}]


def command(text: str, **knobs: Any) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", text]}, **knobs}


@dataclass
class Town:
    ktool: Ktool
    nodes: tuple[LabNode, ...]
    namespace: str
    trace: str
    """A directory of the first node where hooks leave traces."""

    def pod(self, name: str) -> Any:
        return self.ktool.json("get", "pod", name, "-n", self.namespace)

    def said(self, name: str, reason: str) -> set[str]:
        events = self.ktool.json("get", "events", "-n", self.namespace)["items"]
        return {one["message"] for one in events if one["involvedObject"]["name"] == name and one["reason"] == reason}


def pods(trace: str, node: str) -> list[Any]:
    web = {"name": "web", "image": WEB, "ports": PORTS}
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}

    def traced(path: str, **spec: Any) -> dict[str, Any]:
        source = {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}
        return {"volumes": [{"name": "work", **source}], "nodeSelector": {"kubernetes.io/hostname": node}, **spec}

    noting = "trap 'echo term >> /work/log; exit 0' TERM; while :; do sleep 0.1; done"
    hooks = {"postStart": command("echo post-start >> /work/log"), "preStop": command("echo pre-stop >> /work/log")}
    proxy = script(
        "proxy",
        f"sleep 1; touch /work/proxy; trap 'echo proxy-ended >> /work/log; exit 0' TERM; {WAIT.partition(';')[2]}",
        restartPolicy="Always",
        startupProbe=command("test -f /work/proxy", periodSeconds=1, failureThreshold=20),
        **mount,
    )
    setup = script("setup", "test -f /work/proxy && echo setup >> /work/log", **mount)
    return [
        pod("http", {**web, "readinessProbe": HTTP, "startupProbe": {**tcp, "failureThreshold": 10}}),
        pod("tcp", {**web, "readinessProbe": tcp, "livenessProbe": tcp}),
        pod("exec", script("main", f"sleep 2; touch /ok; {WAIT}", readinessProbe=command("cat /ok", periodSeconds=1))),
        pod("broken", {**web, "image": "registry.lab/web:broken", "readinessProbe": HTTP}),
        pod(
            "sick",
            script(
                "main",
                f"trap 'exit 0' TERM; touch /alive; sleep 2; rm /alive; {WAIT}",
                livenessProbe=command(
                    "cat /alive", periodSeconds=1, failureThreshold=2, initialDelaySeconds=1,
                    terminationGracePeriodSeconds=1, timeoutSeconds=5,
                ),
            ),
            terminationGracePeriodSeconds=30,
        ),
        pod("late", {**web, "startupProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2}}),
        pod(
            "hooked",
            script("main", noting, lifecycle=hooks, **mount),
            **traced(trace, terminationGracePeriodSeconds=9),
        ),
        pod("unhooked", script("main", WAIT, lifecycle={"postStart": command("echo no way; exit 3")})),
        pod(
            "beside",
            script("main", "echo main >> /work/log; sleep 1", **mount),
            **traced(f"{trace}/b", initContainers=[proxy, setup], restartPolicy="Never"),
        ),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def town(cluster: Ktool, lab: Lab) -> Iterator[Town]:
    trace = f"/var/tmp/hooks-{uuid.uuid4().hex[:8]}"
    with serving(cluster), space(cluster) as namespace:
        found = Town(cluster, lab.nodes, namespace, trace)
        cluster("apply", "-n", namespace, "-f", "-", stdin=documents(*pods(trace, lab.nodes[0].name)))
        yield found
        on(lab.nodes[0], f"rm -rf {trace}")


@pytest.mark.parametrize("name", ["http", "tcp", "exec"])
def test_a_pod_is_ready_when_its_probe_succeeds(town: Town, name: str) -> None:
    until(lambda: ready(town.pod(name)), 30)


def test_a_command_that_does_not_succeed_yet_is_told(town: Town) -> None:
    until(lambda: ready(town.pod("exec")), 30)
    assert town.said("exec", "Unhealthy") == {
        "Readiness probe failed: cat: can't open '/ok': No such file or directory"
    }


def test_a_pod_that_answers_503_is_never_ready(town: Town) -> None:
    until(lambda: town.said("broken", "Unhealthy"), 20)
    text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    until(lambda: text in town.said("broken", "Unhealthy"), 20)
    seen = town.pod("broken")
    assert not ready(seen) and phase(seen) == "Running"
    assert status_of(seen, "web")["started"] and not status_of(seen, "web")["ready"]
    shown = town.ktool("describe", "pod", "broken", "-n", town.namespace).stdout
    line = "Readiness: http-get http://:http/healthz delay=0s timeout=1s period=1s #success=1 #failure=3"
    assert line in " ".join(shown.split()) and text in shown


def test_who_waits_for_a_pod_that_is_not_ready_is_told_why_in_seconds(town: Town) -> None:
    text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    again = pod("broken", {"name": "web", "image": WEB.replace("v1", "broken"), "ports": PORTS, "readinessProbe": HTTP})
    words = ("apply", "-n", town.namespace, "-f", "-", "--wait", "--timeout=6s")
    done = town.ktool(*words, stdin=documents(again), status=6)
    assert f"pod broken is not ready: {text}\n" in done.stderr.partition("timed out")[0]
    assert done.stderr.splitlines()[-3:] == [
        f"  pod broken is not ready: {text}",
        "  pod broken, container web, its last lines:",
        "    broken web broken listens on port 8080",
    ]


def test_a_container_that_fails_its_liveness_probe_is_started_again(town: Town) -> None:
    until(lambda: status_of(town.pod("sick"), "main").get("restartCount", 0) >= 1, 40)
    assert "Container main failed liveness probe, will be restarted" in town.said("sick", "Killing")
    assert any(text.startswith("Liveness probe failed: cat: can't open") for text in town.said("sick", "Unhealthy"))


def test_a_container_that_does_not_start_in_time_is_started_again(town: Town) -> None:
    until(lambda: status_of(town.pod("late"), "web").get("restartCount", 0) >= 1, 40)
    assert "Container web failed startup probe, will be restarted" in town.said("late", "Killing")
    address = town.pod("late")["status"]["podIP"]
    refused = f"Startup probe failed: dial tcp {address}:9: connect: connection refused"
    assert town.said("late", "Unhealthy") == {refused}
    assert not ready(town.pod("late"))


def test_hooks_are_done_after_the_start_and_before_the_end(town: Town) -> None:
    until(lambda: ready(town.pod("hooked")), 30)
    assert on(town.nodes[0], f"cat {town.trace}/log") == "post-start"
    town.ktool("delete", "pod", "hooked", "-n", town.namespace)
    assert on(town.nodes[0], f"cat {town.trace}/log").split() == ["post-start", "pre-stop", "term"]


def test_a_container_whose_hook_fails_is_ended(town: Town) -> None:
    until(lambda: town.said("unhooked", "FailedPostStartHook"), 30)
    assert any("no way" in text for text in town.said("unhooked", "FailedPostStartHook"))
    until(lambda: status_of(town.pod("unhooked"), "main").get("restartCount", 0) >= 1, 30)


def test_a_sidecar_starts_first_runs_beside_and_ends_last(town: Town) -> None:
    seen = until(lambda: (one := town.pod("beside")) and phase(one) == "Succeeded" and one, 40)
    assert status_of(seen, "setup")["state"]["terminated"]["exitCode"] == 0
    log = f"{town.trace}/b/log"
    until(lambda: on(town.nodes[0], f"cat {log}").split() == ["setup", "main", "proxy-ended"], 20)

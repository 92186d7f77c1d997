"""Simulated nodes as a user has them: shown as what they are, quick, and with failures that can be set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from subprocess import Popen
from typing import Any

import pytest

from tests.e2e.conftest import Ktool, until
from tests.e2e.support import container, deployment, documents, pod, ready, serving, status_of

IMAGE = "registry.example/app:1"


def job(name: str, image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    return pod(name, {"name": "main", "image": image}, **spec)


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Ktool:
    """A cluster of twenty simulated nodes, and none that is real."""
    ktool = Ktool(tmp_path_factory.mktemp("sim"))
    words = ("--count", "20", "--cpu", "16", "--memory", "64Gi", "--start-delay", "300ms")
    faults = ("--fail", "ErrImagePull@*broken*", "--fail", "Crash:3@crash-*", "--fail", "OOMKilled@hungry")
    ktool("node", "add", "sim", "--simulated", *words, *faults)
    return ktool


@pytest.fixture(scope="module")
def homeless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Popen[bytes]]:
    """An apply of what fits nowhere, in a state directory of its own; it takes its time beside the other tests."""
    ktool = Ktool(tmp_path_factory.mktemp("homeless"))
    ktool("node", "add", "small", "--simulated", "--cpu", "1", "--memory", "1Gi", "--start-delay", "1s")
    manifest = ktool.home / "huge.yaml"
    huge = pod("huge", container("main", resources={"requests": {"cpu": "2", "memory": "3Gi"}}))
    manifest.write_text(documents(job("fits"), huge))
    process = ktool.start("apply", "-f", str(manifest))
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def test_twenty_nodes_and_two_hundred_pods(sim: Ktool, homeless: Popen[bytes]) -> None:
    listed = sim("node", "list").stdout.splitlines()
    assert len(listed) == 21 and all("Ready,Simulated" in line and "simulated://" in line for line in listed[1:])
    assert "Simulated" in sim("get", "nodes").stdout
    assert "simulated" in sim("describe", "node", "sim-07").stdout
    one = sim.json("get", "node", "sim-07")
    assert one["metadata"]["labels"]["ktool.dev/simulated"] == "true"
    assert (one["status"]["capacity"]["cpu"], one["status"]["capacity"]["memory"]) == ("16", f"{64 * 1024**2}Ki")

    began = time.monotonic()
    made = sim("apply", "-f", "-", stdin=documents(deployment("many", 200)))
    assert time.monotonic() - began < 30
    assert made.stdout == "deployment.apps/many created\n" and "successfully rolled out" in made.stderr
    pods = sim.pods("default")
    assert len(pods) == 200 and all(ready(one) for one in pods)
    where = [one["spec"]["nodeName"] for one in pods]
    assert {where.count(node) for node in set(where)} == {10} and len(set(where)) == 20
    assert len({one["status"]["podIP"] for one in pods}) == 200
    sim("scale", "deployment/many", "--replicas=3")
    assert len(sim.pods("default")) == 3
    forgotten = sim("logs", "deployment/many", status=1).stderr
    assert "a simulated node lives as long as the control plane's process" in forgotten
    refused = sim("exec", pods[0]["metadata"]["name"], "--", "id", status=1).stderr
    assert "Traceback" not in refused and refused.count("\n") == 1


def test_machines_live_as_long_as_the_server(sim: Ktool) -> None:
    """A new process finds new machines: the pods are made again on them, under the same names."""
    before = {one["metadata"]["uid"] for one in sim.pods("default")}
    with serving(sim):
        until(lambda: all(ready(one) for one in sim.pods("default")))
        assert {one["metadata"]["uid"] for one in sim.pods("default")} == before
        assert sim("logs", "deployment/many").stdout.startswith("simulated container main of pod default/many-")


def test_failures_that_were_asked_for(sim: Ktool) -> None:
    with serving(sim):
        pods = (job("no-image", "registry.example/broken:1"), job("crash-1"), job("hungry"), job("fine"))
        sim("apply", "-f", "-", stdin=documents(*pods))

        def state(name: str, *path: str) -> Any:
            found: Any = status_of(sim.json("get", "pod", name), "main")
            for word in path:
                found = found.get(word) or {}
            return found

        until(lambda: state("no-image", "state", "waiting", "reason") in ("ErrImagePull", "ImagePullBackOff"))
        until(lambda: state("crash-1", "lastState", "terminated", "exitCode") == 3)
        until(lambda: state("hungry", "lastState", "terminated", "reason") == "OOMKilled")
        until(lambda: ready(sim.json("get", "pod", "fine")))
        sim("delete", "pod", "fine", "--now")
        sim("apply", "--wait", "-f", "-", stdin=documents(pods[3]))
        assert sim("describe", "pod", "fine").stdout.count("Successfully assigned") == 1, "not those of its namesake"
        shown = {line.split()[0]: line for line in sim("get", "pods").stdout.splitlines()}
        assert "ErrImagePull" in shown["no-image"] or "ImagePullBackOff" in shown["no-image"]
        until(lambda: "CrashLoopBackOff" in sim("get", "pod", "crash-1").stdout)
        late = sim("apply", "--wait", "--timeout=20s", "-f", "-", stdin=documents(pods[0]), status=1).stderr
        assert "pod no-image: container main: ImagePullBackOff" in late
        sim("delete", "pods", "--all", "--now")


def test_pods_for_a_node_that_does_not_exist_wait_for_it(sim: Ktool) -> None:
    lost = deployment("lost", 3)
    lost["spec"]["template"]["spec"]["nodeName"] = "nowhere"
    done = sim("apply", "-f", "-", stdin=documents(lost), status=1)
    assert "spec.nodeName is nowhere, and there is no such node" in done.stderr
    pods = sim.json("get", "pods", "-l", "app=lost")["items"]
    told = sim.json("get", "events", "--field-selector", "reason=SuccessfulCreate,involvedObject.kind=ReplicaSet")
    assert sum(event["involvedObject"]["name"].startswith("lost-") for event in told["items"]) == len(pods) == 3
    assert "NodeNotFound" in sim("describe", "pod", pods[0]["metadata"]["name"]).stdout
    sim("delete", "deployment", "lost", "--now")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(["--count", "0x"], "--count", id="count"),
        pytest.param(["--count", "-1"], "-1 is not between 1 and 10000", id="negative"),
        pytest.param(["--cpu", "many"], "'many' is not a quantity", id="cpu"),
        pytest.param(["--start-delay", "soon"], "--start-delay", id="delay"),
        pytest.param(["--identity", "/x"], "reached over SSH", id="identity"),
    ],
)
def test_words_that_make_no_machine(sim: Ktool, words: list[str], text: str) -> None:
    assert text in sim("node", "add", "other", "--simulated", *words, status=2).stderr


def test_a_fault_that_does_not_exist(sim: Ktool) -> None:
    done = sim("node", "add", "other", "--simulated", "--fail", "Boredom@*", status=2)
    assert "'Boredom' is no fault a simulated node knows" in done.stderr and "Crash" in done.stderr
    assert "other" not in sim("get", "nodes").stdout


def test_nodes_leave(sim: Ktool) -> None:
    sim("delete", "deployment", "many", "--ignore-not-found")
    sim("node", "remove", "sim-01", "sim-02")
    assert len(sim.json("get", "nodes")["items"]) == 18
    sim("node", "add", "more", "--simulated", "--label", "disk=ssd", "--taint", "only=this:NoSchedule")
    one = sim.json("get", "node", "more")
    assert one["metadata"]["labels"]["disk"] == "ssd" and one["spec"]["taints"][0]["key"] == "only"
    sim(
        "apply",
        "-f",
        "-",
        stdin=documents(job("chosen", nodeSelector={"disk": "ssd"}, tolerations=[{"operator": "Exists"}])),
    )
    assert sim.json("get", "pod", "chosen")["spec"]["nodeName"] == "more"


def test_a_server_that_waits_for_its_turn_ends_when_it_is_told_to(sim: Ktool) -> None:
    with serving(sim):
        second = sim.start("serve", "--lock-timeout=60s")
        time.sleep(1.5)
        assert second.poll() is None
        began = time.monotonic()
        second.terminate()
        _, said = second.communicate(timeout=20)
        assert time.monotonic() - began < 5 and said == b"error: ended by SIGTERM\n"
        assert json.loads(sim("get", "nodes", "-o", "json").stdout)["items"]


def test_what_fits_nowhere_is_said_and_the_command_ends(homeless: Popen[bytes]) -> None:
    out, said = homeless.communicate(timeout=60)
    assert homeless.returncode == 1 and sorted(out.decode().split()) == sorted(
        ["pod/fits", "created", "pod/huge", "created"]
    )
    assert b"error: pod/huge: pod huge: 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory." in said
    assert b"pod fits is ready" in said

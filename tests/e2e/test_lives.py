"""The daily commands against real nodes, with the control plane in the command itself and in a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, serving, until
from tests.e2e.manifests import web
from tests.e2e.nodes import look, settled

pytestmark = pytest.mark.podman


class Watcher:
    """Reads what a command prints while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.lines = process, list[str]()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


@contextmanager
def watching(ktool: Ktool, *words: str) -> Iterator[Watcher]:
    process = ktool.start(*words)
    try:
        yield Watcher(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


@pytest.fixture(scope="module", params=["own", "server"])
def ktool(request: pytest.FixtureRequest, cluster: Ktool) -> Iterator[Ktool]:
    with serving(cluster) if request.param == "server" else nullcontext():
        yield cluster


@pytest.fixture(scope="module")
def space(request: pytest.FixtureRequest, ktool: Ktool) -> Iterator[str]:
    """A namespace with three web servers in it."""
    name = f"lives-{os.getpid()}"
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    ktool("apply", "-f", "-", stdin=f"{manifest}\n---\n")
    ktool("apply", "-n", name, "-f", "-", "--wait", stdin=web(3, "v1"))
    yield name
    ktool("delete", "namespace", name)


@pytest.fixture
def versions(ktool: Ktool, space: str) -> Any:
    """What the pods answer: (version, pod) of each, asked by one of them."""

    def ask() -> list[tuple[str, str]]:
        addresses = [pod["status"]["podIP"] for pod in ktool.pods(space)]
        fetch = 'for ip; do wget -qO- "http://$ip:8080/"; done'
        done = ktool("exec", "-n", space, "deploy/web", "--", "sh", "-c", fetch, "sh", *addresses)
        return [(line.split()[0], line.split()[1]) for line in done.stdout.splitlines()]

    return ask


def test_scale_up_and_down(ktool: Ktool, lab: Lab, space: str) -> None:
    with watching(ktool, "get", "pods", "-n", space, "-w", "--no-headers") as watch:
        until(lambda: len(watch.lines) >= 3)
        before = {pod["metadata"]["name"] for pod in ktool.pods(space)}
        for replicas in (5, 2):
            done = ktool("scale", "deploy/web", "-n", space, f"--replicas={replicas}", "--wait")
            assert done.stdout == "deployment.apps/web scaled\n"
            pods = until(lambda count=replicas: _alone(ktool.pods(space), count))
            settled(look(lab), pods, ktool.json("get", "pods", "-A")["items"])
        seen = until(lambda: len({line.split()[0] for line in watch.lines}) >= 5 and list(watch.lines))
    assert any("Terminating" in line for line in seen)
    assert before <= {line.split()[0] for line in seen}


def _alone(pods: list[Any], count: int) -> list[Any]:
    """The pods, once the ended ones are gone."""
    return pods if len(pods) == count else []


def test_an_image_change_rolls_through_and_never_goes_below_what_may_be_missing(
    ktool: Ktool, space: str, versions: Any, tmp_path: Path
) -> None:
    assert {version for version, _ in versions()} == {"v1"}
    manifest = tmp_path / "web.yaml"
    manifest.write_text(web(4, "v2"))
    ktool("scale", "deploy/web", "-n", space, "--replicas=4", "--wait")
    process = ktool.start("apply", "-n", space, "-f", str(manifest), "--wait")
    counts = []
    while process.poll() is None:
        found = ktool.json("get", "deploy/web", "-n", space)
        counts.append((found["status"]["availableReplicas"], found["status"]["replicas"]))
    assert process.returncode == 0, process.communicate()
    assert min(available for available, _ in counts) >= 3, counts
    assert max(total for _, total in counts) <= 5, counts
    answers = versions()
    assert [version for version, _ in answers] == ["v2"] * 4
    assert {pod for _, pod in answers} == {pod["metadata"]["name"] for pod in ktool.pods(space)}
    said = ktool("rollout", "status", "deploy/web", "-n", space).stdout
    assert said == 'deployment "web" successfully rolled out\n'


def test_logs(ktool: Ktool, space: str) -> None:
    names = sorted(pod["metadata"]["name"] for pod in ktool.pods(space))
    greeting = "{0} web v2 listens on port 8080"
    assert ktool("logs", names[0], "-n", space).stdout == greeting.format(names[0]) + "\n"
    told = ktool("logs", "-n", space, "-l", "app=web", "--prefix", "--tail=1").stdout.splitlines()
    assert told == [f"[pod/{name}/web] {greeting.format(name)}" for name in names]
    with watching(ktool, "logs", "-f", names[0], "-n", space) as follow:
        until(lambda: follow.lines == [greeting.format(names[0])])
    missing = ktool("logs", "nobody", "-n", space, status=1)
    assert missing.stderr == 'Error from server (NotFound): pods "nobody" not found\n'


def test_exec_passes_bytes_streams_and_the_exit_code(ktool: Ktool, space: str) -> None:
    data = bytes(range(256)) * 1000
    script = "cat; echo beside >&2; exit 7"
    done = subprocess.run(
        [sys.executable, "-m", "ktool", "exec", "-i", "-n", space, "deploy/web", "--", "sh", "-c", script],
        env=ktool.env,
        input=data,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == (data, 7)
    assert done.stderr.startswith(b"beside\ncommand terminated with exit code 7")
    hostile = "a b; $(touch /x) `id` 'q' \"d\" \\ * \n é"
    assert ktool("exec", "-n", space, "deploy/web", "--", "printf", "%s", hostile).stdout == hostile
    ktool("exec", "-n", space, "deploy/web", "--", "no-such-program", status=127)


def test_what_happened_can_be_read(ktool: Ktool, space: str) -> None:
    listing = ktool("get", "all", "-n", space).stdout
    assert [line.split("-")[0].split(" ")[0] for line in listing.splitlines() if "/" in line.split(" ")[0]] == [
        "deployment.apps/web",
        *["pod/web"] * 4,
        *["replicaset.apps/web"] * 2,
    ]
    described = ktool("describe", "deploy/web", "-n", space).stdout
    for said in ("Replicas:               4 desired | 4 updated | 4 total | 4 available | 0 unavailable", "web:v2"):
        assert said in described
    reasons = {line.split()[2] for line in ktool("events", "-n", space).stdout.splitlines()[1:]}
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Pulled", "Created", "Started"} <= reasons
    pod = ktool.pods(space)[0]["metadata"]["name"]
    about = ktool("describe", "pod", pod, "-n", space).stdout
    assert [reason for line in about.splitlines() if (reason := _reason(line))][:4] == [
        "Scheduled",
        "Pulled",
        "Created",
        "Started",
    ]


def _reason(line: str) -> str:
    words = line.split()
    return words[1] if len(words) > 1 and words[0] in ("Normal", "Warning") else ""
